//! Memory belongs to one mount at a time, identified by its physical addresses.

use alloc::sync::Arc;
use alloc::vec::Vec;

use fs_dax::OwnerId;
use lock_api::{Mutex, RawMutex};

use crate::Error;

/// Which memory belongs to which mount. A kernel has one for all of its mounts.
///
/// Names do not count: the same memory may be reachable as a device of two names, through a bind mount, or as parts of
/// two devices that overlap.
#[derive(Debug)]
pub struct Claims<L: RawMutex> {
    list: Mutex<L, List>,
}

#[derive(Debug)]
struct List {
    claims: Vec<Owned>,
    next: usize,
}

#[derive(Clone, Copy, Debug)]
struct Owned {
    phys: u64,
    end: u64,
    owner: OwnerId,
}

impl<L: RawMutex> Claims<L> {
    /// No memory belongs to anybody.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self { list: Mutex::new(List { claims: Vec::new(), next: 1 }) })
    }

    /// Claims all of `ranges`, each a physical address and a length in bytes, or none.
    ///
    /// # Errors
    /// [`Error::Busy`] if somebody has some of it.
    pub(crate) fn claim(self: &Arc<Self>, ranges: &[(u64, u64)]) -> Result<Claimed<L>, Error> {
        let mut list = self.list.lock();
        let overlapping = |(phys, len): &(u64, u64)| {
            let end = phys.saturating_add(*len);
            list.claims.iter().find(|owned| owned.phys < end && *phys < owned.end)
        };
        if let Some(held) = ranges.iter().find_map(overlapping) {
            return Err(Error::Busy { phys: held.phys, holder: held.owner });
        }
        // Numbers that were used once are not used again: a kernel does not mount 2^32 times.
        let owner = OwnerId::new(list.next).ok_or(Error::ReadOnly)?;
        list.next = list.next.wrapping_add(1);
        let owned = |(phys, len): &(u64, u64)| Owned { phys: *phys, end: phys.saturating_add(*len), owner };
        list.claims.extend(ranges.iter().map(owned));
        Ok(Claimed { claims: Arc::clone(self), owner })
    }
}

/// Memory that belongs to a mount until this is dropped.
#[derive(Debug)]
pub(crate) struct Claimed<L: RawMutex> {
    claims: Arc<Claims<L>>,
    owner: OwnerId,
}

impl<L: RawMutex> Drop for Claimed<L> {
    fn drop(&mut self) {
        self.claims.list.lock().claims.retain(|owned| owned.owner != self.owner);
    }
}
