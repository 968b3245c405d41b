//! Parts of a device's window, each with an owner of its own.

use alloc::sync::Arc;
use core::num::NonZeroUsize;

use fs_dax::{DeviceOffset, DeviceOwner, LinearMemory, OwnerId, Partition, PhysAddr};
use fuse_proto::Errno;
use virtio_shm::{ShmError, ShmRegion};

use crate::{Error, Platform};

/// A part of a window, with at most one owner at a time: a file system that is mounted with it, or a [`PartClaim`]. Nobody
/// checks that the parts of one window are apart: the embedder divides it.
///
/// A file system uses all of its device's window, unless [`crate::Config::window_part`] names a part. The rest is the
/// embedder's: for files at places of its choice (a program's image, the memory of a guest of its own), which no reclaim
/// takes away.
///
/// ```no_run
/// # fn f(fs: &virtio_fs::VirtioFs, window: virtio_shm::ShmRegion) -> Result<(), Box<dyn core::error::Error>> {
/// use fs_dax::{AccessFlags, DeviceOffset, DirectAccess, MemoryDevice, OwnerId};
/// use virtio_fs::{OpenOptions, WindowPart};
///
/// // The file system was mounted with the other half of this window.
/// let part = WindowPart::new(0, window.len() / 2);
/// let claim = part.claim(OwnerId::new(1).ok_or("no owner")?)?;
/// let image = fs.open("image", OpenOptions::new().read(true))?;
/// image.map_in_part(&claim, DeviceOffset(0), 0, 2 << 20)?;
/// let device = claim.device(&window)?;
/// let found = device.direct_access(&DirectAccess { offset: 0, size: 2 << 20, flags: AccessFlags::empty() })?;
/// println!("the image lies at {}", found.phys);
/// fs.unmap_in_part(&claim, DeviceOffset(0), 2 << 20)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct WindowPart {
    offset: u64,
    len: u64,
    owner: DeviceOwner,
}

impl WindowPart {
    /// The `len` bytes from `offset` on of a window. For a file system the offset is a multiple of
    /// [`crate::Config::range_size`], and the part at least that long.
    pub fn new(offset: u64, len: u64) -> Arc<Self> {
        Arc::new(Self { offset, len, owner: DeviceOwner::new() })
    }

    /// Where it begins in the window, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Its length in bytes.
    #[expect(clippy::len_without_is_empty, reason = "a part of no bytes can be named, but is of no use to anybody")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns the owner at this moment.
    pub fn holder(&self) -> Option<OwnerId> {
        self.owner.holder()
    }

    /// Makes it belong to `id`, until the claim is dropped.
    ///
    /// # Errors
    ///
    /// [`fs_dax::Error::Owned`] with the holder if it belongs to somebody.
    pub fn claim(self: &Arc<Self>, id: OwnerId) -> Result<PartClaim, fs_dax::Error> {
        self.owner.acquire(id)?;
        Ok(PartClaim { part: self.clone(), id })
    }

    /// Makes it belong to a file system, which is known by where its platform is. The error is who has it.
    pub(crate) fn own(self: &Arc<Self>, platform: &dyn Platform) -> Result<Owned, OwnerId> {
        let address = core::ptr::from_ref(platform).cast::<()>().addr();
        // No reference is null.
        let id = OwnerId::new(address).unwrap_or(OwnerId(NonZeroUsize::MIN));
        match self.owner.acquire(id) {
            Ok(()) => Ok(Owned { part: self.clone(), id }),
            Err(_) => Err(self.holder().unwrap_or(id)),
        }
    }

    /// This part of `window`, for ranges of `range_size` bytes.
    pub(crate) fn of(&self, window: &ShmRegion, range_size: u64) -> Result<ShmRegion, ShmError> {
        let Self { offset, len, .. } = *self;
        let region = window.part(offset, len)?;
        if !offset.is_multiple_of(range_size) {
            return Err(ShmError::PartUnaligned { id: window.id(), offset, align: range_size });
        }
        Ok(region)
    }
}

/// What a file system owns of a window for as long as it uses it: for good, if its device died with mappings in it.
#[derive(Debug)]
pub(crate) struct Owned {
    part: Arc<WindowPart>,
    id: OwnerId,
}

impl Owned {
    /// Gives the part back. Once.
    pub(crate) fn give_up(&self) {
        // It is this owner's, and nobody else gives it up.
        let _ = self.part.owner.release(self.id);
    }
}

/// A part that belongs to the embedder. Dropping it gives the part up; what is mapped there should be gone before.
#[derive(Debug)]
#[must_use = "dropping the claim gives the part up"]
pub struct PartClaim {
    part: Arc<WindowPart>,
    id: OwnerId,
}

impl PartClaim {
    /// The part.
    pub fn part(&self) -> &WindowPart {
        &self.part
    }

    /// The part as a device of its own: its offsets begin at 0, behind its end is nothing. `window` is all of the device's
    /// window, as the transport found it. Each call makes a device with a failure state of its own.
    ///
    /// # Errors
    ///
    /// [`fs_dax::Error::PartitionBounds`] if the window has no such part, [`fs_dax::Error::Unaligned`] if it does not begin on a page.
    pub fn device(&self, window: &ShmRegion) -> Result<Partition<LinearMemory>, fs_dax::Error> {
        let whole = LinearMemory::new(PhysAddr(window.addr()), None, window.len())?;
        Partition::new(whole, DeviceOffset(self.part.offset), self.part.len)
    }

    /// `len` bytes at `at` in the part, as the device counts them; the driver's own are refused.
    pub(crate) fn place(&self, whole: &ShmRegion, own: &ShmRegion, at: DeviceOffset, len: u64) -> Result<u64, Error> {
        let outside = Error::refused(Errno::ERANGE, "past the end of the part of the window");
        let inside = at.0.checked_add(len).is_some_and(|end| len > 0 && end <= self.part.len);
        let moffset = self.part.offset.checked_add(at.0).filter(|_| inside).ok_or(outside.clone())?;
        let region = whole.part(moffset, len).map_err(|_| outside)?;
        if region.overlaps(&own.range()) {
            return Err(Error::refused(Errno::EPERM, "this part of the window belongs to the driver"));
        }
        Ok(moffset)
    }
}

impl Drop for PartClaim {
    fn drop(&mut self) {
        // It is this claim's, and nobody else gives it up.
        let _ = self.part.owner.release(self.id);
    }
}
