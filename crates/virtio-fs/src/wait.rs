//! Waiting for something that is taken when it is there.

use core::time::Duration;

use crate::Platform;

/// Waits until `look` finds something or the clock reaches `deadline`, and returns what it found.
///
/// A platform may ask once more after the answer was yes; `look` is not asked again then, since what it found would be lost.
pub(crate) fn wait_for<T>(
    platform: &dyn Platform,
    deadline: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> Option<T> {
    let mut found = None;
    platform.wait(deadline, &mut || {
        if found.is_none() {
            found = look();
        }
        found.is_some()
    });
    found
}
