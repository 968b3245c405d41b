//! Direct access to memory devices, and parts of them.

use crate::{DeviceOffset, Error, FailureState, PhysAddr, VirtAddr};

bitflags::bitflags! {
    /// Hints that go with a direct access.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct AccessFlags: u32 {
        /// The memory will be dirtied through a *writable mapping* that is being installed. Never set for copies, which
        /// flush what they write themselves.
        const DIRTY = 1 << 0;
    }
}

/// What a direct access asks for: a control block that is read and never changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct DirectAccess {
    /// Where, in bytes from the beginning of the device or partition that is asked. A multiple of the page size, not
    /// negative.
    pub offset: i64,
    /// How many bytes are wanted. Not negative.
    pub size: i64,
    /// Hints.
    pub flags: AccessFlags,
}

/// Where a direct access may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DirectRange {
    /// Where the processor reaches it, if the kernel has it mapped.
    pub addr: Option<VirtAddr>,
    /// Its physical address.
    pub phys: PhysAddr,
    /// How many bytes follow each other there: at most what was asked for.
    pub len: u64,
}

/// A device, or a window, with memory that can be reached directly.
///
/// Implementors write [`len`](Self::len) and [`locate`](Self::locate); callers call
/// [`direct_access`](Self::direct_access), which applies the rules that are the same for all.
pub trait MemoryDevice {
    /// Length in bytes.
    fn len(&self) -> u64;

    /// Whether there is no byte at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The size of a page, a power of two, of which offsets have to be multiples.
    fn page_size(&self) -> u64 {
        4096
    }

    /// The device's failure state, if it can fail.
    fn failure(&self) -> Option<&FailureState> {
        None
    }

    /// Finds the memory of up to `size` bytes at `offset`; both have been checked to be inside the device. `None` if
    /// there is no memory at this place after all (a bad block, say).
    fn locate(&self, offset: DeviceOffset, size: u64, flags: AccessFlags) -> Option<DirectRange>;

    /// Asks for direct access.
    ///
    /// # Errors
    /// - [`Error::Failed`] (EIO) if the device is marked failed
    /// - [`Error::NegativeOffset`], [`Error::NegativeSize`], [`Error::Unaligned`] (EINVAL)
    /// - [`Error::NothingThere`] (ERANGE) at or past the end, or where the device has no memory
    /// - [`Error::BadAnswer`] (EIO) if the device answers with an address that is not page-aligned, or too high
    fn direct_access(&self, request: &DirectAccess) -> Result<DirectRange, Error> {
        if let Some(failure) = self.failure() {
            failure.check()?;
        }
        let (offset, size) = request.checked(self.page_size())?;
        let nothing = Error::NothingThere { offset, len: self.len() };
        let available = self.len().checked_sub(offset.0).filter(|bytes| *bytes > 0).ok_or(nothing)?;
        let wanted = size.min(available);
        let range = self.locate(offset, wanted, request.flags).ok_or(nothing)?;
        if range.len == 0 && wanted > 0 {
            return Err(nothing);
        }
        let len = range.len.min(wanted);
        if !range.phys.is_aligned(self.page_size()) || range.phys.checked_add(len).is_none() {
            return Err(Error::BadAnswer { offset });
        }
        Ok(DirectRange { len, ..range })
    }
}

impl DirectAccess {
    /// Offset and size as the unsigned numbers they have to be.
    fn checked(&self, page_size: u64) -> Result<(DeviceOffset, u64), Error> {
        let offset = u64::try_from(self.offset).map_err(|_| Error::NegativeOffset { offset: self.offset })?;
        let size = u64::try_from(self.size).map_err(|_| Error::NegativeSize { size: self.size })?;
        let offset = DeviceOffset(offset);
        if !offset.is_aligned(page_size) {
            return Err(Error::Unaligned { value: offset.0, align: page_size });
        }
        Ok((offset, size))
    }
}

impl<D: MemoryDevice + ?Sized> MemoryDevice for &D {
    fn len(&self) -> u64 {
        (**self).len()
    }

    fn page_size(&self) -> u64 {
        (**self).page_size()
    }

    fn failure(&self) -> Option<&FailureState> {
        (**self).failure()
    }

    fn locate(&self, offset: DeviceOffset, size: u64, flags: AccessFlags) -> Option<DirectRange> {
        (**self).locate(offset, size, flags)
    }
}

/// Memory that lies contiguously at one physical address: a window, a persistent-memory device.
#[derive(Debug)]
pub struct LinearMemory {
    phys: PhysAddr,
    addr: Option<VirtAddr>,
    len: u64,
    failure: FailureState,
}

impl LinearMemory {
    /// The `len` bytes at `phys`, which the kernel has mapped at `addr` if it has.
    ///
    /// # Errors
    /// [`Error::Unaligned`] if `phys` is not a multiple of 4096; [`Error::RangeOverflow`] if either address passes 64
    /// bits.
    pub const fn new(phys: PhysAddr, addr: Option<VirtAddr>, len: u64) -> Result<Self, Error> {
        if !phys.is_aligned(4096) {
            return Err(Error::Unaligned { value: phys.0, align: 4096 });
        }
        if phys.checked_add(len).is_none() {
            return Err(Error::RangeOverflow { start: phys.0, len });
        }
        if let Some(addr) = addr
            && addr.checked_add(len).is_none()
        {
            return Err(Error::RangeOverflow { start: addr.0, len });
        }
        Ok(Self { phys, addr, len, failure: FailureState::new() })
    }
}

impl MemoryDevice for LinearMemory {
    fn len(&self) -> u64 {
        self.len
    }

    fn failure(&self) -> Option<&FailureState> {
        Some(&self.failure)
    }

    fn locate(&self, offset: DeviceOffset, size: u64, _: AccessFlags) -> Option<DirectRange> {
        let addr = match self.addr {
            Some(addr) => Some(addr.checked_add(offset.0)?),
            None => None,
        };
        Some(DirectRange { addr, phys: self.phys.checked_add(offset.0)?, len: size })
    }
}

/// A part of a device, or of a part, that behaves as a device of its own: its offsets begin at 0, its length is its
/// own, what lies outside is nothing to it. It shares the failure state of the whole.
///
/// ```
/// use fs_dax::{AccessFlags, DeviceOffset, DirectAccess, LinearMemory, MemoryDevice, Partition, PhysAddr};
///
/// let device = LinearMemory::new(PhysAddr(0x1_0000_0000), None, 1 << 30)?;
/// let half = Partition::new(&device, DeviceOffset(1 << 29), 1 << 29)?;
/// let tail = Partition::new(&half, DeviceOffset((1 << 29) - 4096), 4096)?;
/// let request = DirectAccess { offset: 0, size: 1 << 20, flags: AccessFlags::empty() };
/// let range = tail.direct_access(&request)?;
/// assert_eq!(range.phys, PhysAddr(0x1_3fff_f000));
/// assert_eq!(range.len, 4096); // clamped to what is there
/// # Ok::<(), fs_dax::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Partition<D> {
    whole: D,
    start: DeviceOffset,
    len: u64,
}

impl<D: MemoryDevice> Partition<D> {
    /// The `len` bytes at `start` of `whole`.
    ///
    /// # Errors
    /// [`Error::Unaligned`] if `start` is not a multiple of the page size; [`Error::PartitionBounds`] if it is empty or
    /// reaches past the end.
    pub fn new(whole: D, start: DeviceOffset, len: u64) -> Result<Self, Error> {
        if !start.is_aligned(whole.page_size()) {
            return Err(Error::Unaligned { value: start.0, align: whole.page_size() });
        }
        match start.checked_add(len) {
            Some(end) if len > 0 && end.0 <= whole.len() => Ok(Self { whole, start, len }),
            _ => Err(Error::PartitionBounds { start, len, device_len: whole.len() }),
        }
    }

    /// Cuts a device or window into parts of these lengths, in this order: each begins where the one before ends, so that
    /// no two overlap. What is left at the end belongs to none.
    ///
    /// # Errors
    /// As [`new`](Self::new), for the first part that cannot be; there are no parts then.
    pub fn split<const N: usize>(whole: D, lens: [u64; N]) -> Result<[Self; N], Error>
    where
        D: Clone,
    {
        let mut start = DeviceOffset(0);
        let mut ends = [DeviceOffset(0); N];
        for (end, len) in ends.iter_mut().zip(lens) {
            Partition::new(&whole, start, len)?;
            // A part ends inside the device.
            start = start.checked_add(len).unwrap_or(start);
            *end = start;
        }
        let part = |n: usize| Self { whole: whole.clone(), start: DeviceOffset(ends[n].0 - lens[n]), len: lens[n] };
        Ok(core::array::from_fn(part))
    }

    /// Where it begins in what it is a part of.
    #[must_use]
    pub const fn start(&self) -> DeviceOffset {
        self.start
    }
}

impl<D: MemoryDevice> MemoryDevice for Partition<D> {
    fn len(&self) -> u64 {
        self.len
    }

    fn page_size(&self) -> u64 {
        self.whole.page_size()
    }

    fn failure(&self) -> Option<&FailureState> {
        self.whole.failure()
    }

    fn locate(&self, offset: DeviceOffset, size: u64, flags: AccessFlags) -> Option<DirectRange> {
        self.whole.locate(self.start.checked_add(offset.0)?, size, flags)
    }
}
