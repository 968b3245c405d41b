//! What a transport tells about shared memory, and about which device it is.

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

/// A transport that knows the virtio device id of its device, as the device gave it.
///
/// `virtio_drivers::transport::DeviceType` ends at 25, so `Transport::device_type` cannot say what a file system
/// device (26) or any newer one is. A driver asks here.
pub trait DeviceId {
    /// The virtio device id (virtio 1.3, section 5), e.g. [`FILE_SYSTEM`].
    fn device_id(&self) -> u16;
}

impl<T: DeviceId + ?Sized> DeviceId for &mut T {
    fn device_id(&self) -> u16 {
        (**self).device_id()
    }
}

/// The virtio device id of a file system device (virtio 1.3, 5.11).
pub const FILE_SYSTEM: u16 = 26;

/// The virtio device id of a GPU device (virtio 1.3, 5.7).
pub const GPU: u16 = 16;
