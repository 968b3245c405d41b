//! The time of a call: whatever requests it sends, and however slowly each of them is answered.
//!
//! A call that waits for requests may take as long as its longest class of request, and one short deadline for all others
//! together. Who calls is known by [`Platform::task`](crate::Platform::task); without it, each request has its own deadline.

use alloc::boxed::Box;
use core::num::NonZeroU64;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

/// Calls at a time that have a budget; one more has none.
const CALLS: usize = 32;
/// Places at which a task's call may be noted.
const PLACES: usize = 4;
/// It has not waited for anything yet.
const NOT_BEGUN: u64 = u64::MAX;

/// A call under way. On a cache line of its own: calls of different processors write to theirs only.
#[derive(Debug)]
#[repr(align(64))]
struct Slot {
    /// Whose call; 0 if it is nobody's.
    task: AtomicU64,
    /// When it first sent a request or waited, in nanoseconds of the platform's clock.
    begun: AtomicU64,
    /// The longest time that one of its requests is given.
    longest: AtomicU64,
}

/// The budgets of calls under way.
#[derive(Debug)]
pub(crate) struct Budgets {
    /// Empty where the platform does not say who calls.
    slots: Box<[Slot]>,
    short: Duration,
}

/// A call under way, until this is dropped.
#[derive(Debug)]
#[must_use = "the call ends when this is dropped"]
pub(crate) struct Call<'b>(Option<&'b Slot>);

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if let Some(slot) = self.0 {
            slot.task.store(0, Ordering::Release);
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(NOT_BEGUN - 1)
}

impl Budgets {
    /// Budgets with this time for the requests of a call but the longest; none where nobody says who calls.
    pub(crate) fn new(short: Duration, known: bool) -> Self {
        let slot = |_| Slot { task: AtomicU64::new(0), begun: AtomicU64::new(NOT_BEGUN), longest: AtomicU64::new(0) };
        let count = if known { CALLS } else { 0 };
        Self { slots: (0..count).map(slot).collect(), short }
    }

    fn places(&self, task: NonZeroU64) -> impl Iterator<Item = &Slot> {
        // Numbers that follow each other, and addresses, go to different places.
        let first = (task.get().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize;
        (0..PLACES).filter_map(move |place| self.slots.get(first.wrapping_add(place) % CALLS))
    }

    fn of(&self, task: NonZeroU64) -> Option<&Slot> {
        self.places(task).find(|slot| slot.task.load(Ordering::Relaxed) == task.get())
    }

    /// Begins a task's call; within another one of the same task it is part of that.
    pub(crate) fn begin(&self, task: Option<NonZeroU64>) -> Call<'_> {
        let Some(task) = task.filter(|task| self.of(*task).is_none()) else { return Call(None) };
        let free =
            |slot: &&Slot| slot.task.compare_exchange(0, task.get(), Ordering::AcqRel, Ordering::Relaxed).is_ok();
        let slot = self.places(task).find(free);
        if let Some(slot) = slot {
            slot.begun.store(NOT_BEGUN, Ordering::Relaxed);
            slot.longest.store(0, Ordering::Relaxed);
        }
        Call(slot)
    }

    /// When a request is given up that is sent `now` and would be given `time` by its class.
    pub(crate) fn deadline(&self, task: Option<NonZeroU64>, now: Duration, time: Duration) -> Duration {
        let full = now.saturating_add(time);
        self.end(task, now, time).map_or(full, |end| end.min(full))
    }

    /// When a task's call has to be over, a request of it having so much time. What takes no request waits a short one's time
    /// at most: `time` is that then.
    pub(crate) fn end(&self, task: Option<NonZeroU64>, now: Duration, time: Duration) -> Option<Duration> {
        let slot = self.of(task?)?;
        // Only its own task writes to a slot that has one.
        if slot.begun.load(Ordering::Relaxed) == NOT_BEGUN {
            slot.begun.store(nanos(now), Ordering::Relaxed);
        }
        let longest = slot.longest.load(Ordering::Relaxed).max(nanos(time));
        slot.longest.store(longest, Ordering::Relaxed);
        let begun = Duration::from_nanos(slot.begun.load(Ordering::Relaxed));
        Some(begun.saturating_add(Duration::from_nanos(longest)).saturating_add(self.short))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_secs(2);
    const LONG: Duration = Duration::from_secs(20);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn all_short_requests_share_one_deadline_more() {
        let budgets = Budgets::new(SHORT, true);
        let task = NonZeroU64::new(7);
        let call = budgets.begin(task);
        assert_eq!(budgets.deadline(task, at(10), SHORT), at(12));
        assert_eq!(budgets.deadline(task, at(11), SHORT), at(13));
        assert_eq!(budgets.deadline(task, at(13), SHORT), at(14));
        assert_eq!(budgets.deadline(task, at(20), SHORT), at(14), "nothing is left");
        assert_eq!(budgets.end(task, at(13), SHORT), Some(at(14)));
        drop(call);
        assert_eq!(budgets.deadline(task, at(20), SHORT), at(22), "the next call has its own");
    }

    #[test]
    fn a_long_request_makes_room_for_itself() {
        let budgets = Budgets::new(SHORT, true);
        let task = NonZeroU64::new(7);
        let _call = budgets.begin(task);
        assert_eq!(budgets.deadline(task, at(10), SHORT), at(12));
        assert_eq!(budgets.deadline(task, at(11), LONG), at(31));
        assert_eq!(budgets.deadline(task, at(31), LONG), at(32));
    }

    #[test]
    fn a_call_within_a_call_is_part_of_it() {
        let budgets = Budgets::new(SHORT, true);
        let task = NonZeroU64::new(7);
        let _outer = budgets.begin(task);
        assert_eq!(budgets.deadline(task, at(10), SHORT), at(12));
        let inner = budgets.begin(task);
        assert_eq!(budgets.deadline(task, at(13), SHORT), at(14));
        drop(inner);
        assert_eq!(budgets.deadline(task, at(13), SHORT), at(14), "the outer one goes on");
    }

    #[test]
    fn tasks_do_not_share() {
        let budgets = Budgets::new(SHORT, true);
        let tasks: alloc::vec::Vec<_> = (1..=8).map(NonZeroU64::new).collect();
        let _calls: alloc::vec::Vec<_> = tasks.iter().map(|task| budgets.begin(*task)).collect();
        for (task, seconds) in tasks.into_iter().zip(10..) {
            assert_eq!(budgets.deadline(task, at(seconds), SHORT), at(seconds + 2));
        }
    }

    #[test]
    fn more_calls_than_there_are_places_have_no_budget() {
        let budgets = Budgets::new(SHORT, true);
        let calls: alloc::vec::Vec<_> = (1..=1000).map(|task| budgets.begin(NonZeroU64::new(task))).collect();
        assert!(calls.iter().filter(|call| call.0.is_some()).count() <= CALLS);
        let without = (1..=1000).find(|task| NonZeroU64::new(*task).and_then(|task| budgets.of(task)).is_none());
        let task = NonZeroU64::new(without.unwrap());
        assert_eq!(budgets.deadline(task, at(10), SHORT), at(12));
        assert_eq!(budgets.deadline(task, at(20), SHORT), at(22));
    }
}
