//! Descriptors that another crate lends by number.
#![expect(unsafe_code, reason = "a number is taken for an open descriptor")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// A descriptor of our own for what `lent` stands for.
pub(crate) fn duplicate(lent: &dyn AsRawFd) -> io::Result<OwnedFd> {
    // SAFETY: whoever lends the object keeps its descriptor open while it is borrowed, which is for this call.
    let borrowed = unsafe { BorrowedFd::borrow_raw(lent.as_raw_fd()) };
    borrowed.try_clone_to_owned()
}
