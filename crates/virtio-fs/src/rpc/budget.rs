//! The time of a call: whatever requests it sends, and however slowly each of them is answered.
//!
//! A call that waits for requests may take as long as its longest class of request, and one short deadline for all others
//! together. Who calls is known by [`Platform::task`](crate::Platform::task). Without it, a request may belong to any of the
//! calls under way, and is given the time of the one that may go on for longest: a call with none beside it has its own.

use alloc::boxed::Box;
use core::num::NonZeroU64;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use core::time::Duration;

use crate::caller::{number_by_stack, spread};
use crate::nanos::nanos;

/// Calls at a time that have a budget; one more has none.
const CALLS: usize = 32;
/// Places at which a task's call may be noted.
const PLACES: usize = 4;
/// It has not waited for anything yet.
const NOT_BEGUN: u64 = u64::MAX;
/// A call of a task that is not known.
const UNKNOWN: u64 = 1;
/// A call that moves data has one short deadline more for each of so many bytes that it has moved.
const MOVED: u64 = 1 << 20;

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

impl Slot {
    /// Takes the slot if it is free.
    fn take(&self, task: u64) -> bool {
        let taken = self.task.compare_exchange(0, task, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if taken {
            self.begun.store(NOT_BEGUN, Ordering::Relaxed);
            self.longest.store(0, Ordering::Relaxed);
        }
        taken
    }

    /// Notes a request that is given so much time, and returns the time that the call began and the longest of all requests.
    fn note(&self, now: Duration, time: Duration) -> (Duration, Duration) {
        // Without tasks, others note their requests here too.
        let mut begun = self.begun.load(Ordering::Relaxed);
        if begun == NOT_BEGUN {
            let now = nanos(now).min(NOT_BEGUN - 1);
            let noted = self.begun.compare_exchange(NOT_BEGUN, now, Ordering::Relaxed, Ordering::Relaxed);
            begun = noted.map_or_else(|others| others, |_| now);
        }
        let (time, mut longest) = (nanos(time), self.longest.load(Ordering::Relaxed));
        if longest < time {
            longest = self.longest.fetch_max(time, Ordering::Relaxed).max(time);
        }
        (Duration::from_nanos(begun), Duration::from_nanos(longest))
    }
}

/// The budgets of calls under way.
#[derive(Debug)]
pub(crate) struct Budgets {
    slots: Box<[Slot]>,
    /// Whether the platform says who calls.
    known: bool,
    /// Calls under way without a slot, where it is not known who calls.
    more: AtomicU32,
    short: Duration,
}

/// What a call has for its budget.
#[derive(Debug)]
enum Place<'b> {
    /// A slot of its own.
    Slot(&'b Slot),
    /// None, which is counted.
    Counted(&'b AtomicU32),
    /// That of the call which it is part of, or none.
    Nothing,
}

/// A call under way, until this is dropped.
#[derive(Debug)]
#[must_use = "the call ends when this is dropped"]
pub(crate) struct Call<'b>(Place<'b>);

impl Drop for Call<'_> {
    fn drop(&mut self) {
        match self.0 {
            Place::Slot(slot) => slot.task.store(0, Ordering::Release),
            Place::Counted(count) => drop(count.fetch_sub(1, Ordering::Release)),
            Place::Nothing => {}
        }
    }
}

impl Budgets {
    /// Budgets with this time for the requests of a call but the longest; whether the platform says who calls.
    pub(crate) fn new(short: Duration, known: bool) -> Self {
        let slot = |_| Slot { task: AtomicU64::new(0), begun: AtomicU64::new(NOT_BEGUN), longest: AtomicU64::new(0) };
        Self { slots: (0..CALLS).map(slot).collect(), known, more: AtomicU32::new(0), short }
    }

    fn places(&self, task: NonZeroU64) -> impl Iterator<Item = &Slot> {
        let first = spread(task.get());
        (0..PLACES).filter_map(move |place| self.slots.get(first.wrapping_add(place) % CALLS))
    }

    fn of(&self, task: NonZeroU64) -> Option<&Slot> {
        self.places(task).find(|slot| slot.task.load(Ordering::Relaxed) == task.get())
    }

    /// Begins a task's call; within another one of the same task it is part of that.
    pub(crate) fn begin(&self, task: Option<NonZeroU64>) -> Call<'_> {
        if !self.known {
            return self.begin_unknown();
        }
        let Some(task) = task.filter(|task| self.of(*task).is_none()) else { return Call(Place::Nothing) };
        let slot = self.places(task).find(|slot| slot.take(task.get()));
        Call(slot.map_or(Place::Nothing, Place::Slot))
    }

    /// Begins a call of whoever it is.
    fn begin_unknown(&self) -> Call<'_> {
        // Processors have stacks of their own, and so places of their own, if only mostly.
        let first = number_by_stack();
        let mut slots = (0..CALLS).filter_map(|place| self.slots.get(first.wrapping_add(place) % CALLS));
        if let Some(slot) = slots.find(|slot| slot.take(UNKNOWN)) {
            return Call(Place::Slot(slot));
        }
        self.more.fetch_add(1, Ordering::Acquire);
        Call(Place::Counted(&self.more))
    }

    /// Notes that a call has moved so many bytes: it may take longer, as one that moves many has to.
    pub(crate) fn moved(&self, task: Option<NonZeroU64>, call: &Call<'_>, bytes: u64) {
        let slot = match call.0 {
            Place::Slot(slot) => Some(slot),
            _ => task.filter(|_| self.known).and_then(|task| self.of(task)),
        };
        let more = (nanos(self.short) / MOVED * (bytes % MOVED))
            .saturating_add(nanos(self.short).saturating_mul(bytes / MOVED));
        if let Some(slot) = slot {
            let later = |begun: u64| (begun != NOT_BEGUN).then(|| begun.saturating_add(more).min(NOT_BEGUN - 1));
            // One that has not begun has no time to add to.
            let _ = slot.begun.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
        }
    }

    /// When a request is given up that is sent `now` and would be given `time` by its class.
    pub(crate) fn deadline(&self, task: Option<NonZeroU64>, now: Duration, time: Duration) -> Duration {
        let full = now.saturating_add(time);
        self.end(task, now, time).map_or(full, |end| end.min(full))
    }

    /// When a task's call has to be over, a request of it having so much time. What takes no request waits a short one's time
    /// at most: `time` is that then.
    pub(crate) fn end(&self, task: Option<NonZeroU64>, now: Duration, time: Duration) -> Option<Duration> {
        let of = |slot: &Slot| {
            let (begun, longest) = slot.note(now, time);
            begun.saturating_add(longest).saturating_add(self.short)
        };
        if self.known {
            return self.of(task?).map(of);
        }
        let under_way = |slot: &&Slot| slot.task.load(Ordering::Acquire) != 0;
        let end = self.slots.iter().filter(under_way).map(of).max();
        end.filter(|_| self.more.load(Ordering::Acquire) == 0)
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
        assert!(calls.iter().filter(|call| matches!(call.0, Place::Slot(_))).count() <= CALLS);
        let without = (1..=1000).find(|task| NonZeroU64::new(*task).and_then(|task| budgets.of(task)).is_none());
        let task = NonZeroU64::new(without.unwrap());
        assert_eq!(budgets.deadline(task, at(10), SHORT), at(12));
        assert_eq!(budgets.deadline(task, at(20), SHORT), at(22));
    }

    #[test]
    fn without_tasks_a_call_alone_has_its_own_time() {
        let budgets = Budgets::new(SHORT, false);
        let call = budgets.begin(None);
        assert_eq!(budgets.deadline(None, at(10), SHORT), at(12));
        assert_eq!(budgets.deadline(None, at(13), SHORT), at(14));
        assert_eq!(budgets.deadline(None, at(20), SHORT), at(14), "nothing is left");
        drop(call);
        assert_eq!(budgets.end(None, at(20), SHORT), None, "nobody calls");
        let _call = budgets.begin(None);
        assert_eq!(budgets.deadline(None, at(20), SHORT), at(22), "the next call has its own");
    }

    #[test]
    fn without_tasks_nobody_is_cut_short_by_others() {
        let budgets = Budgets::new(SHORT, false);
        let old = budgets.begin(None);
        assert_eq!(budgets.deadline(None, at(10), SHORT), at(12));
        let young = budgets.begin(None);
        assert_eq!(budgets.deadline(None, at(14), LONG), at(34), "of either: the younger one may go on");
        drop(young);
        assert_eq!(budgets.end(None, at(15), SHORT), Some(at(32)), "the older one alone");
        drop(old);
    }

    #[test]
    fn without_tasks_more_calls_than_there_are_slots_have_no_budget() {
        let budgets = Budgets::new(SHORT, false);
        let mut calls: alloc::vec::Vec<_> = (0..=CALLS).map(|_| budgets.begin(None)).collect();
        assert_eq!(budgets.deadline(None, at(10), SHORT), at(12));
        assert_eq!(budgets.deadline(None, at(20), SHORT), at(22));
        calls.pop();
        assert_eq!(budgets.end(None, at(20), SHORT), Some(at(14)), "all have one again");
    }

    #[test]
    fn what_moves_has_time_to_move() {
        for (known, task) in [(true, NonZeroU64::new(7)), (false, None)] {
            let budgets = Budgets::new(SHORT, known);
            let call = budgets.begin(task);
            budgets.moved(task, &call, 4 * MOVED);
            assert_eq!(budgets.end(task, at(10), SHORT), Some(at(14)), "it had not begun");
            budgets.moved(task, &call, 3 * MOVED);
            assert_eq!(budgets.end(task, at(10), SHORT), Some(at(20)));
            budgets.moved(task, &call, MOVED / 2);
            let end = budgets.end(task, at(10), SHORT).unwrap();
            assert!(end <= at(21) && end > Duration::from_millis(20_999), "{end:?}");
            budgets.moved(task, &call, u64::MAX);
        }
    }

    #[test]
    fn what_moves_within_a_call_counts_for_it() {
        let budgets = Budgets::new(SHORT, true);
        let task = NonZeroU64::new(7);
        let _outer = budgets.begin(task);
        assert_eq!(budgets.end(task, at(10), SHORT), Some(at(14)));
        let inner = budgets.begin(task);
        budgets.moved(task, &inner, MOVED);
        assert_eq!(budgets.end(task, at(10), SHORT), Some(at(16)));
    }
}
