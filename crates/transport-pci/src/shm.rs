//! Shared-memory regions from capabilities.

use transport_mmio::Registers;
use virtio_shm::{DeviceId, ShmError, ShmId, ShmRegion, ShmTransport};

use crate::PciTransport;

impl<R: Registers> DeviceId for PciTransport<R> {
    fn device_id(&self) -> u16 {
        Self::device_id(self)
    }
}

impl<R: Registers> ShmTransport for PciTransport<R> {
    /// The region of the first capability with this id (virtio 1.3, 4.1.4.7). If none has it, but there is a
    /// shared-memory capability that is too short to have an id, that one's error.
    fn shm_region(&mut self, id: ShmId) -> Result<Option<ShmRegion>, ShmError> {
        let regions = self.layout.regions.iter().flatten();
        let found = regions.clone().find(|region| region.id == Some(id));
        let nameless = || regions.clone().find(|region| region.id.is_none());
        found.or_else(nameless).map(|region| region.found).transpose()
    }

    /// In the order of the capability list.
    fn for_each_shm_region(&mut self, visit: &mut dyn FnMut(Result<ShmRegion, ShmError>)) {
        for region in self.layout.regions.iter().flatten() {
            visit(region.found);
        }
    }
}
