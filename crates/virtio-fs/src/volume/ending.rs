//! How far a volume is from its end.

use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use fuse_proto::Errno;

use crate::Error;

/// How far a volume is from its end.
#[derive(Debug, Default)]
pub(super) struct Ending {
    phase: AtomicU8,
    /// Somebody tries to end the session at this moment.
    trying: AtomicBool,
}

/// Refuses work; the session lives on for what is still mapped.
const DETACHED: u8 = 1;
/// There is no session any more.
const ENDED: u8 = 2;

/// One who tries to end the session, until this is dropped.
pub(super) struct Trying<'a>(&'a AtomicBool);

impl Drop for Trying<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Ending {
    /// Whether calls are served.
    #[inline]
    pub(super) fn is_mounted(&self) -> bool {
        self.phase.load(Ordering::Acquire) == 0
    }

    /// Begins to end the session, as the only one who does.
    pub(super) fn try_to_end(&self) -> Result<Trying<'_>, Error> {
        if self.phase.load(Ordering::Acquire) == ENDED {
            return Err(Error::Unmounted);
        }
        if self.trying.swap(true, Ordering::AcqRel) {
            return Err(Error::refused(Errno::EBUSY, "the file system is being unmounted"));
        }
        Ok(Trying(&self.trying))
    }

    /// Refuses work from now on.
    pub(super) fn detach(&self) -> Result<(), Error> {
        let before = self.phase.compare_exchange(0, DETACHED, Ordering::AcqRel, Ordering::Acquire);
        before.map(drop).map_err(|_| Error::Unmounted)
    }

    /// There is no session any more.
    pub(super) fn ended(&self) {
        self.phase.store(ENDED, Ordering::Release);
    }
}
