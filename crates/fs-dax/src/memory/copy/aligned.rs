//! How a copy falls into single bytes and aligned blocks, for processors on which unaligned accesses may trap.

/// Bytes of a block: four words.
pub(super) const BLOCK: usize = 32;

/// A copy's parts in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    /// Single bytes until both sides are aligned to words; all of them if that can't be.
    pub(super) head: usize,
    /// Blocks of [`BLOCK`] bytes.
    pub(super) blocks: usize,
    /// Single bytes after them.
    pub(super) tail: usize,
}

impl Parts {
    /// Of `len` bytes from the address `from` to the address `to`.
    pub(super) const fn of(from: usize, to: usize, len: usize) -> Self {
        let until_aligned = from.wrapping_neg() % 8;
        if from % 8 != to % 8 || len < until_aligned {
            return Self { head: len, blocks: 0, tail: 0 };
        }
        let rest = len - until_aligned;
        Self { head: until_aligned, blocks: rest / BLOCK, tail: rest % BLOCK }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_everything_and_blocks_are_aligned() {
        for from in 0..17 {
            for to in 0..17 {
                for len in 0..140 {
                    let Parts { head, blocks, tail } = Parts::of(from, to, len);
                    assert_eq!(head + blocks * BLOCK + tail, len);
                    assert!(blocks == 0 || (from + head).is_multiple_of(8) && (to + head).is_multiple_of(8));
                    assert!(tail < BLOCK && (from % 8 != to % 8 || head < 8 || blocks == 0));
                }
            }
        }
        assert_eq!(Parts::of(5, 13, 100), Parts { head: 3, blocks: 3, tail: 1 });
    }
}
