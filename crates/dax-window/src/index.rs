//! The hash index: (file, chunk) to range, with the buckets' heads stored in the descriptors themselves.

use crate::descriptor::{Descriptor, NIL};

#[derive(Debug)]
#[cfg_attr(all(test, feature = "alloc"), derive(Clone))]
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
    pub(crate) fn find(&self, descriptors: &[Descriptor], file: u64, chunk: u64) -> u32 {
        let mut at = descriptors[self.bucket(self.hash(file, chunk)) as usize].bucket;
        while at != NIL {
            let node = &descriptors[at as usize];
            if node.chunk == chunk && node.file == file {
                break;
            }
            at = node.chain;
        }
        at
    }

    /// Inserts range `i` under its key, which is not yet there.
    pub(crate) fn insert(&self, descriptors: &mut [Descriptor], i: u32) {
        let bucket = self.home(descriptors, i);
        descriptors[i as usize].chain = descriptors[bucket].bucket;
        descriptors[bucket].bucket = i;
    }

    /// Takes range `i` out; its key is still set.
    pub(crate) fn remove(&self, descriptors: &mut [Descriptor], i: u32) {
        let bucket = self.home(descriptors, i);
        let after = descriptors[i as usize].chain;
        descriptors[i as usize].chain = NIL;
        if descriptors[bucket].bucket == i {
            descriptors[bucket].bucket = after;
            return;
        }
        let mut at = descriptors[bucket].bucket;
        while at != NIL {
            if descriptors[at as usize].chain == i {
                descriptors[at as usize].chain = after;
                return;
            }
            at = descriptors[at as usize].chain;
        }
    }

    fn home(&self, descriptors: &[Descriptor], i: u32) -> usize {
        let node = &descriptors[i as usize];
        self.bucket(self.hash(node.file, node.chunk)) as usize
    }
}
