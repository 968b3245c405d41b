//! What is in the files.

use std::path::Path;

/// `len` bytes that look random and are the same each time (SplitMix64 from `seed`).
pub(crate) fn content(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len.next_multiple_of(8)];
    let mut state = seed;
    for word in bytes.chunks_exact_mut(8) {
        word.copy_from_slice(&next(&mut state).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// The next of a sequence of random numbers.
pub(crate) fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// Fails, saying where, if two pieces of data differ.
#[track_caller]
pub(crate) fn assert_same(found: &[u8], wanted: &[u8], what: impl std::fmt::Display) {
    if found == wanted {
        return;
    }
    let at = found.iter().zip(wanted).position(|(a, b)| a != b).unwrap_or(found.len().min(wanted.len()));
    panic!(
        "{what}: {} bytes, {} wanted; they differ at {at:#x}: {:02x?}, {:02x?} wanted",
        found.len(),
        wanted.len(),
        &found[at..found.len().min(at + 16)],
        &wanted[at..wanted.len().min(at + 16)],
    );
}

/// Writes part of a file in place, as somebody else on the host would.
pub(crate) fn poke(path: &Path, offset: u64, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::OpenOptions::new().write(true).open(path).expect("the file is there");
    file.write_all_at(bytes, offset).expect("the host writes");
}
