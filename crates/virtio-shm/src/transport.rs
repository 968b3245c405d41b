//! What a transport reports of shared memory.

use crate::{ShmError, ShmId, ShmRegion};

/// A transport that can be asked for the device's shared-memory regions.
///
/// Having none is normal: the defaults say so, for transports that have no such thing (virtio-ccw):
///
/// ```
/// use virtio_shm::{ShmId, ShmTransport};
///
/// struct Ccw;
/// impl ShmTransport for Ccw {}
/// assert_eq!(Ccw.shm_region(ShmId::FS_DAX_WINDOW), Ok(None));
/// ```
pub trait ShmTransport {
    /// The region with this id; `Ok(None)` if the device has none.
    ///
    /// # Errors
    ///
    /// The device offers the region, but what it says of it is malformed.
    fn shm_region(&mut self, id: ShmId) -> Result<Option<ShmRegion>, ShmError> {
        let _ = id;
        Ok(None)
    }

    /// Calls `visit` once for every region that the device offers, well-formed or not, in the transport's order.
    fn for_each_shm_region(&mut self, visit: &mut dyn FnMut(Result<ShmRegion, ShmError>)) {
        for id in 0..=u8::MAX {
            match self.shm_region(ShmId(id)) {
                Ok(None) => {}
                Ok(Some(region)) => visit(Ok(region)),
                Err(error) => visit(Err(error)),
            }
        }
    }
}

impl<T: ShmTransport + ?Sized> ShmTransport for &mut T {
    fn shm_region(&mut self, id: ShmId) -> Result<Option<ShmRegion>, ShmError> {
        (**self).shm_region(id)
    }

    fn for_each_shm_region(&mut self, visit: &mut dyn FnMut(Result<ShmRegion, ShmError>)) {
        (**self).for_each_shm_region(visit);
    }
}

/// The virtio device id of a file system device (virtio 1.3, 5.11).
pub const FILE_SYSTEM: u16 = 26;

/// The virtio device id of a GPU device (virtio 1.3, 5.7).
pub const GPU: u16 = 16;
