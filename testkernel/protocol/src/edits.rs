//! What the host does to a file while the guest waits: both sides know it by its number.

use crate::content::Content;
use alloc::{format, vec::Vec};

/// No edit makes the file longer, in bytes.
pub const LARGEST: u64 = 6 << 20;

/// A change of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// [`bytes`] of this edit are written, all inside the file.
    Write {
        /// Where, in bytes.
        offset: u64,
        /// How many.
        len: u64,
    },
    /// It is cut or stretched to so many bytes.
    Resize(u64),
}

impl Edit {
    /// Edit `number` of a file that has `size` bytes before it.
    pub fn nth(number: u64, size: u64) -> Self {
        let draw = |index| Content::of("edits").word(4 * number + index);
        if size == 0 || draw(0) % 3 == 0 {
            return Self::Resize(draw(1) % LARGEST);
        }
        let offset = draw(1) % size;
        Self::Write { offset, len: (draw(2) % 10_000 + 1).min(size - offset) }
    }
}

/// What edit `number` writes.
pub fn bytes(number: u64, len: u64) -> Vec<u8> {
    Content::of(&format!("edit {number}")).bytes(0, len as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_stay_inside() {
        let (mut writes, mut size) = (0, 0);
        for number in 0..1000 {
            match Edit::nth(number, size) {
                Edit::Write { offset, len } => {
                    assert!(len > 0 && offset + len <= size, "{number}");
                    writes += 1;
                }
                Edit::Resize(to) => {
                    assert!(to < LARGEST);
                    size = to;
                }
            }
        }
        assert!((500..800).contains(&writes), "{writes} of 1000 are writes");
    }
}
