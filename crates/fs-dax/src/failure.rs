//! The failure state: once failed, failed for ever.

use core::sync::atomic::{AtomicI32, Ordering};

use crate::{Errno, Error};

/// Whether a device or a file has failed. It never becomes whole again: somebody may have seen bytes that are not there
/// any more, so that only a new mount (a new value of this type) starts afresh.
///
/// Checking costs one relaxed load. Whoever marks a failure has to unmap what is already mapped
/// ([`Mappings::unmap`](crate::Mappings::unmap)), so that the next touch becomes a fault and with it a bus error; the
/// check in the fault path does the rest.
///
/// ```
/// use fs_dax::{Errno, FailureState};
///
/// let state = FailureState::new();
/// assert!(state.check().is_ok());
/// assert!(state.fail(Errno::EIO));
/// assert!(!state.fail(Errno::ENXIO)); // the first failure is the one that is returned
/// assert_eq!(state.check().unwrap_err().errno(), Errno::EIO);
/// ```
#[derive(Debug, Default)]
pub struct FailureState(AtomicI32);

impl FailureState {
    /// Not failed.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicI32::new(0))
    }

    /// Marks it failed with `errno`; [`Errno::EIO`] for a device. Gives `true` if this was the first failure: the one
    /// who has to unmap everything and to tell.
    pub fn fail(&self, errno: Errno) -> bool {
        self.0.compare_exchange(0, errno.number(), Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// Whether it failed; [`failed`](Self::failed) says what with.
    #[inline]
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.0.load(Ordering::Acquire) != 0
    }

    /// What it failed with, if it did.
    #[must_use]
    pub fn failed(&self) -> Option<Errno> {
        Errno::new(self.0.load(Ordering::Acquire))
    }

    /// To be asked before each read, write, map and fault.
    ///
    /// # Errors
    /// [`Error::Failed`] with the errno of the first failure.
    pub fn check(&self) -> Result<(), Error> {
        match self.failed() {
            None => Ok(()),
            Some(errno) => Err(Error::Failed { errno }),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    #[test]
    fn the_first_failure_sticks() {
        let state = FailureState::new();
        assert_eq!(state.failed(), None);
        assert!(!state.has_failed());
        assert!(state.fail(Errno::ENXIO));
        assert!(state.has_failed());
        assert!(!state.fail(Errno::EIO));
        assert_eq!(state.check(), Err(Error::Failed { errno: Errno::ENXIO }));
        assert_eq!(state.check().unwrap_err().errno(), Errno::ENXIO);
    }

    #[test]
    fn one_thread_is_the_first_and_all_see_it() {
        let state = FailureState::new();
        let firsts = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    if state.fail(Errno::EIO) {
                        firsts.fetch_add(1, Ordering::Relaxed);
                    }
                    assert!(state.check().is_err());
                });
            }
        });
        assert_eq!(firsts.into_inner(), 1);
    }
}
