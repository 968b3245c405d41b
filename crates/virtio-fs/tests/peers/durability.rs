//! Histories at random, and after each answer that promises durability a look at what would be left if the host lost its
//! power then.
//!
//! `DURABLE_HISTORIES` says how many, `DURABLE_SEED` where to begin. Without a number a busy machine does fewer, and says so.

use std::fmt::Write;
use std::fs::OpenOptions as HostOptions;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fs_dax::{Area, Fault, FaultAccess, FaultOutcome, Sharing, SyncMode, VirtAddr, Wanted};
use fuse_proto::FallocateMode;
use tempfile::TempDir;
use virtio_fs::VirtioFs;

use crate::faults::{BOTH, Tables, base, memory, tables};
use crate::rig::HANGS;
use crate::rig::content::{content, next};
use crate::rig::durable::{Disk, Shared, hook};
use crate::rig::lock;
use crate::rig::peer::{Kind, Peer};

type File = virtio_fs::File<spin::Mutex<()>>;

const PAGE: u64 = 4096;
/// No file is larger.
const MOST: u64 = 12 * PAGE;
const STEPS: usize = 16;
/// Histories that one device lives through: a test with one device has to end some time.
const MOST_HISTORIES: u64 = 1000;
/// O_DSYNC and O_SYNC, in the numbers of x86 Linux.
const DSYNC: u32 = 0o10000;
const SYNC: u32 = 0o4_010_000;

/// A history: files that are open, what is in page tables, and a disk that remembers.
struct History<'a> {
    peer: &'a Peer,
    tables: &'a Tables,
    shared: &'a Shared,
    name: String,
    plain: [File; 2],
    synchronous: [File; 2],
    other: File,
    random: u64,
    log: String,
}

impl<'a> History<'a> {
    fn new(peer: &'a Peer, fs: &VirtioFs, tables: &'a Tables, shared: &'a Shared, seed: u64) -> Self {
        let name = format!("history-{seed}");
        let mut random = seed;
        let len = next(&mut random) % MOST;
        let path = peer.put(&name, &content(seed, len as usize));
        *lock(shared) = Some(Disk::new(&path));
        let open = |options| fs.open(&name, options).expect("it is there");
        Self {
            peer,
            tables,
            shared,
            plain: [open(BOTH), open(BOTH)],
            synchronous: [open(BOTH.custom_flags(DSYNC)), open(BOTH.custom_flags(SYNC))],
            other: fs.open("other", BOTH).expect("it is there"),
            name,
            random,
            log: format!("seed {seed}: {len} bytes"),
        }
    }

    fn pick(&mut self, below: u64) -> u64 {
        next(&mut self.random) % below
    }

    /// An offset and a length, at page borders half of the time.
    fn bytes(&mut self) -> (u64, u64) {
        let (offset, len) = (self.pick(MOST - 1), 1 + self.pick(4 * PAGE));
        let (offset, len) = match self.pick(2) {
            0 => (offset & !(PAGE - 1), len.next_multiple_of(PAGE)),
            _ => (offset, len),
        };
        (offset, len.min(MOST - offset))
    }

    fn data(&mut self, len: u64) -> Vec<u8> {
        content(next(&mut self.random), len as usize)
    }

    fn size(&self) -> u64 {
        std::fs::metadata(self.peer.path(&self.name)).expect("it is there").len()
    }

    #[track_caller]
    fn promised(&self, lost: Option<String>, what: &str) {
        if let Some(lost) = lost {
            panic!("{what} has promised too much: {lost}\n{}", self.log);
        }
    }

    fn note(&mut self, what: std::fmt::Arguments<'_>) {
        write!(self.log, "\n  {what}").expect("strings take all");
    }

    fn step(&mut self) {
        match self.pick(20) {
            0 | 1 => self.write(),
            2 | 3 => self.write_through(),
            4 => self.cut(),
            5 | 6 => self.allocate(),
            7 => self.copy(),
            8 | 9 => self.host_edits(),
            10 | 11 => self.sync(),
            12 => self.sync_range(),
            13 | 14 => self.store(),
            15..=17 => self.store_synchronously(),
            18 => {
                self.note(format_args!("the next FSYNC fails"));
                lock(self.shared).as_mut().expect("a disk").failures = 1;
            }
            _ => self.sync_late(),
        }
    }

    fn write(&mut self) {
        let (offset, len) = self.bytes();
        let data = self.data(len);
        let written = self.plain[0].write_at(&data, offset);
        self.note(format_args!("write {len} at {offset}: {written:?}"));
        assert_eq!(written.ok(), Some(len as usize), "{}", self.log);
    }

    fn write_through(&mut self) {
        let (offset, len) = self.bytes();
        let data = self.data(len);
        let which = self.pick(2) as usize;
        let written = self.synchronous[which].write_at(&data, offset);
        self.note(format_args!("write through ({which}) {len} at {offset}: {written:?}"));
        if let Ok(count) = written {
            let lost = lock(self.shared).as_mut().expect("a disk").lost(offset, offset + count as u64);
            self.promised(lost, "a synchronous write");
        }
    }

    fn cut(&mut self) {
        let len = self.pick(MOST);
        self.note(format_args!("set_len {len}"));
        self.plain[0].set_len(len).expect("the cut");
    }

    fn allocate(&mut self) {
        let (offset, len) = self.bytes();
        let modes = [
            FallocateMode::empty(),
            FallocateMode::KEEP_SIZE,
            FallocateMode::PUNCH_HOLE | FallocateMode::KEEP_SIZE,
            FallocateMode::ZERO_RANGE | FallocateMode::KEEP_SIZE,
        ];
        let mode = modes[self.pick(4) as usize];
        let done = self.plain[1].allocate(mode, offset, len);
        self.note(format_args!("allocate {mode:?} {len} at {offset}: {done:?}"));
    }

    fn copy(&mut self) {
        let (offset, len) = self.bytes();
        let copied = self.other.copy_range(offset, &self.plain[0], offset, len);
        self.note(format_args!("copy {len} at {offset}: {copied:?}"));
    }

    fn host_edits(&mut self) {
        let path = self.peer.path(&self.name);
        let file = HostOptions::new().write(true).open(path).expect("it is there");
        let (offset, len) = self.bytes();
        let what = self.pick(3);
        self.note(format_args!("the host edits ({what}) {len} at {offset}"));
        match what {
            0 => file.write_all_at(&self.data(len), offset).expect("the host writes"),
            1 => file.set_len(self.size() + len).expect("the host stretches"),
            _ => file.set_len(offset).expect("the host cuts"),
        }
        lock(self.shared).as_mut().expect("a disk").look();
        self.plain[1].attr().expect("attributes");
    }

    fn sync(&mut self) {
        let (which, data_only) = (self.pick(2) as usize, self.pick(2) == 0);
        let file = &self.plain[which];
        let synced = if data_only { file.sync_data() } else { file.sync_all() };
        self.note(format_args!("sync ({which}, {data_only}): {synced:?}"));
        if synced.is_ok() {
            let lost = lock(self.shared).as_mut().expect("a disk").lost_of_all();
            self.promised(lost, "a sync");
        }
    }

    fn sync_range(&mut self) {
        let (offset, len) = self.bytes();
        let synced = self.plain[1].sync_range(offset, len);
        self.note(format_args!("sync_range {len} at {offset}: {synced:?}"));
        if synced.is_ok() {
            let lost = lock(self.shared).as_mut().expect("a disk").lost(offset, offset + len);
            self.promised(lost, "a sync of a range");
        }
    }

    /// A page of the file that its host may map, if there is one.
    fn a_page(&mut self) -> Option<u64> {
        let pages = self.size() / PAGE;
        (pages > 0).then(|| self.pick(pages))
    }

    fn store(&mut self) {
        let Some(page) = self.a_page() else { return };
        let (at, value) = (page * PAGE + self.pick(PAGE), self.pick(256) as u8);
        let stored = self.tables.touch(&self.plain[0], at, true, Wanted::Base);
        self.note(format_args!("store at {at}: {:?}", stored.as_ref().map(|page| page.file_offset)));
        let stored = stored.unwrap_or_else(|errno| panic!("{errno}\n{}", self.log));
        let byte = memory(self.peer.window().expect("a window"), &stored, at);
        // SAFETY: page tables have the page writable, and nobody else is here to take it away.
        unsafe { byte.write_volatile(value) };
    }

    fn store_synchronously(&mut self) {
        let Some(page) = self.a_page() else { return };
        let file = &self.plain[0];
        let start = base(file) | 1 << 39;
        let sync = [SyncMode::Persistent, SyncMode::MetadataDurable][(self.random >> 9) as usize % 2];
        let fault = Fault {
            area: Area::new(VirtAddr(start), 1 << 38, 0).expect("an area"),
            at: VirtAddr(start + page * PAGE),
            access: FaultAccess::Write,
            sharing: Sharing::Shared,
            sync,
            wanted: Wanted::Base,
        };
        let mut outcome = file.fault(&fault);
        let result = loop {
            outcome = match outcome {
                FaultOutcome::NeedsSync(sync) => file.finish_sync(&fault, sync),
                FaultOutcome::NeedsAllocation(allocate) => file.finish_allocation(&fault, allocate),
                FaultOutcome::Retry => file.fault(&fault),
                FaultOutcome::Map(mapping) => break Ok(mapping),
                FaultOutcome::BusError(errno) => break Err(errno),
                other => panic!("{other:?}\n{}", self.log),
            }
        };
        let written = format!("store by MAP_SYNC ({sync:?}) to page {page}: {:?}", result.as_ref().map(|_| ()));
        self.note(format_args!("{written}"));
        let Ok(mapping) = result else { return };
        let lost = lock(self.shared).as_mut().expect("a disk").lost_for_store(page);
        self.promised(lost, "a page that is writable under MAP_SYNC");
        let byte = memory(self.peer.window().expect("a window"), &mapping.page, page * PAGE);
        mapping.guard.installed(&mapping.page, true);
        // SAFETY: the page is mapped, and nobody else is here to take it away.
        unsafe { byte.write_volatile((self.random >> 20) as u8) };
    }

    /// A sync with a slow FSYNC, and a write and a second sync meanwhile.
    fn sync_late(&mut self) {
        lock(self.shared).as_mut().expect("a disk").failures = 0;
        lock(self.shared).as_mut().expect("a disk").keeps = true;
        let strict = self.peer.strict();
        let data = self.data(PAGE);
        let (first, second) = std::thread::scope(|scope| {
            let first = scope.spawn(|| self.plain[0].sync_all());
            wait_until(|| strict.held() == 1);
            self.plain[1].write_all_at(&data, 0).expect("the write");
            let second = scope.spawn(|| self.plain[1].sync_all());
            // Whether it joins or waits, what it was called for has not been synced by the first.
            std::thread::yield_now();
            lock(self.shared).as_mut().expect("a disk").settle_kept();
            strict.release(0);
            (first.join().expect("no panic"), second.join().expect("no panic"))
        });
        self.note(format_args!("a late sync, a write of {PAGE} at 0, a sync: {first:?} {second:?}"));
        if second.is_ok() {
            let lost = lock(self.shared).as_mut().expect("a disk").lost_of_all();
            self.promised(lost, "a sync beside another");
        }
    }
}

fn wait_until(done: impl Fn() -> bool) {
    let deadline = Instant::now() + HANGS;
    while !done() {
        assert!(Instant::now() < deadline, "it never comes");
        std::thread::yield_now();
    }
}

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().map_or(otherwise, |value| value.parse().expect("a number"))
}

#[test]
fn what_is_promised_to_be_durable_is() {
    let (first, asked) = (number("DURABLE_SEED", 1), number("DURABLE_HISTORIES", 0));
    let last = first + if asked == 0 { 2000 } else { asked };
    let end = (asked == 0).then(|| Instant::now() + Duration::from_secs(20));
    let mut seed = first;
    while seed < last {
        let next = last.min(seed + MOST_HISTORIES);
        let done = live_through(seed..next, end);
        if done < next {
            eprintln!("{} of {} histories: the machine is busy", done - first, last - first);
            break;
        }
        if asked > 0 {
            eprintln!("{} of {} histories", next - first, last - first);
        }
        seed = next;
    }
}

/// Lives through histories with one device, until `end`; returns the first one that there was no time for.
fn live_through(seeds: Range<u64>, end: Option<Instant>) -> u64 {
    // In memory, where there is such a place: the host's own disk would take its time for each FSYNC.
    let folder = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).expect("a temporary folder");
    let peer = Peer::new(Kind::Strict).with_folder(folder.path()).with_options(|options| {
        options.server.attr_timeout = Duration::ZERO;
        options.server.entry_timeout = Duration::ZERO;
    });
    peer.put("other", &content(7, MOST as usize));
    let shared = Shared::default();
    // Small buffers: most writes take several requests.
    let fs = peer.mount_with(peer.config().data_buffer_size(PAGE as usize)).expect("the mount");
    let tables: Arc<Tables> = tables(&fs);
    peer.strict().watch(hook(&shared));
    let mut lived = seeds.start;
    for seed in seeds {
        if end.is_some_and(|end| Instant::now() > end) {
            break;
        }
        let mut history = History::new(&peer, &fs, &tables, &shared, seed);
        (0..STEPS).for_each(|_| history.step());
        std::fs::remove_file(peer.path(&history.name)).expect("the host removes");
        drop(history);
        *lock(&shared) = None;
        lived = seed + 1;
    }
    peer.strict().behave();
    fs.set_mappings(None);
    peer.finish(fs);
    lived
}
