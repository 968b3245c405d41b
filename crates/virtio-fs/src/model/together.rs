//! FSYNC, faults, freezing cuts and the unmount, as they meet: the driver from the volume down, a server that knows what it has
//! mapped, and page tables whose every entry must show mapped bytes of the file.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::SeqCst;
use core::time::Duration;

use dax_window::{Storage, Window};
use fs_dax::{
    Area, Errno, Fault, FaultAccess, FaultOutcome, FileKey, FileRange, Mappings, PAGE_SIZE, Page, Sharing, SyncMode,
    UnmapCause, VirtAddr, Wanted,
};
use fuse_proto::{Attr, Entry, InitFlags, NodeId, Opcode, Protocol};
use lock_api::Mutex;
use shuttle::scheduler::RandomScheduler;
use shuttle::sync::atomic::AtomicBool;
use shuttle::{Config, MaxSteps, Runner, thread};
use virtio_shm::{ShmId, ShmRegion};

use super::{ModelMutex, NEVER, connection_of, queues};
use crate::Error;
use crate::io::open_file::OpenFile;
use crate::io::options::OpenOptions;
use crate::io::{DaxMode, FileIo, HoleStores, Settings};
use crate::queue::test_device::TestDevice;
use crate::rpc::Rpc;
use crate::rpc::credentials::Credentials;
use crate::test_memory::device;
use crate::volume::Volume;
use crate::volume::inodes::Limits;
use crate::window::memory::WindowMemory;
use crate::window::{DaxWindow, TailMapping};

const ROUNDS: usize = 100;
const RANGE: u64 = 2 << 20;
/// Where the window begins in guest-physical memory, and its length: fewer ranges than the file has chunks.
const WINDOW: (u64, u64) = (1 << 40, 2 * RANGE);
const SIZE: u64 = 3 * RANGE;
const FILE: NodeId = NodeId::ROOT;
/// The pages that are stored to: one in each chunk.
const PAGES: [u64; 3] = [0, RANGE + PAGE_SIZE, 2 * RANGE];
const NEXT: u16 = 1;
const WRITE: u16 = 2;

/// What the host has.
#[derive(Default)]
struct Host {
    size: u64,
    /// File offsets of mappings, by their places in the window.
    mapped: BTreeMap<u64, u64>,
    /// How often each page was stored to, and how many of these stores are durable.
    stores: [u64; PAGES.len()],
    durable: [u64; PAGES.len()],
    ended: bool,
}

/// Everything that is not the driver: the host and one address space.
#[derive(Default)]
struct Outside {
    host: Host,
    /// By page: the entry, and whether stores go.
    entries: BTreeMap<u64, (Page, bool)>,
}

type Shared = Arc<Mutex<ModelMutex, Outside>>;

/// The address space, as the driver sees it.
struct PageTables(Shared);

impl Outside {
    /// What a processor does that has this entry: the page must be the file's, and the host must have it mapped there.
    fn check(&self, page: &Page) {
        let place = page.phys.0 - WINDOW.0;
        let range = place & !(RANGE - 1);
        let chunk = self.host.mapped.get(&range).expect("a page of a range that is not mapped");
        assert_eq!(chunk + (place - range), page.file_offset, "a page of other bytes");
        assert!(page.file_offset < self.host.size, "a page past the end of the file");
    }

    /// What the server does with a request. Returns the body of its answer, or an error.
    fn serve(&mut self, request: &[u8]) -> Result<Vec<u8>, i32> {
        assert!(!self.host.ended, "a request after the end");
        let word = |at: usize| u64::from_ne_bytes(request[at..at + 8].try_into().expect("a word"));
        match Opcode(word(0).to_ne_bytes()[4].into()) {
            Opcode::SETUPMAPPING => {
                let (offset, place) = (word(48), word(72));
                // By a size that it no longer has.
                if offset >= self.host.size {
                    return Err(-libc::EINVAL);
                }
                assert!(!self.host.mapped.contains_key(&place), "a mapping over another");
                self.host.mapped.insert(place, offset);
            }
            Opcode::REMOVEMAPPING => {
                for entry in request[44..].chunks_exact(16).take(request[40].into()) {
                    let place = u64::from_ne_bytes(entry[..8].try_into().expect("a word"));
                    let used = |(page, _): &(Page, bool)| (page.phys.0 - WINDOW.0) & !(RANGE - 1) == place;
                    assert!(!self.entries.values().any(used), "a mapping is removed whose pages are in page tables");
                    self.host.mapped.remove(&place).expect("a mapping that there is");
                }
            }
            Opcode::FSYNC => self.host.durable = self.host.stores,
            Opcode::SETATTR if word(40) & 1 << 3 != 0 => {
                let size = word(56);
                let past = |(page, _): &(Page, bool)| page.file_offset >= size;
                assert!(!self.entries.values().any(past), "a cut of pages that are in page tables");
                assert!(!self.host.mapped.values().any(|chunk| *chunk >= size), "a cut of bytes that are mapped");
                self.host.size = size;
            }
            Opcode::SETATTR | Opcode::GETATTR => {}
            Opcode::DESTROY => self.host.ended = true,
            _ => return Err(-libc::ENOSYS),
        }
        let opcode = Opcode(u32::from_ne_bytes(request[4..8].try_into().expect("a word")));
        Ok(if matches!(opcode, Opcode::SETATTR | Opcode::GETATTR) { self.attributes() } else { Vec::new() })
    }

    /// A `fuse_attr_out` of a regular file.
    fn attributes(&self) -> Vec<u8> {
        let mut body = vec![0; 104];
        body[16..24].copy_from_slice(&FILE.0.to_ne_bytes());
        body[24..32].copy_from_slice(&self.host.size.to_ne_bytes());
        body[32..40].copy_from_slice(&(self.host.size / 512).to_ne_bytes());
        body[76..80].copy_from_slice(&0o100_600_u32.to_ne_bytes());
        body[80..84].copy_from_slice(&1_u32.to_ne_bytes());
        body
    }
}

impl Mappings for PageTables {
    fn unmap(&self, _: FileKey, range: FileRange, cause: UnmapCause) {
        if cause.takes_mapped_pages() {
            self.0.lock().entries.retain(|_, (page, _)| range.intersect(page.range()).is_empty());
        }
    }

    fn write_protect(&self, _: FileKey, range: FileRange) {
        for (page, writable) in self.0.lock().entries.values_mut() {
            *writable &= range.intersect(page.range()).is_empty();
        }
    }

    fn wait_for_pins(&self, _: FileKey, _: FileRange) -> Result<(), Errno> {
        Ok(())
    }
}

/// Answers the requests of a queue until `stop` is set and none is left.
fn serve(mut queue: TestDevice, outside: &Shared, stop: &AtomicBool) {
    loop {
        let last = stop.load(SeqCst);
        for head in queue.available() {
            let (mut request, mut writable) = (Vec::new(), Vec::new());
            let mut at = head;
            loop {
                let (address, len, flags, next) = queue.descriptor(at);
                let bytes = (0..u64::from(len)).map(|byte| address + byte);
                if flags & WRITE == 0 {
                    request.extend(bytes.map(device::read::<u8>));
                } else {
                    writable.extend(bytes);
                }
                if flags & NEXT == 0 {
                    break;
                }
                at = next;
            }
            let answer = outside.lock().serve(&request);
            thread::yield_now();
            let (error, body) = answer.map_or_else(|errno| (errno, Vec::new()), |body| (0, body));
            let mut reply = (16 + body.len() as u32).to_ne_bytes().to_vec();
            reply.extend(error.to_ne_bytes());
            reply.extend(&request[8..16]);
            reply.extend(body);
            reply.iter().zip(writable).for_each(|(byte, address)| device::write(address, *byte));
            queue.give_back(head.into(), reply.len() as u32);
        }
        if last {
            return;
        }
        thread::yield_now();
    }
}

/// A mounted file, as the threads share it.
struct World {
    outside: Shared,
    volume: Arc<Volume<ModelMutex>>,
    io: Arc<FileIo<ModelMutex>>,
    file: Box<OpenFile<ModelMutex>>,
}

impl World {
    fn new() -> (Self, [TestDevice; 2]) {
        let outside: Shared = Arc::default();
        outside.lock().host.size = SIZE;
        let (channels, devices) = queues();
        let rpc = connection_of(channels, 1, NEVER);
        let rpc = Rpc::new(Arc::new(rpc), Protocol::new(38, InitFlags::empty()), Credentials::default());
        let rpc = Arc::new(rpc);
        let region = ShmRegion::new(ShmId(0), WINDOW.0, WINDOW.1).expect("a region");
        let memory = WindowMemory::map(rpc.platform(), region, region, None).expect("memory");
        let config = dax_window::Config { guard: None, ..dax_window::Config::new(WINDOW.1) };
        let window = Window::new(config, Storage::heap(2).expect("memory")).expect("a window");
        let timeout = Duration::from_secs(1);
        let settings =
            crate::window::Settings { range_size: RANGE, tail: TailMapping::WholePages, alignment: PAGE_SIZE, timeout };
        let window = Arc::new(DaxWindow::new(rpc.clone(), Box::new(window), memory, settings));
        window.set_page_tables(Some(Arc::new(PageTables(outside.clone()))));
        let limits = Limits { max_inodes: 4, max_names: 4 };
        let volume = Arc::new(Volume::new(rpc, Some(window.clone()), limits));
        let attr = Attr { ino: 1, size: SIZE, blocks: SIZE / 512, mode: 0o100_600, nlink: 1, ..Attr::default() };
        let (entry_valid, attr_valid) = (Duration::MAX, Duration::MAX);
        let inode = volume.inodes.insert_root(&Entry { node: FILE, generation: 0, entry_valid, attr_valid, attr });
        let settings = Settings { dax_mode: DaxMode::Always, holes: HoleStores::Trust, timeout };
        let io = Arc::new(FileIo::new(volume.clone(), Ok(window), settings));
        let options = OpenOptions::new().read(true).write(true);
        let file = OpenFile::new(&volume, inode, None, Credentials::default(), options);
        (Self { outside, volume, io, file }, devices)
    }

    /// A fault of a store to a page, and the store, if the page comes and stays.
    fn store(&self, which: usize) {
        let offset = PAGES[which];
        let fault = Fault {
            area: Area::new(VirtAddr(1 << 30), SIZE, 0).expect("an area"),
            at: VirtAddr((1 << 30) + offset),
            access: FaultAccess::Write,
            sharing: Sharing::Shared,
            sync: SyncMode::None,
            wanted: Wanted::Base,
        };
        // The page may go again before the store, any number of times.
        if let Ok(FaultOutcome::Map(mapping)) = self.io.fault(&self.file, &fault) {
            thread::yield_now();
            let mut outside = self.outside.lock();
            if mapping.guard.is_current() {
                outside.check(&mapping.page);
                outside.entries.insert(offset, (mapping.page, mapping.writable));
                mapping.guard.installed(&mapping.page, mapping.writable);
            }
        }
        thread::yield_now();
        let mut outside = self.outside.lock();
        if let Some((page, true)) = outside.entries.get(&offset).copied() {
            outside.check(&page);
            outside.host.stores[which] += 1;
        }
    }

    /// What a sync that succeeds has made durable; a page that can be stored to with no fault is a dirty one.
    fn sync(&self) {
        let before = self.outside.lock().host.stores;
        if self.io.sync(&self.file, FileRange::ALL, false).is_ok() {
            let outside = self.outside.lock();
            let durable = outside.host.durable;
            assert!(before.iter().zip(durable).all(|(stored, durable)| durable >= *stored), "{before:?} {durable:?}");
        }
    }

    /// Nobody does anything: each page that can be stored to with no fault is known to be dirty.
    fn check_dirt(&self) {
        let outside = self.outside.lock();
        outside.entries.values().for_each(|(page, _)| outside.check(page));
        let writable = outside.entries.values().filter(|(_, writable)| *writable).count();
        let dirty = self.file.inode.dirty_pages.lock().pages();
        assert!(dirty >= writable, "{writable} pages can be stored to, {dirty} are known to be dirty");
    }

    /// Unmounts, if nobody is in the way. Returns whether it did.
    fn unmount(&self) -> bool {
        match self.volume.unmount() {
            Ok(()) => {
                let outside = self.outside.lock();
                assert!(outside.entries.is_empty(), "pages of a file system that is gone");
                assert!(outside.host.mapped.is_empty() && outside.host.ended);
                true
            }
            Err(Error::Unmounted) => true,
            Err(error) => {
                assert!(matches!(error.errno().number(), libc::EBUSY), "{error:?}");
                false
            }
        }
    }
}

/// Runs threads of everything that meets, and unmounts in the end, if none of them has.
fn meet(unmounts_meanwhile: bool) {
    let (world, devices) = World::new();
    let world = Arc::new(world);
    let stop = Arc::new(AtomicBool::new(false));
    let servers = devices.map(|queue| {
        let (outside, stop) = (world.outside.clone(), stop.clone());
        thread::spawn(move || serve(queue, &outside, &stop))
    });
    let begin = |act: fn(&World)| {
        let world = world.clone();
        thread::spawn(move || act(&world))
    };
    let mut threads = vec![
        begin(|world| [0, 2, 0].iter().for_each(|which| world.store(*which))),
        begin(|world| [1, 2].iter().for_each(|which| world.store(*which))),
        begin(|world| (0..2).for_each(|_| world.sync())),
        begin(|world| {
            for size in [RANGE, SIZE] {
                // What uses the bytes may stay until the deadline.
                let _ = world.volume.set_size(Credentials::default(), &world.file.inode, None, size);
            }
        }),
    ];
    if unmounts_meanwhile {
        threads.push(begin(|world| _ = world.unmount()));
    }
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    if world.volume.check_mounted().is_ok() {
        world.check_dirt();
    }
    assert!(world.unmount(), "nobody is in the way");
    stop.store(true, SeqCst);
    servers.into_iter().for_each(|server| server.join().expect("no panic"));
}

/// As [`shuttle::check_random`], with all the steps that so many threads take.
fn check(run: impl Fn() + Send + Sync + 'static) {
    let mut config = Config::new();
    config.max_steps = MaxSteps::FailAfter(20_000_000);
    Runner::new(RandomScheduler::new(ROUNDS), config).run(run);
}

#[test]
fn fsync_fault_and_freeze_meet() {
    check(|| meet(false));
}

#[test]
fn fsync_fault_freeze_and_unmount_meet() {
    check(|| meet(true));
}
