//! Random operations on one file, as fsx does them, but by the driver's own API: reads and writes, views, and loads and stores
//! by page faults of 4 KiB and 2 MiB, which no mount of the kernel's reaches. Everything is checked byte for byte against a
//! model, and what the host has too.
//!
//! The file is larger than the window, so that ranges are reclaimed under its pages all the time.
#![deny(unsafe_code)]

mod common;

use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex};

use common::{Daemon, daemon, mount_with};
use transport_vhost_user::{Connection, HostLock};
use virtio_fs::fs_dax::{Area, Sharing, SyncMode, VirtAddr, Wanted};
use virtio_fs::{
    Config, Errno, FallocateMode, Fault, FaultAccess, FaultOutcome, FileKey, FileRange, Mappings, OpenOptions, Page,
    UnmapCause, VirtioFs,
};

type File = virtio_fs::File<HostLock>;

const PAGE: u64 = 4096;
/// The window is two ranges.
const WINDOW: &str = "4M";
const LARGEST: u64 = 7 << 20;
/// The most bytes of an operation.
const MOST: u64 = 300_000;
const OPERATIONS: usize = 400;

/// Numbers that look random, the same for each seed (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.next() % end }
    }
}

/// Page tables: by offset in the file, which page, and whether stores go.
#[derive(Debug, Default)]
struct Tables(Mutex<BTreeMap<u64, (Page, bool)>>);

impl Tables {
    /// The page that shows a byte, if it permits the access.
    fn walk(&self, offset: u64, write: bool) -> Option<Page> {
        let entries = self.0.lock().expect("no panic");
        let (_, &(page, writable)) = entries.range(..=offset).next_back()?;
        (offset < page.file_offset + page.len && (writable || !write)).then_some(page)
    }

    fn install(&self, page: Page, writable: bool) {
        let mut entries = self.0.lock().expect("no panic");
        let end = page.file_offset + page.len;
        entries.retain(|_, (other, _)| other.file_offset + other.len <= page.file_offset || end <= other.file_offset);
        entries.insert(page.file_offset, (page, writable));
    }
}

fn touches(page: &Page, range: FileRange) -> bool {
    page.file_offset < range.end() && range.start() < page.file_offset + page.len
}

impl Mappings for Tables {
    fn unmap(&self, _: FileKey, range: FileRange, _: UnmapCause) {
        self.0.lock().expect("no panic").retain(|_, (page, _)| !touches(page, range));
    }

    fn write_protect(&self, _: FileKey, range: FileRange) {
        for (page, writable) in self.0.lock().expect("no panic").values_mut() {
            *writable &= !touches(page, range);
        }
    }

    fn wait_for_pins(&self, _: FileKey, _: FileRange) -> Result<(), Errno> {
        Ok(())
    }
}

/// A file, what it must have, and who looks at it.
struct Subject<'a> {
    fs: &'a VirtioFs<HostLock>,
    connection: &'a Connection,
    tables: Arc<Tables>,
    file: File,
    model: Vec<u8>,
    random: Random,
    /// What was done, for who has to find out why.
    history: Vec<String>,
    faults: u64,
}

fn open(fs: &VirtioFs<HostLock>) -> File {
    fs.open("file", OpenOptions::new().read(true).write(true).create(true)).expect("it opens")
}

impl Subject<'_> {
    fn size(&self) -> u64 {
        self.model.len() as u64
    }

    /// A range inside the file; `None` if it is empty.
    fn inside(&mut self) -> Option<(u64, u64)> {
        let offset = self.random.below(self.size());
        let len = (1 + self.random.below(MOST)).min(self.size() - offset);
        (len > 0).then_some((offset, len))
    }

    /// A range that may reach past the end of the file.
    fn anywhere(&mut self) -> (u64, u64) {
        let offset = self.random.below((self.size() + MOST).min(LARGEST - MOST));
        (offset, 1 + self.random.below(MOST))
    }

    /// A range of whole pages inside the file, which can be mapped.
    fn mappable(&mut self) -> Option<(u64, u64)> {
        let end = self.size() / PAGE * PAGE;
        let offset = self.random.below(end);
        let len = (1 + self.random.below(MOST)).min(end.saturating_sub(offset));
        (len > 0).then_some((offset, len))
    }

    fn bytes(&mut self, len: u64) -> Vec<u8> {
        let first = self.random.next() | 1;
        (0..len).map(|index| (first.wrapping_mul(index + 1) >> 24) as u8).collect()
    }

    fn put(&mut self, offset: u64, bytes: &[u8]) {
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        if self.model.len() < end {
            self.model.resize(end, 0);
        }
        self.model[start..end].copy_from_slice(bytes);
    }

    fn expect(&self, offset: u64, got: &[u8], how: &str) {
        let wanted = &self.model[offset as usize..offset as usize + got.len()];
        if let Some(at) = got.iter().zip(wanted).position(|(got, wanted)| got != wanted) {
            let last = self.history.iter().rev().take(12).rev().cloned().collect::<Vec<_>>().join("\n");
            panic!("{how}: byte {:#x} is {:#x}, not {:#x}; after\n{last}", offset + at as u64, got[at], wanted[at]);
        }
    }

    /// The page for a byte, faulted in if need be, as a processor and a kernel do.
    fn touch(&mut self, offset: u64, write: bool) -> Page {
        let start = VirtAddr(1 << 40);
        let area = Area::new(start, 1 << 40, 0).expect("an area");
        let wanted = if self.random.below(2) == 0 { Wanted::Largest } else { Wanted::Base };
        let access = if write { FaultAccess::Write } else { FaultAccess::Read };
        let at = VirtAddr(start.0 + offset);
        let fault = Fault { area, at, access, sharing: Sharing::Shared, sync: SyncMode::None, wanted };
        loop {
            if let Some(page) = self.tables.walk(offset, write) {
                return page;
            }
            self.faults += 1;
            match self.file.fault(&fault) {
                FaultOutcome::Map(mapping) => {
                    // Nobody else is here: what was looked up is current.
                    assert!(mapping.guard.is_current());
                    self.tables.install(mapping.page, mapping.writable);
                    mapping.guard.installed(&mapping.page, mapping.writable);
                }
                FaultOutcome::Retry => {}
                other => panic!("a fault at {offset:#x} of {:#x}: {other:?}", self.size()),
            }
        }
    }

    /// Where a byte of a page is.
    fn pointer(&self, page: &Page, offset: u64, len: u64) -> NonNull<u8> {
        let addr = page.phys.0 + (offset - page.file_offset);
        self.connection.window_pointer(addr, len).expect("a page is in the window")
    }

    /// Goes through a range page by page: `act` is given each piece's place and where it begins in the range.
    fn pages(&mut self, (offset, len): (u64, u64), write: bool, mut act: impl FnMut(NonNull<u8>, usize, usize)) {
        let mut done = 0;
        while done < len {
            let at = offset + done;
            let page = self.touch(at, write);
            let piece = (page.file_offset + page.len - at).min(len - done);
            act(self.pointer(&page, at, piece), done as usize, piece as usize);
            done += piece;
        }
    }
}

#[expect(unsafe_code, reason = "loads and stores of a program that has the file mapped")]
mod access {
    use super::{NonNull, Subject};

    /// Loads a range by way of the page tables.
    pub(super) fn load(subject: &mut Subject<'_>, range: (u64, u64)) -> Vec<u8> {
        let mut bytes = vec![0; range.1 as usize];
        subject.pages(range, false, |from: NonNull<u8>, start, len| {
            // SAFETY: the page tables say that a page of the file is mapped there, and nobody else uses it.
            unsafe { from.copy_to_nonoverlapping(NonNull::from(&mut bytes[start..start + len]).cast(), len) };
        });
        bytes
    }

    /// Stores a range by way of the page tables.
    pub(super) fn store(subject: &mut Subject<'_>, offset: u64, bytes: &[u8]) {
        subject.pages((offset, bytes.len() as u64), true, |to: NonNull<u8>, start, len| {
            // SAFETY: as in `load`; the page is mapped writable.
            unsafe { to.copy_from_nonoverlapping(NonNull::from(&bytes[start..start + len]).cast(), len) };
        });
    }
}

/// What can be done.
const KINDS: u64 = 12;

impl Subject<'_> {
    fn step(&mut self) {
        let kind = self.random.below(KINDS);
        let what = match kind {
            0 => self.read(),
            1 => self.write(),
            2 => self.view(),
            3 => self.view_store(),
            4 | 5 => self.fault_load(),
            6 | 7 => self.fault_store(),
            8 => self.resize(),
            9 => self.punch(),
            10 => self.copy(),
            _ => self.sync_or_reopen(),
        };
        self.history.push(what);
    }

    fn read(&mut self) -> String {
        let (offset, len) = self.anywhere();
        let mut bytes = vec![0xee; len as usize];
        let count = self.file.read_at(&mut bytes, offset).expect("it reads");
        assert_eq!(count as u64, len.min(self.size().saturating_sub(offset)));
        self.expect(offset.min(self.size()), &bytes[..count], "read");
        format!("read {offset:#x} {len:#x}")
    }

    fn write(&mut self) -> String {
        let (offset, len) = self.anywhere();
        let bytes = self.bytes(len);
        self.file.write_all_at(&bytes, offset).expect("it writes");
        self.put(offset, &bytes);
        format!("write {offset:#x} {len:#x}")
    }

    fn view(&mut self) -> String {
        let Some((offset, len)) = self.mappable() else { return "no view".into() };
        let view = self.file.map(offset, len as usize).expect("it maps");
        let mut bytes = vec![0; view.len()];
        assert_eq!(view.copy_to(0, &mut bytes), bytes.len());
        drop(view);
        self.expect(offset, &bytes, "view");
        format!("view {offset:#x} {len:#x}")
    }

    fn view_store(&mut self) -> String {
        let Some((offset, len)) = self.mappable() else { return "no view".into() };
        let bytes = self.bytes(len);
        let view = self.file.map_mut(offset, len as usize).expect("it maps");
        let count = view.store(0, &bytes);
        assert_eq!(count, view.len().min(bytes.len()));
        drop(view);
        self.put(offset, &bytes[..count]);
        format!("store to a view {offset:#x} {count:#x}")
    }

    fn fault_load(&mut self) -> String {
        let Some(range) = self.mappable() else { return "no load".into() };
        let bytes = access::load(self, range);
        self.expect(range.0, &bytes, "load");
        format!("load {:#x} {:#x}", range.0, range.1)
    }

    fn fault_store(&mut self) -> String {
        let Some((offset, len)) = self.mappable() else { return "no store".into() };
        let bytes = self.bytes(len);
        access::store(self, offset, &bytes);
        self.put(offset, &bytes);
        format!("store {offset:#x} {len:#x}")
    }

    fn resize(&mut self) -> String {
        let size = self.random.below(LARGEST);
        self.file.set_len(size).expect("it is cut or stretched");
        self.model.resize(size as usize, 0);
        format!("resize {size:#x}")
    }

    fn punch(&mut self) -> String {
        let Some((offset, len)) = self.inside() else { return "no punch".into() };
        let mode = FallocateMode::PUNCH_HOLE | FallocateMode::KEEP_SIZE;
        self.file.allocate(mode, offset, len).expect("it punches");
        self.put(offset, &vec![0; len as usize]);
        format!("punch {offset:#x} {len:#x}")
    }

    fn copy(&mut self) -> String {
        let Some((offset, len)) = self.inside() else { return "no copy".into() };
        let to = self.random.below(LARGEST - MOST);
        if to < offset + len && offset < to + len {
            return "no copy of a range onto itself".into();
        }
        let count = self.file.copy_range(offset, &self.file, to, len).expect("it copies");
        let bytes = self.model[offset as usize..(offset + count) as usize].to_vec();
        self.put(to, &bytes);
        format!("copy {offset:#x} {count:#x} to {to:#x}")
    }

    fn sync_or_reopen(&mut self) -> String {
        match self.random.below(3) {
            0 => {
                self.file.sync_all().expect("it syncs");
                "sync".into()
            }
            1 => {
                let Some((offset, len)) = self.inside() else { return "no sync".into() };
                self.file.sync_range(offset, len).expect("it syncs");
                format!("sync {offset:#x} {len:#x}")
            }
            _ => {
                self.file = open(self.fs);
                "reopen".into()
            }
        }
    }
}

fn run(seed: u64, config: Config) {
    let Some(command) = daemon(true) else { return };
    let daemon = Daemon::start(command, &["--window-size", WINDOW]);
    let connection = daemon.connect();
    let fs = mount_with(&connection, config);
    let tables = Arc::new(Tables::default());
    fs.set_mappings(Some(tables.clone()));
    let mut subject = Subject {
        fs: &fs,
        connection: &connection,
        tables,
        file: open(&fs),
        model: Vec::new(),
        random: Random(seed),
        history: Vec::new(),
        faults: 0,
    };
    for step in 0..OPERATIONS {
        subject.step();
        if step % 40 == 39 {
            let host = std::fs::read(daemon.path("file")).expect("the host reads");
            assert_eq!(host.len() as u64, subject.size(), "after {:?}", subject.history.last());
            subject.expect(0, &host, "the host");
        }
    }
    assert!(subject.faults > 20, "{} faults", subject.faults);
    let stats = fs.stats();
    assert!(stats.faults_base > 0 && stats.removed_mappings > 0, "{stats:?}");
    drop(subject);
    fs.unmount().expect("the unmount");
    assert_eq!(connection.mappings(), []);
    assert_eq!(connection.counts().refused, 0, "{:?}", connection.take_events());
}

#[test]
fn seed_1() {
    run(1, Config::default());
}

#[test]
fn seed_2_without_a_guard_against_thrashing() {
    run(2, Config::default().thrash_guard(false));
}

#[test]
fn seed_3_without_read_ahead() {
    run(3, Config::default().read_ahead(false).thrash_guard(false));
}
