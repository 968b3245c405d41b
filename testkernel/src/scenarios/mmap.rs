//! Page faults on file mappings: pages come, in the size that fits, become writable one store at a time, and go when the file
//! or the window wants them back.

use super::{Machine, Outcome, Stop, dax as window, ensure, files, reclaim, wait_for_host};
use crate::{
    arch::{clock::Clock, traps, user},
    content::Content,
    events,
    memory::{LARGE_PAGE, PAGE, paging::USER_START},
    mmap::{self, Counts, File, PageTables, Process, View, ViewRequest},
    mount::{self, Fs},
};
use alloc::{sync::Arc, vec, vec::Vec};
use core::time::Duration;
use fs_dax::{Errno, MapFlags, SyncPolicy};
use fuse_proto::FallocateMode;
use virtio_fs::{Config, DaxStatus, OpenOptions};

/// Where the first view of a scenario is.
pub(crate) const BASE: u64 = USER_START + (1 << 30);
/// How far views are apart.
pub(crate) const APART: u64 = 1 << 30;
/// A file of 6 MiB.
pub(crate) const MAP: &str = "dax/map";
/// Another one of 4 MiB.
pub(crate) const OTHER: &str = "dax/guest-write";
/// A file of 2 MiB, one page and 777 bytes.
const TAIL: &str = "dax/tail";
const TAIL_SIZE: u64 = (2 << 20) + 4096 + 777;
pub(crate) const MIB: u64 = 1 << 20;

/// A file system whose files programs map, and one program.
pub(crate) struct World {
    pub(crate) fs: Fs,
    pub(crate) tables: Arc<PageTables>,
    pub(crate) process: Arc<Process>,
}

impl World {
    /// Mounts a file system with a window, and has this processor run a program.
    pub(crate) fn new(machine: &Machine, config: Config) -> Result<Self, Stop> {
        let fs = mount::mount(machine, config)?;
        let status = fs.dax_status();
        ensure!(status == DaxStatus::Active, "DAX is {status}");
        let tables = Arc::new(PageTables::default());
        fs.set_mappings(Some(tables.clone()));
        traps::handle_page_faults(mmap::handle);
        let process = Process::new()?;
        process.activate();
        Ok(Self { fs, tables, process })
    }

    /// Opens a file, for writing too if asked.
    pub(crate) fn open(&self, name: &str, write: bool) -> Result<Arc<File>, Stop> {
        Ok(Arc::new(self.fs.open(name, OpenOptions::new().read(true).write(write))?))
    }

    /// Ends the program and the session.
    pub(crate) fn finish(self) -> Outcome {
        self.process.end();
        report(&self.fs, &self.process);
        window::finish(&self.fs)
    }
}

/// A shared view, writable if the file is.
pub(crate) fn shared(file: &Arc<File>, at: u64, len: u64, writable: bool) -> ViewRequest {
    let flags = MapFlags::SHARED;
    ViewRequest { file: file.clone(), flags, policy: SyncPolicy::default(), at, len, offset: 0, writable }
}

/// A private view that may be stored to.
pub(crate) fn private(file: &Arc<File>, at: u64, len: u64) -> ViewRequest {
    ViewRequest { flags: MapFlags::PRIVATE, ..shared(file, at, len, true) }
}

/// Maps a file in a process.
pub(crate) fn map(process: &Process, request: &ViewRequest) -> Result<Arc<View>, Stop> {
    process.map(request).map_err(|errno| Stop::Fail(alloc::format!("the file cannot be mapped: {errno}")))
}

/// Loads a word that must be that of a stream.
pub(crate) fn expect_word(at: u64, content: Content, offset: u64) -> Outcome {
    let found = load(at)?;
    let expected = content.word(offset / 8);
    ensure!(found == expected, "{at:#x}, byte {offset} of the file, is {found:#018x}, not {expected:#018x}");
    Ok(())
}

/// Loads a word.
pub(crate) fn load(at: u64) -> Result<u64, Stop> {
    user::load_word(at).map_err(|errno| Stop::Fail(alloc::format!("loading from {at:#x}: {errno}")))
}

/// Stores a word.
pub(crate) fn store(at: u64, value: u64) -> Outcome {
    user::store_word(at, value).map_err(|errno| Stop::Fail(alloc::format!("storing to {at:#x}: {errno}")))
}

/// A load that must be a bus error.
pub(crate) fn no_load(at: u64, errno: Errno) -> Outcome {
    let result = user::load_word(at);
    ensure!(result == Err(errno), "loading from {at:#x} gives {result:x?}, not a bus error with {errno}");
    Ok(())
}

/// A store that must be a bus error.
pub(crate) fn no_store(at: u64, errno: Errno) -> Outcome {
    let result = user::store_word(at, 1);
    ensure!(result == Err(errno), "storing to {at:#x} gives {result:?}, not a bus error with {errno}");
    Ok(())
}

/// Fails unless the page at an address is in the page tables like this: bytes and whether it can be written.
pub(crate) fn expect_page(process: &Process, at: u64, page: Option<(u64, bool)>) -> Outcome {
    let found = process.page_at(at);
    ensure!(found == page, "the page at {at:#x} is {found:?}, not {page:?}");
    Ok(())
}

/// Fails unless the driver and the process count so many pages.
pub(crate) fn expect_faults(world: &World, huge: u64, base: u64) -> Outcome {
    let (counts, stats) = (world.process.counts(), world.fs.stats());
    let (by_driver, by_kernel) = ((stats.faults_huge, stats.faults_base), (counts.huge, counts.base));
    ensure!(by_kernel == (huge, base), "{by_kernel:?} pages of 2 MiB and 4 KiB were installed, not {:?}", (huge, base));
    ensure!(by_driver == by_kernel, "the driver counts {by_driver:?} pages, the kernel {by_kernel:?}");
    Ok(())
}

/// Tells the host what faults there were.
fn report(fs: &Fs, process: &Process) {
    let (stats, Counts { copied, filled, .. }) = (fs.stats(), process.counts());
    for (name, value) in [
        ("faults", stats.faults),
        ("faults_huge", stats.faults_huge),
        ("faults_base", stats.faults_base),
        ("sync_faults", stats.sync_faults),
        ("fsyncs", stats.fsyncs),
        ("protected_pages", stats.protected_pages),
        ("copied_pages", copied),
        ("filled_pages", filled),
    ] {
        events::metric(&alloc::format!("stat {name}"), value, "1");
    }
}

/// Machine: a window. A file that is no multiple of 2 MiB, and one whose view is one page off, come in pages of 4 KiB: as many
/// faults as pages that are touched, each once. The daemon sees no READ.
pub(crate) fn read_fault_4k(machine: &Machine) -> Outcome {
    const NAME: &str = "files/size-2097151";
    let world = World::new(machine, Config::default())?;
    let file = world.open(NAME, false)?;
    let content = Content::of(NAME);
    map(&world.process, &shared(&file, BASE, 2 * MIB, false))?;
    for page in (0..511).step_by(2) {
        expect_word(BASE + page * PAGE + 8, content, page * PAGE + 8)?;
    }
    expect_faults(&world, 0, 256)?;
    for page in 0..511 {
        expect_word(BASE + page * PAGE + 4088, content, page * PAGE + 4088)?;
    }
    expect_faults(&world, 0, 511)?;
    let mut words = vec![0; 511 * 512];
    user::load(BASE, &mut words).map_err(|errno| Stop::Fail(alloc::format!("loading all: {errno}")))?;
    let wrong = words.iter().enumerate().find(|(index, word)| **word != content.word(*index as u64));
    ensure!(wrong.is_none(), "word {wrong:x?} is wrong");
    expect_page(&world.process, BASE, Some((PAGE, false)))?;
    no_store(BASE, Errno::EACCES)?;

    let other = world.open(MAP, false)?;
    let at = BASE + APART + PAGE;
    map(&world.process, &shared(&other, at, 6 * MIB, false))?;
    for offset in [0, 2 * MIB - 8, 2 * MIB, 6 * MIB - 8] {
        expect_word(at + offset, Content::of(MAP), offset)?;
    }
    expect_faults(&world, 0, 515)?;
    let faults = world.fs.stats().faults;
    ensure!(faults == 515, "{faults} faults were answered, not one for each of 515 pages");
    drop((file, other));
    world.finish()
}

/// A view, how it is touched, and how many pages that takes.
struct Pattern {
    name: &'static str,
    /// Bytes that the view begins after a multiple of 2 MiB.
    past: u64,
    len: u64,
    offset: u64,
    stride: u64,
    huge: u64,
    base: u64,
}

/// Machine: a window. A script of views, each touched with a stride; the number of 2 MiB and of 4 KiB pages follows from
/// alignment, length and end of file.
pub(crate) fn huge_fault_2m(machine: &Machine) -> Outcome {
    const SCRIPT: &[Pattern] = &[
        // All of it in three pages.
        Pattern { name: MAP, past: 0, len: 6 * MIB, offset: 0, stride: PAGE, huge: 3, base: 0 },
        // From an offset that is a multiple of 2 MiB.
        Pattern { name: MAP, past: 0, len: 4 * MIB, offset: 2 * MIB, stride: 64 * PAGE, huge: 2, base: 0 },
        // File and addresses equally far off: what is before the next 2 MiB is small, and so is what is behind the last.
        Pattern { name: MAP, past: MIB, len: 4 * MIB, offset: MIB, stride: PAGE, huge: 1, base: 512 },
        // Not equally far.
        Pattern { name: MAP, past: MIB, len: 2 * MIB, offset: 0, stride: 16 * PAGE, huge: 0, base: 32 },
        // The view ends inside a large page.
        Pattern { name: MAP, past: 0, len: 3 * MIB, offset: 0, stride: 8 * PAGE, huge: 1, base: 32 },
        // The file does; its last page cannot be mapped, and is not touched.
        Pattern { name: TAIL, past: 0, len: 2 * MIB + PAGE, offset: 0, stride: PAGE, huge: 1, base: 1 },
        Pattern { name: "files/size-4096", past: 0, len: PAGE, offset: 0, stride: PAGE, huge: 0, base: 1 },
        Pattern { name: "files/size-2097152", past: 0, len: 2 * MIB, offset: 0, stride: PAGE, huge: 1, base: 0 },
    ];
    let world = World::new(machine, Config::default())?;
    let (mut huge, mut base, mut at) = (0, 0, BASE);
    for pattern in SCRIPT {
        let file = world.open(pattern.name, false)?;
        let start = at + pattern.past;
        map(&world.process, &ViewRequest { offset: pattern.offset, ..shared(&file, start, pattern.len, false) })?;
        for _ in 0..2 {
            for touched in (0..pattern.len).step_by(pattern.stride as usize) {
                expect_word(start + touched, Content::of(pattern.name), pattern.offset + touched)?;
            }
        }
        huge += pattern.huge;
        base += pattern.base;
        expect_faults(&world, huge, base)?;
        at += APART;
    }
    let faults = world.fs.stats().faults;
    ensure!(faults == huge + base, "{faults} faults were answered for {} pages", huge + base);
    events::metric("predicted huge faults", huge, "1");
    events::metric("predicted base faults", base, "1");
    expect_page(&world.process, BASE, Some((LARGE_PAGE, false)))?;
    world.finish()
}

/// Machine: a window. A page that was read is not writable; the first store is a fault of its own and makes it dirty, a
/// second one is none. Sync `stored`: the host has the stores. What is synchronised is clean and faults again.
pub(crate) fn write_fault_marks_dirty(machine: &Machine) -> Outcome {
    let world = World::new(machine, Config::default())?;
    let file = world.open(OTHER, true)?;
    let content = Content::of(OTHER);
    // The first 2 MiB in a large page, the second in small ones.
    map(&world.process, &shared(&file, BASE, 2 * MIB, true))?;
    let small = BASE + APART + PAGE;
    map(&world.process, &ViewRequest { offset: 2 * MIB, ..shared(&file, small, 2 * MIB, true) })?;
    expect_word(BASE + 8, content, 8)?;
    expect_word(small + 5 * PAGE, content, 2 * MIB + 5 * PAGE)?;
    expect_page(&world.process, BASE, Some((LARGE_PAGE, false)))?;
    expect_page(&world.process, small + 5 * PAGE, Some((PAGE, false)))?;
    expect_faults(&world, 1, 1)?;
    ensure!(file.dirty_pages() == 0, "{} pages are dirty that were only read", file.dirty_pages());

    for round in 0..2_u64 {
        store(small + 5 * PAGE + 8, 0x1111 + round)?;
        ensure!(file.dirty_pages() == 1, "{} pages are dirty after a store to one", file.dirty_pages());
        store(small + 9 * PAGE, 0x2222 + round)?;
        ensure!(file.dirty_pages() == 2, "{} pages are dirty after stores to two", file.dirty_pages());
        store(BASE + 4096, 0x3333 + round)?;
        let dirty = file.dirty_pages();
        ensure!(dirty == 514, "{dirty} pages are dirty after a store to a large page and two small ones");
        expect_page(&world.process, BASE, Some((LARGE_PAGE, true)))?;
        expect_faults(&world, 2 + round, 3 + 2 * round)?;
        // The same pages once more: no fault.
        store(small + 5 * PAGE + 16, 0x4444 + round)?;
        store(BASE + 2 * MIB - 8, 0x5555 + round)?;
        expect_faults(&world, 2 + round, 3 + 2 * round)?;
        file.sync_data()?;
        ensure!(file.dirty_pages() == 0, "{} pages are dirty after a sync", file.dirty_pages());
        expect_page(&world.process, BASE, Some((LARGE_PAGE, false)))?;
        expect_page(&world.process, small + 9 * PAGE, Some((PAGE, false)))?;
        expect_page(&world.process, small + 7 * PAGE, None)?;
    }
    wait_for_host("stored")?;
    drop(file);
    world.finish()
}

/// Machine: a window. Stores to a private view go to copies of pages: the file, a shared view and another program's private
/// view do not see them. Sync `untouched`: neither does the host.
pub(crate) fn private_cow(machine: &Machine) -> Outcome {
    let world = World::new(machine, Config::default())?;
    let file = world.open(MAP, true)?;
    let content = Content::of(MAP);
    let other = Process::new()?;
    let public = BASE + APART;
    for process in [&world.process, &other] {
        map(process, &private(&file, BASE, 6 * MIB))?;
    }
    map(&world.process, &shared(&file, public, 6 * MIB, true))?;
    // One page that was read before, in a large page, and one that was not.
    expect_word(BASE, content, 0)?;
    expect_page(&world.process, BASE, Some((LARGE_PAGE, false)))?;
    let (read, unread) = (BASE + 3 * PAGE, BASE + 2 * MIB + 7 * PAGE);
    for at in [read, unread] {
        store(at, 0xc0)?;
        expect_page(&world.process, at, Some((PAGE, true)))?;
        ensure!(world.process.owns_page_at(at), "the page at {at:#x} is no copy");
        ensure!(load(at)? == 0xc0, "the copy does not hold what was stored");
        expect_word(at + 8, content, at + 8 - BASE)?;
        expect_word(public + (at - BASE), content, at - BASE)?;
    }
    ensure!(world.process.counts().copied == 2, "{} pages were copied, not 2", world.process.counts().copied);
    // Bypass the copies everything is the file's, in small pages.
    expect_word(BASE, content, 0)?;
    expect_page(&world.process, BASE, Some((PAGE, false)))?;
    // What the file gets shows in pages that were not copied, and in no other.
    store(public + 3 * PAGE + 8, 0xf1)?;
    store(public + 4 * PAGE, 0xf2)?;
    expect_word(read + 8, content, 3 * PAGE + 8)?;
    ensure!(load(BASE + 4 * PAGE)? == 0xf2, "the private view does not show the file's page");
    other.activate();
    expect_word(read, content, read - BASE)?;
    ensure!(load(read + 8)? == 0xf1, "the other program does not see what the file got");
    store(read, 0xd0)?;
    world.process.activate();
    ensure!(load(read)? == 0xc0, "a program sees the other one's copy");
    ensure!(file.dirty_pages() == 512, "{} pages are dirty, not those of the large page", file.dirty_pages());
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, 3 * PAGE)?;
    ensure!(u64::from_le_bytes(bytes) == content.word(3 * PAGE / 8), "a private store reached the file");
    wait_for_host("untouched")?;
    other.end();
    drop(file);
    world.finish()
}

/// Machine: a window, on a host that cannot map a file's last, partial page. A view that is private or only read shows it,
/// with zeros behind the file's end, from a page of the program's own; a shared view that may be written gets a bus error.
pub(crate) fn tail_page(machine: &Machine) -> Outcome {
    let world = World::new(machine, Config::default())?;
    let file = world.open(TAIL, true)?;
    let content = Content::of(TAIL);
    let len = 2 * MIB + 2 * PAGE;
    let (only_read, own, both) = (BASE, BASE + APART, BASE + 2 * APART);
    map(&world.process, &shared(&file, only_read, len, false))?;
    map(&world.process, &private(&file, own, len))?;
    map(&world.process, &shared(&file, both, len, true))?;
    let tail = 2 * MIB + PAGE;
    for view in [only_read, own] {
        for offset in [0, 2 * MIB, tail, tail + 768] {
            expect_word(view + offset, content, offset).or_else(|wrong| {
                // Byte 777 and on are past the end.
                let last = content.word((tail + 776) / 8) & 0xff;
                if offset == tail + 776 && load(view + offset)? == last { Ok(()) } else { Err(wrong) }
            })?;
        }
        ensure!(
            load(view + tail + 776)? == content.word((tail + 776) / 8) & 0xff,
            "the last byte is not followed by zeros"
        );
        ensure!(load(view + tail + 4088)? == 0, "the page's end is not zero");
        ensure!(world.process.owns_page_at(view + tail), "the tail is not the program's own page");
    }
    store(own + tail, 0xabc)?;
    ensure!(load(own + tail)? == 0xabc, "the private page does not hold what was stored");
    expect_word(only_read + tail, content, tail)?;
    expect_word(both + 2 * MIB, content, 2 * MIB)?;
    store(both + 2 * MIB, 0xdef)?;
    no_load(both + tail, Errno::ENXIO)?;
    no_store(both + tail, Errno::ENXIO)?;
    ensure!(world.process.counts().filled == 2, "{} pages were filled, not 2", world.process.counts().filled);
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, tail)?;
    ensure!(u64::from_le_bytes(bytes) == content.word(tail / 8), "a private store reached the file");
    let size = file.len()?;
    ensure!(size == TAIL_SIZE, "the file has {size} bytes now");
    drop(file);
    world.finish()
}

/// Machine: a window. An access past the end of the file is a bus error, in every kind of view; when the file grows it is
/// none any more.
pub(crate) fn past_eof_is_bus_error(machine: &Machine) -> Outcome {
    let world = World::new(machine, Config::default())?;
    let file = world.open(MAP, true)?;
    let views = [BASE, BASE + APART, BASE + 2 * APART];
    map(&world.process, &shared(&file, views[0], 8 * MIB, true))?;
    map(&world.process, &private(&file, views[1], 8 * MIB))?;
    map(&world.process, &shared(&file, views[2], 8 * MIB, false))?;
    for view in views {
        expect_word(view + 6 * MIB - 8, Content::of(MAP), 6 * MIB - 8)?;
        no_load(view + 6 * MIB, Errno::ERANGE)?;
        no_load(view + 8 * MIB - 8, Errno::ERANGE)?;
        // Not of the view any more.
        no_load(view + 8 * MIB, Errno::EFAULT)?;
    }
    no_store(views[0] + 6 * MIB, Errno::ERANGE)?;
    no_store(views[1] + 6 * MIB, Errno::ERANGE)?;
    let empty = world.open("files/size-0", false)?;
    map(&world.process, &shared(&empty, BASE + 3 * APART, 4096, false))?;
    no_load(BASE + 3 * APART, Errno::ERANGE)?;
    file.set_len(8 * MIB)?;
    for view in views {
        ensure!(load(view + 6 * MIB)? == 0, "what the file grew by is not zero");
    }
    store(views[0] + 8 * MIB - 8, 77)?;
    ensure!(load(views[2] + 8 * MIB - 8)? == 77, "two shared views of one byte differ");
    drop((file, empty));
    world.finish()
}

/// Machine: a window. Cutting a file takes exactly the pages behind its new end from every program, private copies too; what
/// is before it stays. A file that is opened to be cut to nothing loses all.
pub(crate) fn truncate_unmaps(machine: &Machine) -> Outcome {
    let world = World::new(machine, Config::default())?;
    let file = world.open(MAP, true)?;
    let content = Content::of(MAP);
    let other = Process::new()?;
    let (mine, small) = (BASE + APART, BASE + 2 * APART + PAGE);
    for process in [&world.process, &other] {
        process.activate();
        map(process, &shared(&file, BASE, 6 * MIB, true))?;
        map(process, &private(&file, mine, 6 * MIB))?;
        map(process, &shared(&file, small, 6 * MIB, true))?;
        for offset in [0, 2 * MIB, 4 * MIB] {
            expect_word(BASE + offset, content, offset)?;
            expect_word(small + offset, content, offset)?;
            expect_word(small + offset + PAGE, content, offset + PAGE)?;
            store(mine + offset + 5 * PAGE, 0xc0)?;
        }
        // A copy in front of the new end.
        store(mine + 2 * MIB, 0xc1)?;
    }
    // Untouched by what follows.
    let bystander = world.open(OTHER, true)?;
    map(&world.process, &shared(&bystander, BASE + 3 * APART, 4 * MIB, true))?;
    world.process.activate();
    expect_word(BASE + 3 * APART + 2 * MIB, Content::of(OTHER), 2 * MIB)?;

    file.set_len(2 * MIB + PAGE)?;
    for process in [&world.process, &other] {
        expect_page(process, BASE, Some((LARGE_PAGE, false)))?;
        expect_page(process, small, Some((PAGE, false)))?;
        // The large page that the new end is in went as a whole.
        expect_page(process, BASE + 2 * MIB, None)?;
        for at in [BASE + 4 * MIB, small + 2 * MIB + PAGE, small + 4 * MIB, small + 4 * MIB + PAGE] {
            expect_page(process, at, None)?;
        }
        expect_page(process, mine + 5 * PAGE, Some((PAGE, true)))?;
        expect_page(process, mine + 2 * MIB, Some((PAGE, true)))?;
        expect_page(process, mine + 2 * MIB + 5 * PAGE, None)?;
        expect_page(process, mine + 4 * MIB + 5 * PAGE, None)?;
        process.activate();
        expect_word(BASE + 2 * MIB + 8, content, 2 * MIB + 8)?;
        expect_word(small + 2 * MIB, content, 2 * MIB)?;
        ensure!(load(mine + 2 * MIB)? == 0xc1, "a copy in front of the end is gone");
        for at in [BASE + 2 * MIB + PAGE, BASE + 4 * MIB, mine + 4 * MIB + 5 * PAGE, small + 6 * MIB - 8] {
            no_load(at, Errno::ERANGE)?;
        }
        no_store(small + 2 * MIB + PAGE, Errno::ERANGE)?;
    }
    expect_page(&world.process, BASE + 3 * APART + 2 * MIB, Some((LARGE_PAGE, false)))?;
    // Longer again: zeros, and no byte of what was there.
    file.set_len(6 * MIB)?;
    for at in [BASE + 4 * MIB, mine + 4 * MIB + 5 * PAGE, small + 2 * MIB + PAGE] {
        ensure!(load(at)? == 0, "what was cut off is back at {at:#x}");
    }
    drop(world.fs.open(MAP, OpenOptions::new().write(true).truncate(true))?);
    for process in [&world.process, &other] {
        process.activate();
        for at in [BASE, BASE + 2 * MIB, mine + 5 * PAGE, mine + 2 * MIB, small] {
            expect_page(process, at, None)?;
            no_load(at, Errno::ERANGE)?;
        }
    }
    world.process.activate();
    expect_page(&world.process, BASE + 3 * APART + 2 * MIB, Some((LARGE_PAGE, false)))?;
    other.end();
    drop((file, bystander));
    world.finish()
}

/// Machine: a window. Punching a hole takes exactly the pages in it from every program; they come back as zeros. Private
/// copies belong to their programs and stay.
pub(crate) fn punch_unmaps(machine: &Machine) -> Outcome {
    let world = World::new(machine, Config::default())?;
    let file = world.open(MAP, true)?;
    let content = Content::of(MAP);
    let (mine, small) = (BASE + APART, BASE + 2 * APART + PAGE);
    map(&world.process, &shared(&file, BASE, 6 * MIB, true))?;
    map(&world.process, &private(&file, mine, 6 * MIB))?;
    map(&world.process, &shared(&file, small, 6 * MIB, true))?;
    let hole = 2 * MIB + 8 * PAGE;
    for offset in [0, 2 * MIB, 4 * MIB] {
        expect_word(BASE + offset, content, offset)?;
    }
    for page in 7..=11 {
        expect_word(small + 2 * MIB + page * PAGE, content, 2 * MIB + page * PAGE)?;
    }
    store(small + hole, 1)?;
    store(mine + hole, 0xc0)?;
    expect_word(mine + hole + PAGE, content, hole + PAGE)?;
    file.allocate(FallocateMode::PUNCH_HOLE | FallocateMode::KEEP_SIZE, hole, 2 * PAGE)?;
    for (at, page) in [
        (BASE, Some((LARGE_PAGE, false))),
        (BASE + 2 * MIB, None),
        (BASE + 4 * MIB, Some((LARGE_PAGE, false))),
        (small + hole - PAGE, Some((PAGE, false))),
        (small + hole, None),
        (small + hole + PAGE, None),
        (small + hole + 2 * PAGE, Some((PAGE, false))),
        (mine + hole, Some((PAGE, true))),
        (mine + hole + PAGE, None),
    ] {
        expect_page(&world.process, at, page)?;
    }
    ensure!(load(mine + hole)? == 0xc0, "a private copy is gone");
    for at in [BASE + hole, BASE + hole + PAGE, small + hole, small + hole + PAGE, mine + hole + PAGE] {
        ensure!(load(at)? == 0, "the hole is not zero at {at:#x}");
    }
    for offset in [hole - 8, hole + 2 * PAGE] {
        expect_word(BASE + offset, content, offset)?;
    }
    drop(file);
    world.finish()
}

/// Machine: a window of 16 MiB. Share: `reclaim/big`, four times as long. All of it is mapped and touched: a range that is
/// wanted for other bytes leaves the page tables first. What was stored to it counts until the next fsync, which is sent.
pub(crate) fn reclaim_unmaps(machine: &Machine) -> Outcome {
    let (name, size) = reclaim::BIG;
    let world = World::new(machine, Config::default())?;
    let ranges = world.fs.window_region().map_or(0, |region| region.len()) / LARGE_PAGE;
    let file = world.open(name, true)?;
    let content = Content::of(name);
    map(&world.process, &shared(&file, BASE, size, true))?;
    store(BASE + 4096, content.word(512))?;
    let (mut huge, mut there) = (1, 0);
    for pass in 0..3 {
        there = 0;
        for chunk in (0..size).step_by(LARGE_PAGE as usize) {
            // A page that is in the page tables is no fault, any other is one.
            huge += u64::from(world.process.page_at(BASE + chunk).is_none());
            expect_word(BASE + chunk + 4096, content, chunk + 4096)?;
            expect_word(BASE + chunk + LARGE_PAGE - 8, content, chunk + LARGE_PAGE - 8)?;
            expect_faults(&world, huge, 0)?;
            there = world.process.pages() as u64;
            ensure!(there <= ranges, "pass {pass}: {there} pages are mapped through {ranges} ranges");
        }
    }
    ensure!(huge > 2 * size / LARGE_PAGE, "only {huge} faults, although the window is small");
    ensure!(
        world.tables.unmapped() + there == huge,
        "{} of {huge} pages were unmapped, {there} are there",
        world.tables.unmapped()
    );
    let (dirty, before) = (file.dirty_pages(), world.fs.stats().fsyncs);
    ensure!(dirty == 512, "{dirty} pages are dirty after their range was reclaimed, not 512");
    file.sync_data()?;
    let (dirty, sent) = (file.dirty_pages(), world.fs.stats().fsyncs - before);
    ensure!(dirty == 0 && sent == 1, "after an fsync {dirty} pages are dirty, and {sent} FSYNCs were sent");
    drop(file);
    world.finish()
}

/// Machine: a window of 16 MiB. Share: `reclaim/big`. A pinned range stays where it is, whatever else is wanted.
pub(crate) fn pinned_range_is_skipped(machine: &Machine) -> Outcome {
    let (name, size) = reclaim::BIG;
    let world = World::new(machine, Config::default())?;
    let file = world.open(name, true)?;
    let content = Content::of(name);
    map(&world.process, &shared(&file, BASE, size, true))?;
    let chunk = 5 * LARGE_PAGE;
    expect_word(BASE + chunk, content, chunk)?;
    let pin = file.pin(chunk + 8192, 4096)?;
    for pass in 0..2 {
        for offset in (0..size).step_by(LARGE_PAGE as usize) {
            expect_word(BASE + offset, content, offset)?;
            expect_page(&world.process, BASE + chunk, Some((LARGE_PAGE, false)))?;
        }
        let mut bytes = [0; 4096];
        pin.copy_to(0, &mut bytes);
        files::check(name, content, chunk + 8192, &bytes)?;
        ensure!(world.tables.unmapped() > 0, "pass {pass}: nothing was reclaimed");
    }
    drop(pin);
    for offset in (0..size).step_by(LARGE_PAGE as usize).chain((6 * LARGE_PAGE..size).step_by(LARGE_PAGE as usize)) {
        expect_word(BASE + offset, content, offset)?;
    }
    expect_page(&world.process, BASE + chunk, None)?;
    drop(file);
    world.finish()
}

/// Machine: a window of 16 MiB. Share: `reclaim/big`. With every range pinned a fault ends in a bus error with EAGAIN before
/// its deadline; with one pin less it is answered.
pub(crate) fn all_pinned_times_out(machine: &Machine) -> Outcome {
    const PATIENCE: Duration = Duration::from_millis(300);
    let (name, size) = reclaim::BIG;
    let world = World::new(machine, Config::default().window_timeout(PATIENCE))?;
    let ranges = world.fs.window_region().map_or(0, |region| region.len()) / LARGE_PAGE;
    let file = world.open(name, true)?;
    let content = Content::of(name);
    map(&world.process, &shared(&file, BASE, size, true))?;
    let mut pins: Vec<_> = (0..ranges).map(|range| file.pin(range * LARGE_PAGE, 4096)).collect::<Result<_, _>>()?;
    let begin = Clock::now_ns();
    let next = ranges * LARGE_PAGE;
    no_load(BASE + next, Errno::EAGAIN)?;
    no_store(BASE + next, Errno::EAGAIN)?;
    let took = Duration::from_nanos(Clock::now_ns() - begin);
    events::metric("two faults without a free range", took.as_millis() as u64, "ms");
    ensure!(took < Config::default().request_timeout, "two faults took {took:?}");
    // What is pinned can be mapped all the same.
    expect_word(BASE + LARGE_PAGE, content, LARGE_PAGE)?;
    pins.pop();
    expect_word(BASE + next, content, next)?;
    drop((pins, file));
    world.finish()
}

/// Machine: a window. A file that is marked failed gives bus errors and EIO in every program from then on, and another file
/// does not; then the whole file system is.
pub(crate) fn failed_file(machine: &Machine) -> Outcome {
    let world = World::new(machine, Config::default())?;
    let (file, other) = (world.open(MAP, true)?, world.open(OTHER, true)?);
    let second = Process::new()?;
    for process in [&world.process, &second] {
        process.activate();
        map(process, &shared(&file, BASE, 6 * MIB, true))?;
        map(process, &shared(&other, BASE + APART, 4 * MIB, true))?;
        expect_word(BASE, Content::of(MAP), 0)?;
        expect_word(BASE + APART, Content::of(OTHER), 0)?;
    }
    world.fs.lookup(MAP)?.mark_failed();
    for process in [&second, &world.process] {
        process.activate();
        expect_page(process, BASE, None)?;
        no_load(BASE, Errno::EIO)?;
        no_store(BASE + 2 * MIB, Errno::EIO)?;
        expect_page(process, BASE + APART, Some((LARGE_PAGE, false)))?;
        expect_word(BASE + APART + 2 * MIB, Content::of(OTHER), 2 * MIB)?;
    }
    let mut byte = [0];
    for result in [file.read_at(&mut byte, 0), file.write_at(&byte, 0), file.map(0, 1).map(|map| map.len())] {
        let errno = result.as_ref().map_err(virtio_fs::Error::errno);
        ensure!(errno == Err(fuse_proto::Errno::EIO), "an operation on a failed file gives {result:?}");
    }
    other.read_exact_at(&mut byte, 0)?;
    world.fs.mark_failed();
    for process in [&second, &world.process] {
        process.activate();
        expect_page(process, BASE + APART, None)?;
        no_load(BASE + APART, Errno::EIO)?;
        no_store(BASE + APART, Errno::EIO)?;
    }
    let result = other.read_at(&mut byte, 0);
    let errno = result.as_ref().map_err(virtio_fs::Error::errno);
    ensure!(errno == Err(fuse_proto::Errno::EIO), "reading on a failed file system gives {result:?}");
    second.end();
    drop((file, other));
    world.finish()
}
