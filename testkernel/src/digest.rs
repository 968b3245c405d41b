//! SHA-256, shown as people and `sha256sum` show it.

use core::fmt;
use sha2::{Digest, digest::Output};

/// A digest in the making.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sha256(sha2::Sha256);

/// A finished digest; displays as 64 hexadecimal digits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sum(Output<sha2::Sha256>);

impl Sha256 {
    /// The digest of nothing yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Ends it.
    pub(crate) fn finish(self) -> Sum {
        Sum(self.0.finalize())
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
