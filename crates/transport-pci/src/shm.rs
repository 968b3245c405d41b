//! Shared-memory regions from capabilities.

use virtio_shm::{ShmError, ShmId, ShmRegion, ShmTransport};
use virtio_transport::Registers;

use crate::PciTransport;

impl<R: Registers> ShmTransport for PciTransport<R> {
    /// The region of the first well-formed capability with this id (virtio 1.3, 4.1.4.7). If none is well-formed, the first
    /// one's error. If none has the id, but there is a shared-memory capability that is too short to have an id, that
    /// one's error.
    fn shm_region(&mut self, id: ShmId) -> Result<Option<ShmRegion>, ShmError> {
        self.layout.regions.get(id)
    }

    /// In the order of the capability list, one for each id; last the first of the capabilities that are too short to have
    /// an id.
    fn for_each_shm_region(&mut self, visit: &mut dyn FnMut(Result<ShmRegion, ShmError>)) {
        self.layout.regions.iter().for_each(&mut *visit);
        if let Some(error) = self.layout.regions.nameless() {
            visit(Err(error));
        }
    }
}
