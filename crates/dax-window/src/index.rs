//! The hash index: (file, chunk) to range, with the buckets' heads stored in the ranges' entries themselves.

use crate::descriptor::NIL;
use crate::entry::RangeEntry;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Index {
    seed: u64,
    buckets: u32,
}

impl Index {
    pub(crate) const fn new(seed: u64, buckets: u32) -> Self {
        Self { seed, buckets }
    }

    /// A well mixed hash of a key; the seed keeps whoever chooses file offsets from choosing collisions.
    #[inline]
    pub(crate) const fn hash(&self, file: u64, chunk: u64) -> u64 {
        // One wide multiplication, folded: each half of the product depends on all of both factors.
        let product = (file ^ self.seed) as u128 * (chunk.rotate_left(32) ^ 0xd6e8_feb8_6659_fd93) as u128;
        let folded = (product >> 64) as u64 ^ product as u64;
        folded.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// The bucket of a hash: its upper half scaled to the number of buckets, which needs no division.
    #[inline]
    pub(crate) const fn bucket(&self, hash: u64) -> u32 {
        (((hash >> 32) * self.buckets as u64) >> 32) as u32
    }

    /// The range that holds the chunk, or `NIL`.
    #[inline]
    pub(crate) fn find(&self, entries: &[RangeEntry], file: u64, chunk: u64) -> u32 {
        self.look(entries, self.hash(file, chunk), (file, chunk), usize::MAX).map_or(NIL, |(i, _)| i)
    }

    /// The range of a key with this hash, among the first `most` of its bucket. Who has no lock may be misled by changes, and looks
    /// no further than that.
    #[inline]
    pub(crate) fn look<'e>(
        &self,
        entries: &'e [RangeEntry],
        hash: u64,
        key: (u64, u64),
        most: usize,
    ) -> Option<(u32, &'e RangeEntry)> {
        let mut at = entries.get(self.bucket(hash) as usize)?.bucket();
        for _ in 0..most {
            // There is none of the number `NIL`.
            let entry = entries.get(at as usize)?;
            if entry.key() == key {
                return Some((at, entry));
            }
            at = entry.chain();
        }
        None
    }

    /// Inserts range `i` under its key, which is not yet there.
    pub(crate) fn insert(&self, entries: &[RangeEntry], i: u32) {
        let home = self.home(entries, i);
        entries[i as usize].set_chain(home.bucket());
        home.set_bucket(i);
    }

    /// Takes range `i` out; its key is still set.
    pub(crate) fn remove(&self, entries: &[RangeEntry], i: u32) {
        let home = self.home(entries, i);
        let after = entries[i as usize].chain();
        entries[i as usize].set_chain(NIL);
        if home.bucket() == i {
            home.set_bucket(after);
            return;
        }
        let mut at = home.bucket();
        while at != NIL {
            let entry = &entries[at as usize];
            if entry.chain() == i {
                entry.set_chain(after);
                return;
            }
            at = entry.chain();
        }
    }

    fn home<'e>(&self, entries: &'e [RangeEntry], i: u32) -> &'e RangeEntry {
        let (file, chunk) = entries[i as usize].key();
        &entries[self.bucket(self.hash(file, chunk)) as usize]
    }
}
