//! The bytes that files of scenarios hold, made from the file's name.
//!
//! Byte `i` of a stream is byte `i % 8`, little-endian, of word `i / 8`. Word `k` of the stream of a name is the `k`th
//! output of the generator splitmix64 that starts from the name's FNV-1a hash of 64 bits. A name is a path relative to
//! the share, with a suffix such as `#2` for other contents of the same file.

use alloc::{vec, vec::Vec};

/// An endless stream of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    seed: u64,
}

impl Content {
    /// The stream that belongs to a name.
    pub const fn of(name: &str) -> Self {
        let bytes = name.as_bytes();
        let mut seed: u64 = 0xcbf2_9ce4_8422_2325;
        let mut index = 0;
        while index < bytes.len() {
            seed = (seed ^ bytes[index] as u64).wrapping_mul(0x100_0000_01b3);
            index += 1;
        }
        Self { seed }
    }

    /// Word `index`: bytes `8 * index` to `8 * index + 7`, little-endian.
    pub const fn word(self, index: u64) -> u64 {
        let mut z = self.seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Byte `offset`.
    pub const fn byte(self, offset: u64) -> u8 {
        self.word(offset / 8).to_le_bytes()[(offset % 8) as usize]
    }

    /// Fills a buffer with the stream from `offset` on.
    pub fn fill(self, offset: u64, buffer: &mut [u8]) {
        let head = buffer.len().min((offset.next_multiple_of(8) - offset) as usize);
        let (head, rest) = buffer.split_at_mut(head);
        let mut at = offset;
        for byte in head {
            *byte = self.byte(at);
            at += 1;
        }
        for chunk in rest.chunks_mut(8) {
            chunk.copy_from_slice(&self.word(at / 8).to_le_bytes()[..chunk.len()]);
            at += 8;
        }
    }

    /// So many bytes of the stream from `offset` on.
    pub fn bytes(self, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.fill(offset, &mut bytes);
        bytes
    }

    /// The first byte of a buffer that is not the stream's from `offset` on: its index in the buffer.
    pub fn difference(self, offset: u64, buffer: &[u8]) -> Option<usize> {
        let mut at = offset;
        let mut done = 0;
        while done < buffer.len() {
            let rest = &buffer[done..];
            if at.is_multiple_of(8)
                && let Some(word) = rest.first_chunk()
                && u64::from_le_bytes(*word) == self.word(at / 8)
            {
                done += 8;
                at += 8;
            } else if rest[0] == self.byte(at) {
                done += 1;
                at += 1;
            } else {
                return Some(done);
            }
        }
        None
    }
}

/// The first bytes of the stream of a name.
pub fn stream(name: &str, length: usize) -> Vec<u8> {
    Content::of(name).bytes(0, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        let content = Content::of("files/size-1");
        assert_eq!(content.seed, 0xf76f_f1dd_940d_d1ce);
        assert_eq!(
            [content.word(0), content.word(1), content.word(2)],
            [0x6b56_0ba1_bf43_8614, 0x8f27_c598_141e_9357, 0xd03d_16f4_31e2_6a20]
        );
        assert_eq!(content.bytes(0, 8), 0x6b56_0ba1_bf43_8614_u64.to_le_bytes());
        assert_eq!(content.byte(0), 0x14);
        assert_eq!(content.byte(15), 0x8f);
    }

    #[test]
    fn any_part_of_it_can_be_made_and_checked() {
        let content = Content::of("x");
        let mut whole = [0; 100];
        content.fill(0, &mut whole);
        for start in 0..20 {
            for end in start..100 {
                let mut part = [0; 100];
                let part = &mut part[..end - start];
                content.fill(start as u64, part);
                assert_eq!(part, &whole[start..end]);
                assert_eq!(content.bytes(start as u64, end - start), &whole[start..end]);
                assert_eq!(content.difference(start as u64, part), None);
                if let Some(last) = part.last_mut() {
                    *last ^= 1;
                    assert_eq!(content.difference(start as u64, part), Some(end - start - 1));
                }
            }
        }
    }
}
