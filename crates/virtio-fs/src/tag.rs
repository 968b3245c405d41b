//! The name of a file system.

use core::fmt;

/// Length of the tag in the configuration space (virtio 1.3, 5.11.4).
pub(crate) const TAG_BYTES: usize = 36;

/// The tag of a file system, as its configuration space has it: UTF-8 by the specification, not checked.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Tag {
    bytes: [u8; TAG_BYTES],
}

impl Tag {
    pub(crate) fn new(bytes: [u8; TAG_BYTES]) -> Self {
        Self { bytes }
    }

    /// Returns the tag's bytes, without padding.
    pub fn as_bytes(&self) -> &[u8] {
        let len = self.bytes.iter().position(|&byte| byte == 0).unwrap_or(TAG_BYTES);
        &self.bytes[..len]
    }

    /// Returns the tag as text, if it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        core::str::from_utf8(self.as_bytes()).ok()
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}
