//! Devices in the same process, and what a driver needs to be driven against them.

pub(crate) mod clock;
pub(crate) mod content;
pub(crate) mod dirent;
pub(crate) mod disk;
pub(crate) mod durable;
pub(crate) mod footprint;
pub(crate) mod krun;
pub(crate) mod ledger;
pub(crate) mod logs;
pub(crate) mod peer;
pub(crate) mod platform;
pub(crate) mod ram;
pub(crate) mod stepping;
pub(crate) mod strict;
pub(crate) mod window;
mod zeros;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long something may take that cannot take long, before a test says that it hangs. No result depends on it.
pub(crate) const HANGS: Duration = Duration::from_secs(300);

/// Locks, whether a test that failed held it or not.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
