//! Eventfds that another crate keeps.
#![expect(unsafe_code, reason = "a number is taken for an open descriptor")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// A descriptor of our own for a lent one, that does not block who reads it.
pub(super) fn duplicate(lent: &dyn AsRawFd) -> io::Result<OwnedFd> {
    // SAFETY: whoever lends the object keeps its descriptor open while it is borrowed, which is for this call.
    let borrowed = unsafe { BorrowedFd::borrow_raw(lent.as_raw_fd()) };
    let own = borrowed.try_clone_to_owned()?;
    let flags = rustix::fs::fcntl_getfl(&own)?;
    rustix::fs::fcntl_setfl(&own, flags | rustix::fs::OFlags::NONBLOCK)?;
    Ok(own)
}
