//! A window that two share: the file system has a part of it, and somebody else the rest.

use crate::{
    arch::{clock::Clock, cpu, smp, user},
    devices,
    machine::Machine,
    memory::{
        LARGE_PAGE, PAGE, PhysRange,
        paging::{self, Caching},
    },
    mount,
    outcome::{Outcome, Stop, ensure},
    scenarios::steps::{
        host::wait_for_host,
        processors,
        views::{BASE, MAP, MIB, World, map, shared},
    },
};
use alloc::{format, sync::Arc};
use core::{
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};
use fs_dax::{AccessFlags, DeviceOffset, DirectAccess, Errno, LinearMemory, MemoryDevice, OwnerId, Partition};
use spin::Mutex;
use testkernel_protocol::{content::Content, share};
use virtio_fs::{Config, PartClaim, WindowPart};
use virtio_shm::{ShmId, ShmTransport};

/// The neighbour has these bytes of the file, at this place of its part.
const IMAGE: (u64, u64) = (2 * MIB, 4 * MIB);
const AT: u64 = 2 * MIB;
/// How often each processor tries to become an owner.
const TRIES: u64 = 500;
/// Loads of each processor's through the driver's part.
const LOADS: u64 = 150;
const PATIENCE: Duration = Duration::from_secs(60);

fn owner(number: usize) -> Result<OwnerId, Stop> {
    OwnerId::new(number).ok_or_else(|| Stop::Fail("an owner is no 0".into()))
}

/// Has every processor do something, this one too.
fn on_all(count: usize, work: impl Fn(usize) -> Outcome + Send + Sync + 'static) -> Outcome {
    let work = Arc::new(work);
    let wrong: Arc<Mutex<Option<Stop>>> = Arc::default();
    for processor in 1..count {
        let (work, wrong) = (work.clone(), wrong.clone());
        smp::run_on(processor, move || {
            if let Err(stop) = work(processor) {
                wrong.lock().get_or_insert(stop);
            }
        });
    }
    let mine = work(0);
    for processor in 1..count {
        processors::join(processor, PATIENCE)?;
    }
    let theirs = wrong.lock().take();
    theirs.map_or(mine, Err)
}

/// Every processor tries to become the owner of a part, again and again: there is never more than one.
fn one_owner_at_a_time(count: usize, part: &Arc<WindowPart>) -> Outcome {
    let (part, inside, won) = (part.clone(), AtomicUsize::new(0), Arc::new(AtomicU64::new(0)));
    let wins = won.clone();
    on_all(count, move |processor| {
        for _ in 0..TRIES {
            match part.claim(owner(processor + 1)?) {
                Ok(claim) => {
                    let others = inside.fetch_add(1, Ordering::AcqRel);
                    ensure!(others == 0, "{others} others own the part of processor {processor}");
                    let holder = part.holder();
                    ensure!(
                        holder == OwnerId::new(processor + 1),
                        "{holder:?} owns what processor {processor} claimed"
                    );
                    inside.fetch_sub(1, Ordering::AcqRel);
                    wins.fetch_add(1, Ordering::AcqRel);
                    drop(claim);
                }
                Err(fs_dax::Error::Owned { .. }) => core::hint::spin_loop(),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    })?;
    ensure!(won.load(Ordering::Acquire) > 0, "nobody ever owned the part");
    Ok(())
}

/// The bytes of a device, by the processor's own loads and stores.
struct Bytes<'a>(&'a Partition<LinearMemory>);

impl Bytes<'_> {
    fn pointer(&self, offset: u64) -> Result<*mut u64, Stop> {
        let page = offset / PAGE * PAGE;
        let request = DirectAccess { offset: page as i64, size: PAGE as i64, flags: AccessFlags::empty() };
        let range = self.0.direct_access(&request)?;
        ensure!(range.len == PAGE, "{} bytes at {offset:#x} of the part, not a page", range.len);
        Ok((range.phys.0 + offset % PAGE) as *mut u64)
    }

    fn load(&self, offset: u64) -> Result<u64, Stop> {
        let at = self.pointer(offset)?;
        paging::read_word(at as u64).ok_or_else(|| Stop::Fail(format!("{at:?} is not mapped")))
    }

    fn store(&self, offset: u64, word: u64) -> Outcome {
        let at = self.pointer(offset)?;
        // SAFETY: the neighbour has this page of the window mapped to a file, writable, the kernel has it one to one, and
        // nobody holds a reference to it.
        unsafe { at.write_volatile(word) };
        Ok(())
    }

    /// Fails unless a word of the part is that of a file.
    fn expect(&self, offset: u64, content: Content, file_offset: u64) -> Outcome {
        let (found, expected) = (self.load(offset)?, content.word(file_offset / 8));
        ensure!(found == expected, "the part has {found:#018x} at {offset:#x}, not {expected:#018x}");
        Ok(())
    }
}

/// Fails unless an operation ends with this error number.
fn refused<T>(what: &str, result: Result<T, virtio_fs::Error>, errno: fuse_proto::Errno) -> Outcome {
    let found = result.map(drop).map_err(|error| error.errno());
    ensure!(found == Err(errno), "{what} gives {found:?}, not {errno}");
    Ok(())
}

/// What the neighbour stores, and where in its bytes of the file.
fn stored(index: u64) -> (u64, u64) {
    (index * 37 * PAGE + 8, 0x1111_2222_0000_0000 | index)
}
const STORES: u64 = 16;

/// Machine: a window of 16 MiB, any number of processors. Share: `reclaim/big`. The file system is mounted with the second
/// half of the window; a neighbour, who owns the first, has bytes of a file there. While all processors fault on the large
/// file, so that the file system's half is reclaimed without rest, the neighbour loads and stores: nothing of it moves, and
/// nobody gets past the end of his part. Of all who want to own a part at once one does. Sync `stored`: the host has the
/// stores.
// Long: one scenario, in the order in which it happens.
pub(crate) fn partition(machine: &Machine) -> Outcome {
    let count = processors::start(1)?;
    let region = devices::open(mount::find(machine)?)?.shm_region(ShmId::FS_DAX_WINDOW)?;
    let whole = region.ok_or_else(|| Stop::Fail("the device has no window".into()))?;
    let half = whole.len() / 2;
    let (rest, drivers) = (WindowPart::new(0, half), WindowPart::new(half, half));
    one_owner_at_a_time(count, &rest)?;
    let claim = rest.claim(owner(0x77)?)?;

    let config = Config::default().window_part(Some(drivers.clone())).window_timeout(PATIENCE);
    let world = World::new(machine, config.clone())?;
    ensure!(
        world.fs.window_region() == Some(whole.part(half, half)?),
        "the driver uses {:?}",
        world.fs.window_region()
    );
    for (part, holder) in [(&rest, owner(0x77)?), (&drivers, drivers.holder().unwrap_or(owner(1)?))] {
        let refused = part.claim(owner(0x99)?).err();
        ensure!(
            refused == Some(fs_dax::Error::Owned { holder }),
            "a part that belongs to {holder} answers {refused:?}"
        );
    }

    paging::map_range(PhysRange { start: whole.addr(), end: whole.addr() + half }, Caching::WriteBack)?;
    let device = claim.device(&whole)?;
    let bytes = Bytes(&device);
    let image = world.open(MAP, true)?;
    let content = Content::of(MAP);
    image.map_in_part(&claim, DeviceOffset(AT), IMAGE.0, IMAGE.1)?;
    neighbours_bounds(&world, &image, &claim, &device, half)?;

    let big = world.open(share::BIG.name, false)?;
    map(&world.process, &shared(&big, BASE, share::BIG.size, false))?;
    let done = Arc::new(AtomicUsize::new(0));
    let failed = Arc::new(AtomicBool::new(false));
    let wrong: Arc<Mutex<Option<Stop>>> = Arc::default();
    for processor in 1..count {
        let (process, done, failed, wrong) = (world.process.clone(), done.clone(), failed.clone(), wrong.clone());
        smp::run_on(processor, move || {
            process.activate();
            for step in 0..LOADS {
                if let Err(stop) = load_big(processor, step) {
                    wrong.lock().get_or_insert(stop);
                    failed.store(true, Ordering::Release);
                    break;
                }
            }
            done.fetch_add(1, Ordering::AcqRel);
        });
    }
    for step in 0..LOADS {
        load_big(0, step)?;
        let (offset, word) = stored(step % STORES);
        bytes.store(AT + offset, word)?;
        bytes.expect(AT + step * 6 * PAGE % IMAGE.1, content, IMAGE.0 + step * 6 * PAGE % IMAGE.1)?;
    }
    let deadline = Clock::now_ns() + PATIENCE.as_nanos() as u64;
    while done.load(Ordering::Acquire) < count - 1 {
        ensure!(Clock::now_ns() < deadline, "{done:?} of {} other processors made {LOADS} loads", count - 1);
        cpu::wait_for_interrupt();
    }
    if let Some(stop) = wrong.lock().take() {
        return Err(stop);
    }
    let removed = world.fs.stats().removed_mappings;
    ensure!(removed > half / LARGE_PAGE, "only {removed} ranges were reclaimed");
    wait_for_host("stored")?;
    for index in 0..STORES {
        let (offset, word) = stored(index);
        let found = bytes.load(AT + offset)?;
        ensure!(found == word, "the part has {found:#x} at {:#x}, not {word:#x}", AT + offset);
        let mut read = [0; 8];
        image.read_exact_at(&mut read, IMAGE.0 + offset)?;
        ensure!(u64::from_le_bytes(read) == word, "the driver's part shows another file than the neighbour's");
    }

    // Each fails for itself.
    let request = DirectAccess { offset: AT as i64, size: PAGE as i64, flags: AccessFlags::empty() };
    if let Some(failure) = device.failure() {
        failure.fail(Errno::EIO);
    }
    let answer = device.direct_access(&request).map_err(|error| error.errno());
    ensure!(answer == Err(Errno::EIO), "a part that failed answers {answer:?}");
    ensure!(
        user::load_word(BASE) == Ok(Content::of(share::BIG.name).word(0)),
        "the neighbour's failure is the driver's"
    );
    world.fs.mark_failed();
    ensure!(user::load_word(BASE) == Err(Errno::EIO), "the driver's part goes on");
    let again = claim.device(&whole)?;
    Bytes(&again).expect(AT, content, IMAGE.0)?;

    world.fs.unmap_in_part(&claim, DeviceOffset(AT), IMAGE.1)?;
    drop((image, big));
    world.finish()?;
    ensure!(drivers.holder().is_none(), "the part belongs to {:?} after the unmount", drivers.holder());
    ensure!(rest.holder() == OwnerId::new(0x77), "the neighbour lost its part to an unmount");
    drop(claim);
    ensure!(rest.holder().is_none(), "the neighbour's part belongs to {:?}", rest.holder());
    Ok(())
}

/// Past the end of a part there is nothing, and the other's part is not to be had.
fn neighbours_bounds(
    world: &World,
    image: &crate::mmap::File,
    claim: &PartClaim,
    device: &Partition<LinearMemory>,
    half: u64,
) -> Outcome {
    use fuse_proto::Errno as Number;
    let len = LARGE_PAGE;
    for at in [half, half - PAGE, u64::MAX - PAGE] {
        refused("mapping past the end", image.map_in_part(claim, DeviceOffset(at), 0, len), Number::ERANGE)?;
        refused("unmapping past the end", world.fs.unmap_in_part(claim, DeviceOffset(at), len), Number::ERANGE)?;
    }
    let past = image.map_in_part(claim, DeviceOffset(0), 6 * MIB, len);
    refused("mapping past the end of the file", past, Number::ENXIO)?;
    let across = WindowPart::new(half - LARGE_PAGE, 2 * LARGE_PAGE);
    let across = across.claim(owner(0x55)?)?;
    let at = DeviceOffset(LARGE_PAGE);
    refused("mapping into the driver's part", image.map_in_part(&across, at, 0, len), Number::EPERM)?;
    let request =
        |offset: u64| DirectAccess { offset: offset as i64, size: 2 * PAGE as i64, flags: AccessFlags::empty() };
    let answer = device.direct_access(&request(half)).map_err(|error| error.errno());
    ensure!(answer == Err(Errno::ERANGE), "an access at the end of the part gives {answer:?}");
    let last = device.direct_access(&request(half - PAGE))?;
    ensure!(last.len == PAGE, "an access across the end of the part gives {} bytes", last.len);
    Ok(())
}

/// A word of the large file, far from the last one.
fn load_big(processor: usize, step: u64) -> Outcome {
    let share::File { name, size } = share::BIG;
    let range = Content::of("partition").word(step * 8 + processor as u64) % (size / LARGE_PAGE);
    let offset = range * LARGE_PAGE + step * PAGE;
    let found = user::load_word(BASE + offset);
    let expected = Content::of(name).word(offset / 8);
    ensure!(found == Ok(expected), "processor {processor}: {name} gives {found:x?} at {offset:#x}, not {expected:#x}");
    Ok(())
}
