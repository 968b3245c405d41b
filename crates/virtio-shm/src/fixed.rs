//! Regions that the embedder gives, for platforms with a transport that has none.

use crate::{Neighbour, ShmError, ShmId, ShmRegion, ShmTransport};

/// Regions known from elsewhere: an extra memory slot, a device tree node, a constant of the machine.
///
/// ```
/// use virtio_shm::{FixedRegions, ShmId, ShmRegion, ShmTransport};
///
/// let window = ShmRegion::new(ShmId::FS_DAX_WINDOW, 0x1_0000_0000, 1 << 30)?;
/// let mut fixed = FixedRegions::new([window])?;
/// assert_eq!(fixed.shm_region(ShmId::FS_DAX_WINDOW), Ok(Some(window)));
/// assert_eq!(fixed.shm_region(ShmId(1)), Ok(None));
/// # Ok::<(), virtio_shm::ShmError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedRegions<const N: usize = 1> {
    regions: [ShmRegion; N],
}

impl<const N: usize> FixedRegions<N> {
    /// These regions.
    ///
    /// # Errors
    ///
    /// [`ShmError::DuplicateId`] if two have the same id, [`ShmError::Overlap`] if two overlap.
    pub fn new(regions: [ShmRegion; N]) -> Result<Self, ShmError> {
        for (index, region) in regions.iter().enumerate() {
            for first in &regions[..index] {
                if first.id() == region.id() {
                    return Err(ShmError::DuplicateId {
                        id: region.id(),
                        addr: region.addr(),
                        first_addr: first.addr(),
                    });
                }
                if region.overlaps(&first.range()) {
                    return Err(region.overlap(Neighbour::Region(first.id()), first.range()));
                }
            }
        }
        Ok(Self { regions })
    }

    /// The regions, in the order given.
    pub fn regions(&self) -> &[ShmRegion] {
        &self.regions
    }

    /// `region` of a device, if it overlaps none of these.
    fn check_apart(&self, region: ShmRegion) -> Result<ShmRegion, ShmError> {
        for fixed in &self.regions {
            if region.overlaps(&fixed.range()) {
                return Err(region.overlap(Neighbour::Region(fixed.id()), fixed.range()));
            }
        }
        Ok(region)
    }
}

impl<const N: usize> ShmTransport for FixedRegions<N> {
    fn shm_region(&mut self, id: ShmId) -> Result<Option<ShmRegion>, ShmError> {
        Ok(self.regions.iter().find(|region| region.id() == id).copied())
    }

    fn for_each_shm_region(&mut self, visit: &mut dyn FnMut(Result<ShmRegion, ShmError>)) {
        for region in self.regions {
            visit(Ok(region));
        }
    }
}

/// A transport with regions of the embedder's added to those of the device.
///
/// The embedder's win: a region of the device with the same id is not looked at, one that overlaps them is an error.
/// virtio-transport makes it a `Transport` whenever `T` is one.
#[derive(Clone, Debug)]
pub struct WithFixedRegions<T, const N: usize = 1> {
    inner: T,
    fixed: FixedRegions<N>,
}

impl<T, const N: usize> WithFixedRegions<T, N> {
    /// `inner`, with the regions of `fixed` added.
    pub const fn new(inner: T, fixed: FixedRegions<N>) -> Self {
        Self { inner, fixed }
    }

    /// The transport inside.
    pub const fn inner(&self) -> &T {
        &self.inner
    }

    /// The transport inside.
    pub const fn inner_mut(&mut self) -> &mut T {
        &mut self.inner
    }

    /// The transport inside, without the regions.
    pub fn into_inner(self) -> T {
        self.inner
    }
}

impl<T: ShmTransport, const N: usize> ShmTransport for WithFixedRegions<T, N> {
    fn shm_region(&mut self, id: ShmId) -> Result<Option<ShmRegion>, ShmError> {
        if let Some(region) = self.fixed.shm_region(id)? {
            return Ok(Some(region));
        }
        self.inner.shm_region(id)?.map(|region| self.fixed.check_apart(region)).transpose()
    }

    fn for_each_shm_region(&mut self, visit: &mut dyn FnMut(Result<ShmRegion, ShmError>)) {
        self.fixed.for_each_shm_region(visit);
        let fixed = self.fixed;
        self.inner.for_each_shm_region(&mut |found| match found {
            Ok(region) if fixed.regions().iter().any(|own| own.id() == region.id()) => {}
            Ok(region) => visit(fixed.check_apart(region)),
            Err(error) => visit(Err(error)),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(id: u8, addr: u64, len: u64) -> ShmRegion {
        ShmRegion::new(ShmId(id), addr, len).expect("a good region")
    }

    #[test]
    fn regions_must_differ() {
        let first = region(0, 0x1000, 0x1000);
        assert_eq!(FixedRegions::new([]).map(|none| none.regions().len()), Ok(0));
        assert!(FixedRegions::new([first, region(1, 0x2000, 0x1000)]).is_ok());
        let duplicate = ShmError::DuplicateId { id: ShmId(0), addr: 0x3000, first_addr: 0x1000 };
        assert_eq!(FixedRegions::new([first, region(1, 0x2000, 1), region(0, 0x3000, 1)]), Err(duplicate));
        let overlap = region(1, 0x1fff, 0x1000);
        let error = overlap.overlap(Neighbour::Region(ShmId(0)), first.range());
        assert_eq!(FixedRegions::new([first, overlap]), Err(error));
    }

    /// A transport with regions 0 and 1, and a malformed one, 2.
    struct Device;

    impl ShmTransport for Device {
        fn shm_region(&mut self, id: ShmId) -> Result<Option<ShmRegion>, ShmError> {
            match id.0 {
                0 => Ok(Some(region(0, 0x1000, 0x1000))),
                1 => Ok(Some(region(1, 0x5000, 0x1000))),
                2 => Err(ShmError::ZeroLength { id, addr: 0 }),
                _ => Ok(None),
            }
        }
    }

    fn all(transport: &mut impl ShmTransport) -> [Option<Result<ShmRegion, ShmError>>; 4] {
        let mut found = [None; 4];
        let mut places = found.iter_mut();
        transport.for_each_shm_region(&mut |region| *places.next().expect("at most four") = Some(region));
        found
    }

    #[test]
    fn the_embedders_regions_win() {
        let zero = Err(ShmError::ZeroLength { id: ShmId(2), addr: 0 });
        let (of_device, second) = (region(0, 0x1000, 0x1000), region(1, 0x5000, 0x1000));
        assert_eq!(all(&mut Device), [Some(Ok(of_device)), Some(Ok(second)), Some(zero), None]);

        let own = region(0, 0x8000, 0x1000);
        let mut both = WithFixedRegions::new(Device, FixedRegions::new([own]).expect("good regions"));
        assert_eq!(both.shm_region(ShmId(0)), Ok(Some(own)));
        assert_eq!(both.shm_region(ShmId(1)), Ok(Some(second)));
        assert_eq!(both.shm_region(ShmId(3)), Ok(None));
        assert_eq!(all(&mut both), [Some(Ok(own)), Some(Ok(second)), Some(zero), None]);

        let own = region(7, 0x5800, 0x1000);
        let mut both = WithFixedRegions::new(Device, FixedRegions::new([own]).expect("good regions"));
        let overlap = second.overlap(Neighbour::Region(ShmId(7)), own.range());
        assert_eq!(both.shm_region(ShmId(1)), Err(overlap));
        assert_eq!(all(&mut both), [Some(Ok(own)), Some(Ok(of_device)), Some(Err(overlap)), Some(zero)]);
    }
}
