//! Shared-memory regions from registers.

use virtio_shm::{Neighbour, ShmError, ShmId, ShmRegion, ShmTransport};
use virtio_transport::Registers;

use crate::{
    MmioTransport,
    registers::{SHM_BASE, SHM_LEN, SHM_SEL},
};

/// How many regions of one device an enumeration distinguishes.
pub const MAX_REGIONS: usize = 16;

impl<R: Registers> MmioTransport<R> {
    fn read_halves(&self, register: usize) -> u64 {
        let low = self.registers.read32(register);
        let high = self.registers.read32(register + 4);
        u64::from(high) << 32 | u64::from(low)
    }
}

impl<R: Registers> ShmTransport for MmioTransport<R> {
    /// Asks the registers (virtio 1.3, 4.2.2: `SHMSel` and the four after it). A length of all ones says that there is
    /// no such region, whatever the base; the specification has all ones there too, not every device does.
    ///
    /// Some devices answer for several ids with the same region.
    fn shm_region(&mut self, id: ShmId) -> Result<Option<ShmRegion>, ShmError> {
        self.registers.write32(SHM_SEL, id.0.into());
        let len = self.read_halves(SHM_LEN);
        if len == u64::MAX {
            return Ok(None);
        }
        let addr = self.read_halves(SHM_BASE);
        ShmRegion::new(id, addr, len).map(Some)
    }

    /// Asks for all 256 ids. Ids with the same base are one region, visited once, under the least of them; a region that
    /// overlaps an earlier one is an error, and so is the first region beyond [`MAX_REGIONS`], which is the last visit.
    fn for_each_shm_region(&mut self, visit: &mut dyn FnMut(Result<ShmRegion, ShmError>)) {
        let mut seen: [Option<ShmRegion>; MAX_REGIONS] = [None; MAX_REGIONS];
        for id in 0..=u8::MAX {
            let region = match self.shm_region(ShmId(id)) {
                Ok(None) => continue,
                Ok(Some(region)) => region,
                Err(error) => {
                    visit(Err(error));
                    continue;
                }
            };
            let mut known = seen.iter().flatten();
            if known.clone().any(|first| first.addr() == region.addr()) {
                continue;
            }
            if let Some(first) = known.find(|first| region.overlaps(&first.range())) {
                visit(Err(region.overlap(Neighbour::Region(first.id()), first.range())));
                continue;
            }
            let Some(free) = seen.iter_mut().find(|place| place.is_none()) else {
                visit(Err(ShmError::TooManyRegions { id: region.id(), limit: MAX_REGIONS }));
                return;
            };
            *free = Some(region);
            visit(Ok(region));
        }
    }
}
