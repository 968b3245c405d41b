//! Up to where a file is known to have room on the host, so that stores there need none.
//!
//! The number of a file's blocks says nothing about where they are: some may lie past its end, or hold what the host itself keeps of
//! the file. The server is asked for the first hole, once, and the answer lasts until something makes a hole.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use crate::nanos::nanos;

/// See the module. Nothing is known of a new one.
#[derive(Debug, Default)]
pub(crate) struct Room {
    /// All bytes before have blocks.
    end: AtomicU64,
    /// How often holes were made.
    holes_made: AtomicU64,
    /// Not before then is the server asked again, in nanoseconds.
    next_look: AtomicU64,
}

/// A moment in the history of a file's holes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct HolesSeen(u64);

impl Room {
    /// All bytes before this one are known to have blocks.
    pub(crate) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// This moment, before the server is asked.
    pub(crate) fn seen(&self) -> HolesSeen {
        HolesSeen(self.holes_made.load(Ordering::Acquire))
    }

    /// Whether it is time to ask the server: it is not asked again soon after it knew of a hole.
    pub(crate) fn may_look(&self, now: Duration) -> bool {
        nanos(now) >= self.next_look.load(Ordering::Acquire)
    }

    /// The server said that the first hole is at `end`, and it is not to be asked again before `next_look`. Nothing is learned
    /// if a hole was made since.
    pub(crate) fn found(&self, seen: HolesSeen, end: u64, next_look: Duration) {
        self.next_look.store(nanos(next_look), Ordering::Release);
        self.end.fetch_max(end, Ordering::AcqRel);
        if self.seen() != seen {
            self.end.store(0, Ordering::Release);
        }
    }

    /// Bytes were written or allocated: what is known reaches further if they join it.
    pub(crate) fn filled(&self, start: u64, end: u64) {
        let seen = self.seen();
        if start <= self.end() {
            self.end.fetch_max(end, Ordering::AcqRel);
            if self.seen() != seen {
                self.end.store(0, Ordering::Release);
            }
        }
    }

    /// A hole may have been made at `start` or after it.
    pub(crate) fn hole_from(&self, start: u64) {
        self.holes_made.fetch_add(1, Ordering::AcqRel);
        self.end.fetch_min(start, Ordering::AcqRel);
        self.next_look.store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_grows_and_is_lost() {
        let room = Room::default();
        let now = Duration::from_secs(5);
        assert!(room.may_look(now));
        room.found(room.seen(), 100, now + Duration::from_secs(1));
        assert!(!room.may_look(now) && room.may_look(now + Duration::from_secs(1)));
        assert_eq!(room.end(), 100);
        room.filled(101, 200);
        assert_eq!(room.end(), 100, "a hole is left before");
        room.filled(50, 200);
        assert_eq!(room.end(), 200);
        room.hole_from(120);
        assert_eq!(room.end(), 120);
        assert!(room.may_look(now), "the answer was to something else");
        let seen = room.seen();
        room.hole_from(300);
        room.found(seen, 400, now);
        assert_eq!(room.end(), 0, "the hole may have been made after the answer");
    }
}
