//! Ranges from numbers that may be anything.

use crate::{Error, FileRange};

impl FileRange {
    /// The `len` bytes from `start`.
    ///
    /// # Errors
    /// [`Error::RangeOverflow`] if the end does not fit in 64 bits.
    pub const fn new(start: u64, len: u64) -> Result<Self, Error> {
        match start.checked_add(len) {
            Some(end) => Ok(Self::between(start, end)),
            None => Err(Error::RangeOverflow { start, len }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_inside_64_bits() {
        assert!(FileRange::new(u64::MAX, 0).is_ok());
        assert_eq!(FileRange::new(u64::MAX, 1), Err(Error::RangeOverflow { start: u64::MAX, len: 1 }));
        assert_eq!(FileRange::ALL.end(), u64::MAX);
    }
}
