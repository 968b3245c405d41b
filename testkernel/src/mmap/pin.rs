//! Pages that programs have pinned by their addresses, for a device of the guest's own to reach them, say.

use super::process::{Memory, Process};
use crate::arch::{clock::Clock, smp};
use alloc::vec::Vec;
use core::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use fs_dax::{Errno, FileKey, FileRange, VirtAddr};
use spin::Mutex;

/// Every pin: its number, and the bytes that it keeps.
static PINS: Mutex<Vec<(u64, FileKey, FileRange)>> = Mutex::new(Vec::new());
static NEXT: AtomicU64 = AtomicU64::new(0);
static PATIENCE_NS: AtomicU64 = AtomicU64::new(1_000_000_000);

/// A page that stays where it is until this is dropped.
#[derive(Debug)]
pub(crate) struct Pin {
    number: u64,
    phys: u64,
}

impl Pin {
    /// The physical address that was pinned, by which a device would go.
    pub(crate) fn phys(&self) -> u64 {
        self.phys
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        PINS.lock().retain(|(number, ..)| *number != self.number);
    }
}

impl Process {
    /// Pins the page at an address, if it is in the page tables: whoever takes it out of them sees the pin afterwards, since
    /// both hold the page tables.
    ///
    /// # Errors
    /// EFAULT where no page of a file is.
    pub(crate) fn pin(&self, address: u64) -> Result<Pin, Errno> {
        let tables = self.tables();
        let view = tables.view(address).ok_or(Errno::EFAULT)?;
        let (at, entry) = tables.entry(address).ok_or(Errno::EFAULT)?;
        let Memory::Window(phys) = entry.memory else { return Err(Errno::EFAULT) };
        let offset = view.area.file_offset_of(VirtAddr(address)).ok_or(Errno::EFAULT)?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        PINS.lock().push((number, view.file.key(), FileRange::between(offset, offset + 1)));
        Ok(Pin { number, phys: phys.0 + (address - at) })
    }
}

/// How long [`wait`] waits.
pub(crate) fn set_patience(patience: Duration) {
    PATIENCE_NS.store(patience.as_nanos() as u64, Ordering::Release);
}

/// Waits until no byte of a range is pinned. A reclaim does not take long over it: it has other memory to turn to, and so
/// everybody's patience is short unless a scenario wants it otherwise.
///
/// # Errors
/// ETIMEDOUT.
pub(super) fn wait(file: FileKey, range: FileRange) -> Result<(), Errno> {
    let deadline = Clock::now_ns() + PATIENCE_NS.load(Ordering::Acquire);
    loop {
        let pinned = PINS.lock().iter().any(|(_, key, bytes)| *key == file && !bytes.intersect(range).is_empty());
        if !pinned {
            return Ok(());
        }
        if Clock::now_ns() >= deadline {
            return Err(Errno::ETIMEDOUT);
        }
        smp::attend();
        core::hint::spin_loop();
    }
}
