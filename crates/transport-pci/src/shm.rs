//! Shared-memory regions from capabilities.

use virtio_shm::{ShmError, ShmId, ShmRegion, ShmTransport};
use virtio_transport::Registers;

use crate::PciTransport;

impl<R: Registers> ShmTransport for PciTransport<R> {
    /// The region of the first capability with this id (virtio 1.3, 4.1.4.7). If none has it, but there is a
    /// shared-memory capability that is too short to have an id, that one's error.
    fn shm_region(&mut self, id: ShmId) -> Result<Option<ShmRegion>, ShmError> {
        match self.layout.regions.iter().flatten().find(|region| region.id == id) {
            Some(region) => region.found.map(Some),
            None => self.layout.nameless.map_or(Ok(None), Err),
        }
    }

    /// In the order of the capability list; last the first of the capabilities that are too short to have an id.
    fn for_each_shm_region(&mut self, visit: &mut dyn FnMut(Result<ShmRegion, ShmError>)) {
        for region in self.layout.regions.iter().flatten() {
            visit(region.found);
        }
        if let Some(error) = self.layout.nameless {
            visit(Err(error));
        }
    }
}
