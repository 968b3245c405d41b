//! Keys of files, unique over all mounts.

use core::sync::atomic::{AtomicU32, Ordering};

/// A file's key: what page tables, windows and dirty pages know a file by. Only equality means something.
///
/// Keys that a [`FileKeys`] gives out are never given out twice, so that files of several mounts can share one
/// [`Mappings`](crate::Mappings). Numbers below 2^32 are never given out: they are the embedder's own, for files that it
/// numbers itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileKey(pub u64);

impl core::fmt::Display for FileKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// Blocks of 2^32 keys that were given out; the first belongs to the embedder.
///
/// This is the only state of the crate that is shared by everything: two mounts that know nothing of each other can have
/// different keys only through something that both use. It is written once for each block.
static BLOCKS: AtomicU32 = AtomicU32::new(1);

/// Gives out keys of files: one for each mount.
///
/// ```
/// use fs_dax::FileKeys;
///
/// let (mut one, mut other) = (FileKeys::new(), FileKeys::new());
/// assert_ne!(one.next_key(), other.next_key());
/// assert_ne!(one.next_key(), one.next_key());
/// ```
#[derive(Debug)]
pub struct FileKeys {
    /// The next key, unless its lower half is 0: then a block is needed first.
    next: u64,
}

impl FileKeys {
    /// Keys for one mount. No block is taken before the first key is wanted.
    #[must_use]
    pub const fn new() -> Self {
        Self { next: 0 }
    }

    /// A key that no file of any mount has had.
    ///
    /// There are 2^32 blocks for 2^32 files each. A kernel that used them all up would begin again with the first, after
    /// 2^64 files or 2^32 mounts.
    pub fn next_key(&mut self) -> FileKey {
        if self.next as u32 == 0 {
            self.next = u64::from(take_block(&BLOCKS)) << 32 | 1;
        }
        let key = FileKey(self.next);
        self.next = self.next.wrapping_add(1);
        key
    }
}

impl Default for FileKeys {
    fn default() -> Self {
        Self::new()
    }
}

/// The number of a block that is free, never 0.
fn take_block(blocks: &AtomicU32) -> u32 {
    loop {
        let block = blocks.fetch_add(1, Ordering::Relaxed);
        if block != 0 {
            return block;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::collections::BTreeSet;
    use std::thread;

    #[test]
    fn keys_of_mounts_that_start_together_never_collide() {
        let workers: [_; 4] = core::array::from_fn(|_| {
            thread::spawn(|| {
                let mut mounts: [FileKeys; 8] = core::array::from_fn(|_| FileKeys::new());
                (0..80).map(|n| mounts[n % 8].next_key()).collect::<std::vec::Vec<_>>()
            })
        });
        let mut seen = BTreeSet::new();
        for worker in workers {
            for key in worker.join().unwrap() {
                assert!(key.0 >> 32 != 0, "{key:?} is one of the embedder's own");
                assert!(seen.insert(key), "{key:?} twice");
            }
        }
    }

    #[test]
    fn a_full_block_is_followed_by_another() {
        let mut keys = FileKeys::new();
        let first = keys.next_key();
        keys.next = first.0 | 0xffff_ffff;
        assert_eq!(keys.next_key().0, first.0 | 0xffff_ffff);
        let next = keys.next_key();
        assert_ne!(next.0 >> 32, first.0 >> 32);
        assert_ne!(next.0 as u32, 0);
    }

    #[test]
    fn the_embedders_block_is_left_out_when_numbers_wrap() {
        let blocks = AtomicU32::new(u32::MAX);
        assert_eq!(take_block(&blocks), u32::MAX);
        assert_eq!(take_block(&blocks), 1);
    }
}
