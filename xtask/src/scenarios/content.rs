//! The bytes of the share's files: made from the file's name, so that host and kernel agree without a word.
//!
//! Word `k`, little-endian, is the `k`th output of the generator splitmix64 that starts from the name's FNV-1a hash of 64
//! bits.

/// An endless stream of bytes that belongs to a name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content {
    seed: u64,
}

impl Content {
    /// The stream of a name: a path relative to the share, with a suffix such as `#2` for other contents of it.
    pub(crate) fn of(name: &str) -> Self {
        let step = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        Self { seed: name.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, step) }
    }

    fn word(self, index: u64) -> u64 {
        let z = self.seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// So many bytes from an offset on.
    pub(crate) fn bytes(self, offset: u64, length: usize) -> Vec<u8> {
        let skip = (offset % 8) as usize;
        let mut bytes = Vec::with_capacity(length + 16);
        let mut index = offset / 8;
        while bytes.len() < skip + length {
            bytes.extend_from_slice(&self.word(index).to_le_bytes());
            index += 1;
        }
        bytes.truncate(skip + length);
        bytes.drain(..skip);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        let content = Content::of("files/size-1");
        assert_eq!(content.seed, 0xf76f_f1dd_940d_d1ce);
        assert_eq!(content.bytes(0, 8), 0x6b56_0ba1_bf43_8614_u64.to_le_bytes());
    }

    #[test]
    fn any_part_is_a_part_of_the_whole() {
        let content = Content::of("x");
        let whole = content.bytes(0, 100);
        for start in 0..40 {
            for length in 0..40 {
                assert_eq!(content.bytes(start as u64, length), &whole[start..start + length]);
            }
        }
    }
}
