//! One owner per device.

use core::sync::atomic::{AtomicUsize, Ordering};

use crate::{Error, OwnerId};

/// Whom a device belongs to: nobody, or exactly one, settled by compare-exchange.
///
/// Two mounts of one device, or a mount and a program that maps the bare device, would each believe that it alone
/// decides what is where. The second gets an error that names the first. Claiming is not recursive: the holder is
/// refused too.
///
/// ```
/// use fs_dax::{DeviceOwner, Error, OwnerId};
///
/// let owner = DeviceOwner::new();
/// let (a, b) = (OwnerId::new(1).unwrap(), OwnerId::new(2).unwrap());
/// let claim = owner.claim(a)?;
/// assert_eq!(owner.claim(b).unwrap_err(), Error::Owned { holder: a });
/// drop(claim);
/// assert!(owner.claim(b).is_ok());
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Default)]
pub struct DeviceOwner(AtomicUsize);

impl DeviceOwner {
    /// A device that belongs to nobody.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// Makes `id` the owner until the claim is dropped.
    ///
    /// # Errors
    /// [`Error::Owned`] with the holder if the device belongs to somebody, be it `id` itself.
    pub fn claim(&self, id: OwnerId) -> Result<Claim<'_>, Error> {
        self.acquire(id)?;
        Ok(Claim { owner: self, id })
    }

    /// Makes `id` the owner until [`release`](Self::release), for owners that cannot keep a borrow.
    ///
    /// # Errors
    /// As [`claim`](Self::claim).
    pub fn acquire(&self, id: OwnerId) -> Result<(), Error> {
        // Acquire pairs with the release below: the new owner sees all that the old one did to the device.
        match self.0.compare_exchange(0, id.0.get(), Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => Ok(()),
            Err(holder) => match OwnerId::new(holder) {
                Some(holder) => Err(Error::Owned { holder }),
                // A strong exchange that expects 0 does not fail on 0.
                None => Err(Error::Owned { holder: id }),
            },
        }
    }

    /// Ends the ownership of `id`.
    ///
    /// # Errors
    /// [`Error::NotOwner`] if the device belongs to nobody or to somebody else, who keeps it.
    pub fn release(&self, id: OwnerId) -> Result<(), Error> {
        match self.0.compare_exchange(id.0.get(), 0, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => Ok(()),
            Err(holder) => Err(Error::NotOwner { claimant: id, holder: OwnerId::new(holder) }),
        }
    }

    /// Who owns the device at this moment.
    #[must_use]
    pub fn holder(&self) -> Option<OwnerId> {
        OwnerId::new(self.0.load(Ordering::Relaxed))
    }
}

/// Ownership of a device; dropping it gives the device up.
#[derive(Debug)]
#[must_use = "dropping the claim gives the device up"]
pub struct Claim<'a> {
    owner: &'a DeviceOwner,
    id: OwnerId,
}

impl Claim<'_> {
    /// The owner.
    #[must_use]
    pub const fn id(&self) -> OwnerId {
        self.id
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        // Somebody who released in this claim's name has already given the device up: nothing is left to do.
        let _ = self.owner.release(self.id);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    fn id(n: usize) -> OwnerId {
        OwnerId::new(n).unwrap()
    }

    #[test]
    fn the_second_is_told_who_the_first_is() {
        let owner = DeviceOwner::new();
        owner.acquire(id(7)).unwrap();
        assert_eq!(owner.acquire(id(8)), Err(Error::Owned { holder: id(7) }));
        assert_eq!(owner.acquire(id(7)), Err(Error::Owned { holder: id(7) }));
        assert_eq!(owner.release(id(8)), Err(Error::NotOwner { claimant: id(8), holder: Some(id(7)) }));
        assert_eq!(owner.holder(), Some(id(7)));
        owner.release(id(7)).unwrap();
        assert_eq!(owner.release(id(7)), Err(Error::NotOwner { claimant: id(7), holder: None }));
        owner.acquire(id(8)).unwrap();
    }

    #[test]
    fn a_claim_is_given_up_when_dropped() {
        let owner = DeviceOwner::new();
        let claim = owner.claim(id(1)).unwrap();
        assert_eq!(claim.id(), id(1));
        drop(claim);
        assert_eq!(owner.holder(), None);
    }

    #[test]
    fn one_of_many_wins() {
        let owner = DeviceOwner::new();
        let inside = AtomicUsize::new(0);
        thread::scope(|scope| {
            for n in 1..=4 {
                let (owner, inside) = (&owner, &inside);
                scope.spawn(move || {
                    for _ in 0..200 {
                        if let Ok(claim) = owner.claim(id(n)) {
                            assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0, "two owners at once");
                            assert_eq!(owner.holder(), Some(claim.id()));
                            inside.fetch_sub(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(owner.holder(), None);
    }
}
