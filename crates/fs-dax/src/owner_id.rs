//! Who owns a device.

use core::fmt;
use core::num::NonZeroUsize;

/// Who owns a device: any number but 0 that the embedder chooses (the address of the mounted file system, say).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OwnerId(pub NonZeroUsize);

impl OwnerId {
    /// The owner with this number, or `None` for 0.
    #[must_use]
    pub const fn new(id: usize) -> Option<Self> {
        match NonZeroUsize::new(id) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }
}

impl fmt::Display for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "owner {:#x}", self.0)
    }
}
