//! Views, page faults, and mappings that have to be made first.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use anyhow::{Result, bail};
use transport_vhost_user::HostLock;
use virtio_fs::fs_dax::{Area, Fault, FaultAccess, FaultOutcome, Mappings, Sharing, SyncMode, VirtAddr, Wanted};
use virtio_fs::{Errno, File, FileKey, FileRange, OpenOptions, UnmapCause, VirtioFs};

use crate::contest::{compare_busy, compare_few, rival};
use crate::data::Ways;
use crate::files::{FILE, FILE_LEN, Files, OTHER};
use crate::host::{self, Mapped};
use crate::offsets::Cycle;
use crate::{allocations, output};

const PAGE: u64 = 4096;
const RANGE: u64 = 2 << 20;
/// Linux maps the pages around a fault too: as many bytes.
const AROUND: u64 = 64 << 10;

/// Page tables that forget at once.
struct NoTables;

impl Mappings for NoTables {
    fn unmap(&self, _: FileKey, _: FileRange, _: UnmapCause) {}

    fn write_protect(&self, _: FileKey, _: FileRange) {}

    fn wait_for_pins(&self, _: FileKey, _: FileRange) -> Result<(), Errno> {
        Ok(())
    }
}

/// Answers a fault at an offset as a kernel does, up to the page-table entry.
fn fault(file: &File<HostLock>, offset: u64, wanted: Wanted) -> Result<()> {
    let start = VirtAddr(1 << 40);
    let area = Area::new(start, FILE_LEN, 0)?;
    let (access, sharing, sync) = (FaultAccess::Read, Sharing::Shared, SyncMode::None);
    let outcome = file.fault(&Fault { area, at: VirtAddr(start.0 + offset), access, sharing, sync, wanted });
    let FaultOutcome::Map(mapping) = outcome else { bail!("a fault at {offset:#x} ended with {outcome:?}") };
    if mapping.guard.is_current() {
        mapping.guard.installed(&mapping.page, mapping.writable);
    }
    Ok(())
}

pub(crate) fn views_and_faults(fs: &VirtioFs<HostLock>, files: &Files) -> Result<()> {
    let ways = Ways::open(fs, files, FILE)?;
    compare_busy(
        "map_drop",
        vec![
            rival("ours", || Ok(ways.ours.map(PAGE, PAGE as usize)?)),
            rival("mmap", || Mapped::new(&ways.host, PAGE, PAGE as usize)),
        ],
    )?;
    let before = fs.set_mappings(Some(Arc::new(NoTables)));
    let (mut ours, mut theirs) = (Cycle::new(PAGE, FILE_LEN), Cycle::new(AROUND, FILE_LEN));
    let fresh = || Mapped::new(&ways.host, 0, FILE_LEN as usize);
    let mapped = RefCell::new(fresh()?);
    compare_busy(
        "fault_4k",
        vec![
            rival("ours", || fault(&ways.ours, ours.next(), Wanted::Base)),
            rival("fault", || {
                let offset = theirs.next();
                if offset == 0 {
                    // No fault has brought any of its pages.
                    *mapped.borrow_mut() = fresh()?;
                }
                mapped.borrow().touch(offset)
            }),
        ],
    )?;
    let mut ours = Cycle::new(RANGE, FILE_LEN);
    let mut theirs = Cycle::new(RANGE, FILE_LEN);
    compare_busy(
        "fault_2m",
        vec![
            rival("ours", || fault(&ways.ours, ours.next(), Wanted::Largest)),
            rival("fault", || touch_all(&ways.host, theirs.next())),
        ],
    )?;
    fs.set_mappings(before);
    Ok(())
}

/// 2 MiB of a file as the host's kernel shows them: mapped, and touched page by page.
fn touch_all(file: &std::fs::File, offset: u64) -> Result<()> {
    let mapped = Mapped::new(file, offset, RANGE as usize)?;
    (0..RANGE).step_by(PAGE as usize).try_for_each(|page| mapped.touch(page))
}

/// Mappings with ranges that are free, and with those that show something else.
pub(crate) fn misses(fs: &VirtioFs<HostLock>, files: &Files) -> Result<()> {
    let file = fs.open(FILE, OpenOptions::new().read(true))?;
    let host = host::open(&files.path(FILE))?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, 0)?;
    // The window has two more.
    let cold = 5;
    let (requests, allocated) = (fs.stats().requests, allocations::count());
    for range in 1..=cold {
        file.read_exact_at(&mut byte, range * RANGE)?;
    }
    let each = |count: u64| count as f64 / cold as f64;
    output::value("map_cold", "requests", each(fs.stats().requests - requests), "");
    output::value("map_cold", "allocations", each(allocations::count() - allocated), "");

    let root = fs.open(OTHER, OpenOptions::new().read(true))?.node();
    let (mut ours, mut theirs) = (Cycle::new(RANGE, FILE_LEN), Cycle::new(RANGE, FILE_LEN));
    let done = Cell::new(0u64);
    let before = fs.stats().requests;
    let trip = Cell::new(0u64);
    compare_few(
        "map_again",
        vec![
            rival("ours", || {
                done.set(done.get() + 1);
                Ok(file.read_exact_at(&mut [0], ours.next())?)
            }),
            rival("mmap", || {
                let mapped = Mapped::new(&host, theirs.next(), RANGE as usize)?;
                mapped.touch(0)
            }),
            rival("trip", || {
                trip.set(trip.get() + 1);
                Ok(root.refresh_attr()?)
            }),
        ],
        32,
        15,
    )?;
    let requests = fs.stats().requests - before - trip.get();
    output::value("map_again", "requests", requests as f64 / done.get() as f64, "");
    Ok(())
}
