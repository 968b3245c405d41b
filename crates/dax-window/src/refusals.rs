//! A short memory of files that the server refuses to map.

const ENTRIES: usize = 16;
const FIRST_PAUSE: u32 = 64;
const LONGEST_PAUSE: u32 = 1 << 16;

#[derive(Clone, Copy, Debug)]
struct Entry {
    file: u64,
    writable: bool,
    /// Misses to go round before the next attempt.
    left: u32,
    /// As many as that was last time; 0 for an entry that is not in use.
    pause: u32,
}

/// After a refusal the next misses on that file go round the window, twice as many after each further one.
#[derive(Debug)]
#[cfg_attr(all(test, feature = "alloc"), derive(Clone))]
pub(crate) struct Refusals {
    entries: [Entry; ENTRIES],
    /// Nothing was ever refused, which is the rule.
    none: bool,
}

impl Refusals {
    pub(crate) const EMPTY: Self =
        Self { entries: [Entry { file: 0, writable: false, left: 0, pause: 0 }; ENTRIES], none: true };

    fn entry(&mut self, file: u64, writable: bool) -> &mut Entry {
        let hash = (file ^ (u64::from(writable) << 63)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        &mut self.entries[(hash >> 60) as usize % ENTRIES]
    }

    pub(crate) fn note(&mut self, file: u64, writable: bool) {
        let entry = self.entry(file, writable);
        let known = entry.pause != 0 && entry.file == file && entry.writable == writable;
        let pause = if known { (entry.pause * 2).min(LONGEST_PAUSE) } else { FIRST_PAUSE };
        *entry = Entry { file, writable, left: pause, pause };
        self.none = false;
    }

    /// Whether an access that misses should go round.
    pub(crate) fn refuses(&mut self, file: u64, writable: bool) -> bool {
        if self.none {
            return false;
        }
        let entry = self.entry(file, writable);
        if entry.file != file || entry.writable != writable || entry.left == 0 {
            return false;
        }
        entry.left -= 1;
        true
    }

    /// The file changed, or such a mapping succeeded: try again.
    pub(crate) fn forget(&mut self, file: u64, writable: bool) {
        if self.none {
            return;
        }
        let entry = self.entry(file, writable);
        if entry.file == file && entry.writable == writable {
            entry.pause = 0;
            entry.left = 0;
        }
    }
}

#[cfg(all(test, feature = "alloc"))]
impl Refusals {
    /// How many misses are left does not matter as long as there are some.
    pub(crate) fn digest(&self, hash: &mut impl core::hash::Hasher) {
        use core::hash::Hash;
        for entry in self.entries.iter().filter(|entry| entry.pause != 0) {
            (entry.file, entry.writable, entry.left > 0, entry.pause).hash(hash);
        }
    }
}
