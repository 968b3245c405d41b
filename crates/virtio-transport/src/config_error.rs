//! What can be wrong with an access to the device configuration.

use thiserror::Error;

/// Why a field of the device configuration cannot be accessed.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The device has no configuration.
    #[error("the device has no configuration")]
    Missing,
    /// The field is outside the configuration.
    #[error("{len} bytes at {offset:#x} are outside the device's configuration of {size:#x} bytes")]
    Outside {
        /// The field's offset in bytes.
        offset: usize,
        /// Its length in bytes.
        len: usize,
        /// The length of the configuration in bytes.
        size: usize,
    },
    /// The field is not aligned, or no multiple of the width of its accesses.
    #[error("{len} bytes at {offset:#x} cannot be accessed by {width} bytes each")]
    Unaligned {
        /// The field's offset in bytes.
        offset: usize,
        /// Its length in bytes.
        len: usize,
        /// The width of an access in bytes.
        width: usize,
    },
    /// The configuration changed in every try to read it.
    #[error("the device's configuration changed during each of {tries} reads")]
    Unstable {
        /// How often it was read.
        tries: u32,
    },
}
