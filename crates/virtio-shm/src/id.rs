//! The id of a shared-memory region.

use core::fmt;

/// The id of a shared-memory region, unique within one device (virtio 1.3, 2.10).
///
/// What an id means is the device type's business: the same number names the DAX window of a file system and
/// something else on another device.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShmId(pub u8);

impl ShmId {
    /// The DAX window of a file system device, device id 26 (virtio 1.3, 5.11.2: `VIRTIO_FS_SHMCAP_ID_CACHE`).
    pub const FS_DAX_WINDOW: Self = Self(0);

    /// The host-visible memory of a GPU device, device id 16 (virtio 1.3, 5.7.2: `VIRTIO_GPU_SHM_ID_HOST_VISIBLE`).
    pub const GPU_HOST_VISIBLE: Self = Self(1);
}

impl From<u8> for ShmId {
    fn from(id: u8) -> Self {
        Self(id)
    }
}

impl From<ShmId> for u8 {
    fn from(id: ShmId) -> Self {
        id.0
    }
}

impl fmt::Debug for ShmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShmId({})", self.0)
    }
}

impl fmt::Display for ShmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
