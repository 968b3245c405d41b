//! Which pages of the devices are damaged, and what that leaves of an access.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use fs_dax::{Damage, DeviceIndex, FileRange, MappedRun, PAGE_SIZE, PhysAddr, Segment};
use lock_api::{Mutex, RawMutex};

/// How many runs of damaged pages a device may have before what is damaged next counts as failed.
const PLACES: usize = 64;

type Runs = Damage<[FileRange; PLACES]>;

/// The damaged pages of all devices, by their offsets there. Where there are none, that costs a load to ask.
#[derive(Debug)]
pub(crate) struct DamagedMemory<L: RawMutex> {
    some: AtomicBool,
    devices: Mutex<L, Vec<(DeviceIndex, Box<Runs>)>>,
}

impl<L: RawMutex> DamagedMemory<L> {
    pub(super) const fn new() -> Self {
        Self { some: AtomicBool::new(false), devices: Mutex::new(Vec::new()) }
    }

    /// Marks the pages that `bytes` touch. There may be no place for one more run of them.
    pub(super) fn mark(&self, device: DeviceIndex, bytes: FileRange) -> Result<(), fs_dax::Error> {
        let mut devices = self.devices.lock();
        let known = devices.iter().position(|(index, _)| *index == device);
        let at = known.unwrap_or_else(|| {
            devices.push((device, Box::new(Damage::new([FileRange::between(0, 0); PLACES]))));
            devices.len() - 1
        });
        devices[at].1.mark(bytes)?;
        self.some.store(true, Ordering::Release);
        Ok(())
    }

    /// What `look` says of a device's damage, if it has any.
    fn of<T>(&self, device: DeviceIndex, look: impl FnOnce(&mut Runs) -> T) -> Option<T> {
        if !self.any() {
            return None;
        }
        let mut devices = self.devices.lock();
        devices.iter_mut().find(|(index, _)| *index == device).map(|(_, runs)| look(runs))
    }

    /// Whether any page is damaged.
    fn any(&self) -> bool {
        self.some.load(Ordering::Acquire)
    }

    // Apart, so that it is there once.
    #[cold]
    #[inline(never)]
    fn check(&self, device: DeviceIndex, bytes: FileRange) -> Result<(), fs_dax::Error> {
        self.of(device, |runs| runs.check(bytes)).unwrap_or(Ok(()))
    }

    /// The part of a segment before its first damaged page.
    ///
    /// # Errors
    /// EIO if that page is its first.
    pub(super) fn whole_part(&self, segment: Segment) -> Result<Segment, fs_dax::Error> {
        if !self.any() {
            return Ok(segment);
        }
        match self.check(segment.device, bytes_of(&segment)) {
            Err(fs_dax::Error::Damaged { bytes }) if bytes.start() > segment.offset.0 => {
                Ok(Segment { len: bytes.start() - segment.offset.0, ..segment })
            }
            checked => checked.map(|()| segment),
        }
    }

    /// The part of a segment that can be overwritten: up to a damaged page of which it has only a part, since the rest of that
    /// page is lost. `ends` says that the file has no more bytes.
    ///
    /// # Errors
    /// EIO if that page is its first.
    pub(super) fn writable_part(&self, segment: Segment, ends: bool) -> Result<Segment, fs_dax::Error> {
        if !self.any() {
            return Ok(segment);
        }
        let bytes = bytes_of(&segment);
        let first_whole = bytes.start().next_multiple_of(PAGE_SIZE).min(bytes.end());
        self.check(segment.device, FileRange::between(bytes.start(), first_whole))?;
        let after_whole = if ends { bytes.end() } else { first_whole.max(bytes.end() & !(PAGE_SIZE - 1)) };
        match self.check(segment.device, FileRange::between(after_whole, bytes.end())) {
            Err(_) if after_whole > bytes.start() => Ok(Segment { len: after_whole - bytes.start(), ..segment }),
            checked => checked.map(|()| segment),
        }
    }

    /// All whole pages of a segment were overwritten, and where the file ends with it its last page.
    pub(super) fn overwritten(&self, segment: &Segment, ends: bool) {
        let bytes = bytes_of(segment);
        let end = if ends { bytes.end().next_multiple_of(PAGE_SIZE) } else { bytes.end() };
        // With no place for two runs of one, all of it stays marked.
        let _full = self.of(segment.device, |runs| runs.clear(FileRange::between(bytes.start(), end)));
    }

    /// What of a segment's run a page may be made of that shows the page at `page`, an offset in the file.
    ///
    /// # Errors
    /// EIO if that page is damaged.
    pub(super) fn run(&self, segment: &Segment, run: MappedRun, page: u64) -> Result<MappedRun, fs_dax::Error> {
        if !self.any() {
            return Ok(MappedRun { len: bytes_of(segment).len(), ..run });
        }
        let at = segment.offset.0 + page.saturating_sub(run.file_offset);
        self.check(segment.device, FileRange::between(at, at + PAGE_SIZE))?;
        let mut piece = bytes_of(segment);
        self.of(segment.device, |runs| {
            for damaged in runs.runs() {
                let start = if damaged.end() <= at { damaged.end() } else { 0 };
                let end = if damaged.start() > at { damaged.start() } else { u64::MAX };
                piece = piece.intersect(FileRange::between(start, end));
            }
        });
        let skipped = piece.start() - segment.offset.0;
        let phys = PhysAddr(run.phys.0 + skipped);
        Ok(MappedRun { file_offset: run.file_offset + skipped, phys, len: piece.len() })
    }
}

/// Where a segment lies on its device.
pub(super) fn bytes_of(segment: &Segment) -> FileRange {
    FileRange::between(segment.offset.0, segment.offset.0.saturating_add(segment.len))
}
