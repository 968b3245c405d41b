//! Page faults, with page tables that are a map: what is in them, what goes, and when.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fs_dax::{Area, Errno, Fault, FaultAccess, FaultOutcome, FileKey, FileRange, Mappings, Page, PageSize};
use fs_dax::{Sharing, SyncMode, UnmapCause, VirtAddr, Wanted};
use virtio_fs::{File, OpenOptions, TailMapping};

use crate::rig::HANGS;
use crate::rig::content::{assert_same, content, next};
use crate::rig::ledger::op;
use crate::rig::peer::{Kind, Peer, on_both};
use crate::rig::strict::{Act, Host};
use crate::rig::window::Window;

on_both! {
    pages_show_the_file,
    a_store_is_a_fault_of_its_own,
    cutting_a_file_takes_its_pages_away,
    pages_go_before_their_ranges,
    what_cannot_be_mapped_is_no_page,
}

/// For reading and writing.
pub(crate) const BOTH: OpenOptions = OpenOptions::new().read(true).write(true);

/// Where a file is mapped.
pub(crate) fn base(file: &File<spin::Mutex<()>>) -> u64 {
    file.key().0 << 40
}

/// An entry: the page, whether stores go, and of which file it is.
type Entry = (Page, bool, FileKey);

/// The page tables of one address space.
#[derive(Default)]
pub(crate) struct Tables {
    pub(crate) entries: Mutex<BTreeMap<u64, Entry>>,
    pub(crate) unmapped: AtomicU64,
    protected: AtomicU64,
    /// What is pinned through these page tables.
    pub(crate) pinned: Mutex<Vec<(FileKey, FileRange)>>,
    /// Why pages were unmapped, in order.
    pub(crate) causes: Mutex<Vec<UnmapCause>>,
}

fn touches(page: &Page, range: FileRange) -> bool {
    page.file_offset < range.start().saturating_add(range.len()) && range.start() < page.file_offset + page.len
}

impl Mappings for Tables {
    fn unmap(&self, file: FileKey, range: FileRange, cause: UnmapCause) {
        self.causes.lock().unwrap().push(cause);
        let mut entries = self.entries.lock().unwrap();
        let before = entries.len();
        entries.retain(|_, (page, _, key)| *key != file || !touches(page, range));
        self.unmapped.fetch_add((before - entries.len()) as u64, Ordering::Relaxed);
    }

    fn write_protect(&self, file: FileKey, range: FileRange) {
        for (page, writable, key) in self.entries.lock().unwrap().values_mut() {
            if *key == file && touches(page, range) && *writable {
                *writable = false;
                self.protected.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn wait_for_pins(&self, file: FileKey, range: FileRange) -> Result<(), Errno> {
        let pinned = self.pinned.lock().unwrap();
        let touched = pinned.iter().any(|(key, bytes)| *key == file && !bytes.intersect(range).is_empty());
        if touched { Err(Errno::EAGAIN) } else { Ok(()) }
    }
}

impl Tables {
    /// The entry that shows this byte of a mapping, if it permits the access.
    pub(crate) fn walk(&self, at: u64, write: bool) -> Option<Page> {
        let entries = self.entries.lock().unwrap();
        let (_, (page, writable, _)) = entries.range(..=at).next_back()?;
        (at < page.virt.0 + page.len && (*writable || !write)).then_some(*page)
    }

    /// What a processor and a kernel do until an access to a byte of a file goes through. `Err`: a bus error.
    pub(crate) fn touch(
        &self,
        file: &File<spin::Mutex<()>>,
        offset: u64,
        write: bool,
        wanted: Wanted,
    ) -> Result<Page, Errno> {
        let start = base(file);
        let fault = fault(file, offset, write, wanted);
        let deadline = Instant::now() + HANGS;
        while Instant::now() < deadline {
            if let Some(page) = self.walk(start + offset, write) {
                return Ok(page);
            }
            match file.fault(&fault) {
                FaultOutcome::Map(mapping) => {
                    let mut entries = self.entries.lock().unwrap();
                    if mapping.guard.is_current() {
                        let page = mapping.page;
                        entries.retain(|_, (other, _, _)| {
                            other.virt.0 + other.len <= page.virt.0 || page.virt.0 + page.len <= other.virt.0
                        });
                        entries.insert(page.virt.0, (page, mapping.writable, file.key()));
                        mapping.guard.installed(&page, mapping.writable);
                    }
                }
                FaultOutcome::Retry => std::thread::yield_now(),
                FaultOutcome::BusError(errno) => return Err(errno),
                FaultOutcome::Hole => return Err(Errno::ENXIO),
                other => panic!("{other:?}"),
            }
        }
        panic!("a fault that never ends at {offset:#x}")
    }
}

/// The fault of an access to a byte of a file that is mapped shared.
fn fault(file: &File<spin::Mutex<()>>, offset: u64, write: bool, wanted: Wanted) -> Fault {
    let start = base(file);
    let access = if write { FaultAccess::Write } else { FaultAccess::Read };
    Fault {
        area: Area::new(VirtAddr(start), 1 << 40, 0).unwrap(),
        at: VirtAddr(start + offset),
        access,
        sharing: Sharing::Shared,
        sync: SyncMode::None,
        wanted,
    }
}

/// Whether a load from a byte of a file is to be tried again.
pub(crate) fn retries(file: &File<spin::Mutex<()>>, offset: u64) -> bool {
    matches!(file.fault(&fault(file, offset, false, Wanted::Base)), FaultOutcome::Retry)
}

/// The memory behind a physical address of the window.
pub(crate) fn memory(window: &Window, page: &Page, offset: u64) -> *mut u8 {
    let into = page.phys.0 - window.address + (offset - page.file_offset);
    assert!(into < window.len, "{page:?} is not in the window");
    // SAFETY: the place is inside the window's mapping.
    unsafe { window.pointer().add(into as usize) }.as_ptr()
}

/// Bytes of the file, as a program that loads from the page finds them.
pub(crate) fn load(window: &Window, page: &Page, offset: u64, len: usize) -> Vec<u8> {
    // SAFETY: the page is in the tables and shows these bytes of the file; nobody takes it away meanwhile.
    unsafe { std::slice::from_raw_parts(memory(window, page, offset), len) }.to_vec()
}

/// Stores bytes, as a program does that has the page for writing in its page tables.
pub(crate) fn store(window: &Window, page: &Page, offset: u64, bytes: &[u8]) {
    // SAFETY: the page is in the tables for writing and shows these bytes of the file; nobody takes it away meanwhile.
    unsafe { memory(window, page, offset).copy_from(bytes.as_ptr(), bytes.len()) };
}

/// Page tables that the driver takes pages out of.
pub(crate) fn tables(fs: &virtio_fs::VirtioFs) -> Arc<Tables> {
    let tables = Arc::new(Tables::default());
    assert!(fs.set_mappings(Some(tables.clone())).is_none());
    tables
}

fn pages_show_the_file(peer: Peer) {
    let data = content(1, 6 << 20);
    peer.put("file", &data);
    let fs = peer.mount();
    let tables = tables(&fs);
    let window = peer.window().unwrap().clone();
    let file = fs.open("file", BOTH).unwrap();
    for (offset, wanted) in
        [(0, Wanted::Largest), (5 << 20, Wanted::Base), ((5 << 20) + 4097, Wanted::Base), (3 << 20, Wanted::Largest)]
    {
        let page = tables.touch(&file, offset, false, wanted).unwrap();
        let at = offset as usize;
        let len = 4096 - at % 4096;
        assert_same(&load(&window, &page, offset, len), &data[at..at + len], offset);
        if wanted == Wanted::Base {
            assert_eq!((page.size, page.len), (PageSize::Base, 4096));
        }
    }
    let stats = fs.stats();
    assert!(stats.faults >= 4 && stats.faults_base >= 2, "{stats:?}");
    drop(file);
    peer.finish(fs);
    assert!(tables.entries.lock().unwrap().is_empty(), "the window is gone, pages of it are not");
}

fn a_store_is_a_fault_of_its_own(peer: Peer) {
    let mut data = content(2, 4 << 20);
    peer.put("file", &data);
    let fs = peer.mount();
    let tables = tables(&fs);
    let window = peer.window().unwrap().clone();
    let file = fs.open("file", BOTH).unwrap();
    let offsets = [0, 8192, 3 << 20];
    for offset in offsets {
        tables.touch(&file, offset, false, Wanted::Base).unwrap();
    }
    assert_eq!(file.dirty_pages(), 0, "nothing was stored to");
    for offset in offsets {
        let page = tables.touch(&file, offset, true, Wanted::Base).unwrap();
        // SAFETY: the page is in the tables, writable.
        unsafe { memory(&window, &page, offset).write_bytes(0x5a, 100) };
        data[offset as usize..][..100].fill(0x5a);
    }
    assert_eq!(file.dirty_pages(), 3);
    assert_same(&peer.get("file"), &data, "the host sees stores at once");
    let synced = peer.if_strict().map(|strict| strict.ledger().count(op::FSYNC));
    file.sync_range(4096, 1 << 20).unwrap();
    assert_eq!(file.dirty_pages(), 2, "exactly the page at 8192 was in the range");
    assert_eq!(tables.protected.load(Ordering::Relaxed), 1);
    file.sync_all().unwrap();
    assert_eq!(file.dirty_pages(), 0);
    if let Some(before) = synced {
        assert_eq!(peer.strict().ledger().count(op::FSYNC), before + 2);
    }
    // The next store is known again.
    assert!(tables.walk(base(&file) + 8192, true).is_none());
    tables.touch(&file, 8192, true, Wanted::Base).unwrap();
    assert_eq!(file.dirty_pages(), 1);
    drop(file);
    peer.finish(fs);
}

fn cutting_a_file_takes_its_pages_away(peer: Peer) {
    let data = content(3, 6 << 20);
    peer.put("file", &data);
    let fs = peer.mount();
    let tables = tables(&fs);
    let window = peer.window().unwrap().clone();
    let file = fs.open("file", BOTH).unwrap();
    for offset in (0..6 << 20).step_by(1 << 20) {
        tables.touch(&file, offset, false, Wanted::Base).unwrap();
    }
    file.set_len((2 << 20) + 8192).unwrap();
    for offset in [3_u64 << 20, 4 << 20, 5 << 20] {
        assert!(tables.walk(base(&file) + offset, false).is_none(), "{offset:#x} is gone, its page is not");
        assert_eq!(tables.touch(&file, offset, false, Wanted::Base).unwrap_err(), Errno::ERANGE, "{offset:#x}");
    }
    for offset in [0_u64, 1 << 20, 2 << 20, (2 << 20) + 4096] {
        let page = tables.touch(&file, offset, false, Wanted::Base).unwrap();
        let at = offset as usize;
        assert_same(&load(&window, &page, offset, 4096), &data[at..at + 4096], offset);
    }
    drop(file);
    peer.finish(fs);
}

fn pages_go_before_their_ranges(peer: Peer) {
    let peer = peer.with_window(Some(8 << 20));
    let data = content(4, 32 << 20);
    peer.put("file", &data);
    let fs = peer.mount();
    let tables = tables(&fs);
    let window = peer.window().unwrap().clone();
    if let Some(strict) = peer.if_strict() {
        // When the host is asked to take a range away, no page table has it any more.
        let (tables, base) = (tables.clone(), window.address);
        let device = strict.device().clone();
        strict.watch(move |request| {
            if request.opcode() == op::REMOVEMAPPING {
                for (offset, len) in request.removals() {
                    let range = base + offset..base + offset + len;
                    let entries = tables.entries.lock().unwrap();
                    if let Some((page, ..)) = entries.values().find(|(page, ..)| range.contains(&page.phys.0)) {
                        device.blame(format!("a range is removed while {page:?} is in a page table"));
                    }
                }
            }
            Act::Serve
        });
    }
    let file = fs.open("file", BOTH).unwrap();
    let mut state = 5;
    for _ in 0..200 {
        let offset = (next(&mut state) % (32 << 20)) & !4095;
        let page = tables.touch(&file, offset, false, Wanted::Base).unwrap();
        let at = offset as usize;
        assert_same(&load(&window, &page, offset, 4096), &data[at..at + 4096], offset);
    }
    assert!(tables.unmapped.load(Ordering::Relaxed) > 0, "the window was never too small");
    let mut found = vec![0; data.len()];
    file.read_exact_at(&mut found, 0).unwrap();
    assert_same(&found, &data, "reads beside it");
    drop(file);
    peer.finish(fs);
}

fn what_cannot_be_mapped_is_no_page(peer: Peer) {
    let data = content(5, 4096 + 777);
    peer.put("file", &data);
    peer.put("empty", b"");
    let fs = peer.mount_with(peer.config().tail(TailMapping::WholePages)).unwrap();
    let tables = tables(&fs);
    let file = fs.open("file", BOTH).unwrap();
    tables.touch(&file, 0, false, Wanted::Largest).unwrap();
    assert_eq!(tables.touch(&file, 4096, false, Wanted::Base).unwrap_err(), Errno::ENXIO, "the tail is a hole");
    assert_eq!(tables.touch(&file, 8192, false, Wanted::Base).unwrap_err(), Errno::ERANGE);
    let reader = fs.open("file", OpenOptions::new().read(true)).unwrap();
    tables.touch(&reader, 0, false, Wanted::Base).unwrap();
    assert_eq!(tables.touch(&reader, 0, true, Wanted::Base).unwrap_err(), Errno::EACCES);
    let empty = fs.open("empty", BOTH).unwrap();
    assert_eq!(tables.touch(&empty, 0, false, Wanted::Base).unwrap_err(), Errno::ERANGE);
    drop((file, reader, empty));
    fs.unmount().unwrap();
    drop(fs);
    assert!(tables.entries.lock().unwrap().is_empty());

    let fs = peer.mount_with(peer.config().tail(TailMapping::PartialPage)).unwrap();
    fs.set_mappings(Some(tables.clone()));
    let file = fs.open("file", BOTH).unwrap();
    let page = tables.touch(&file, 4096, false, Wanted::Base).unwrap();
    let window = peer.window().unwrap();
    assert_same(&load(window, &page, 4096, 777), &data[4096..], "the tail");
    assert!(load(window, &page, 4096 + 777, 4096 - 777).iter().all(|&byte| byte == 0));
    drop(file);
    peer.finish(fs);
}

#[test]
fn faults_of_several_threads_against_reclaim_and_truncation() {
    let peer = Peer::new(Kind::Strict).with_window(Some(8 << 20));
    let len = 16 << 20;
    peer.put("file", &content(6, len));
    let fs = peer.mount();
    let tables = tables(&fs);
    std::thread::scope(|scope| {
        for index in 0..3 {
            let (fs, tables) = (&fs, &tables);
            scope.spawn(move || {
                let file = fs.open("file", BOTH).unwrap();
                let mut state = index;
                for _ in 0..300 {
                    let offset = (next(&mut state) % len as u64) & !4095;
                    let write = next(&mut state).is_multiple_of(3);
                    // The page may be gone by the time that a thread would look at it, so none looks.
                    match tables.touch(&file, offset, write, Wanted::Base) {
                        Ok(_) => {}
                        // Past the end; or in the page of the end, where the file was cut inside a page.
                        Err(errno) => assert!([Errno::ERANGE, Errno::ENXIO].contains(&errno), "{offset:#x}: {errno}"),
                    }
                }
            });
        }
        let file = fs.open("file", BOTH).unwrap();
        let mut state = 77;
        for _ in 0..30 {
            file.set_len(next(&mut state) % len as u64).unwrap();
            let size = file.len().unwrap();
            let past = tables.entries.lock().unwrap().values().any(|(page, ..)| page.file_offset >= size);
            assert!(!past, "a page past the end of the file is in a page table");
            file.set_len(len as u64).unwrap();
            fs.reclaim_step().unwrap();
            file.sync_data().unwrap();
        }
    });
    peer.finish(fs);
    assert!(tables.entries.lock().unwrap().is_empty());
}

#[test]
fn a_fault_that_waited_while_the_file_was_cut_is_not_told_that_it_cannot_be_mapped() {
    let peer = Peer::new(Kind::Strict).with_options(|options| options.host = Host::Stingy);
    peer.put("file", &content(8, 4 << 20));
    let fs = peer.mount_with(peer.config().window_timeout(Duration::from_secs(20))).unwrap();
    let _tables = tables(&fs);
    let file = fs.open("file", BOTH).unwrap();
    let start = base(&file);
    let fault = Fault {
        area: Area::new(VirtAddr(start), 1 << 40, 0).unwrap(),
        at: VirtAddr(start + (2 << 20)),
        access: FaultAccess::Read,
        sharing: Sharing::Shared,
        sync: SyncMode::None,
        wanted: Wanted::Base,
    };
    let mut kept = 0;
    peer.strict().watch(move |request| {
        kept += u64::from(request.opcode() == op::SETUPMAPPING);
        if request.opcode() == op::SETUPMAPPING && kept == 1 { Act::Hold } else { Act::Serve }
    });
    let until = |what: &str, done: &dyn Fn() -> bool| {
        let deadline = Instant::now() + HANGS;
        while !done() {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::yield_now();
        }
    };
    std::thread::scope(|scope| {
        // The range is being set up for a reader, the fault waits for that, the cut waits for both.
        let reader = scope.spawn(|| file.read_at(&mut [0; 10], 2 << 20));
        until("a set-up", &|| peer.strict().held() == 1);
        let faulting = scope.spawn(|| file.fault(&fault));
        until("a fault that waits", &|| fs.stats().window_waits == 1);
        let cut = scope.spawn(|| file.set_len(3 << 20));
        until("a cut that waits", &|| fs.stats().window_waits >= 2);
        peer.strict().release(0);
        assert_eq!(reader.join().unwrap().unwrap(), 10);
        cut.join().unwrap().unwrap();
        // The size that the fault went by is gone: the host has refused to map what is past the end.
        let outcome = faulting.join().unwrap();
        assert!(matches!(outcome, FaultOutcome::Retry), "{outcome:?}");
        assert_eq!(fs.stats().setup_refused, 2, "{:?}", fs.stats());
    });
    // The refusal was of no importance for the file as it is now.
    let outcome = file.fault(&fault);
    assert!(matches!(&outcome, FaultOutcome::Map(mapping) if mapping.page.file_offset == 2 << 20), "{outcome:?}");
    drop((outcome, file));
    peer.finish(fs);
}
