//! Names as numbers, so that most names that differ are told apart without looking at them.

/// Odd, with as many ones as zeros (2^64 by the golden ratio).
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// A number of a name. Different names have different numbers, unless somebody searches for two that collide.
#[inline]
pub(crate) fn name_hash(name: &[u8]) -> u64 {
    let mix = |hash: u64, word: u64| (hash.rotate_left(23) ^ word).wrapping_mul(FACTOR);
    let (words, rest) = name.as_chunks::<8>();
    let hash = words.iter().fold(name.len() as u64, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    // The last bytes, with some of those before.
    let last = name.last_chunk::<8>().map(|word| u64::from_le_bytes(*word));
    let last = last.unwrap_or_else(|| rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
    // The upper half depends on all bits, and takes the lower one along.
    let hash = mix(hash, last);
    hash ^ hash >> 32
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;
    use alloc::format;

    use super::*;

    #[test]
    fn names_that_differ_have_numbers_that_differ() {
        let mut seen = BTreeSet::new();
        for number in 0..50_000_u32 {
            for name in [format!("{number}"), format!("name-{number:06}"), format!("a longer name of {number:x}.txt")] {
                assert!(seen.insert(name_hash(name.as_bytes())), "{name}");
            }
        }
        assert_ne!(name_hash(b"a"), name_hash(b"a\0"));
        assert_ne!(name_hash(b"\0\0\0\0\0\0\0\0"), name_hash(b"\0"));
    }
}
