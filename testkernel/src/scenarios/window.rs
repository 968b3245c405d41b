//! What the window does when files, modes and demands change under it.

use super::{Machine, Outcome, dax, ensure, files, reclaim::BIG, wait_for_host};
use crate::{
    content::Content,
    events,
    mount::{self, Fs},
};
use alloc::{vec, vec::Vec};
use core::time::Duration;
use fuse_proto::Errno;
use virtio_fs::{Config, DaxMode, DaxStatus, File, OpenOptions, SetAttr};

const MIB: u64 = 1 << 20;
const READ: OpenOptions = OpenOptions::new().read(true);
const WRITE: OpenOptions = OpenOptions::new().read(true).write(true);
/// How long the driver waits for the window here, where somebody else holds it for good.
const SOON: Duration = Duration::from_millis(300);

/// Machine: a window. Share: `dax/guest-write`. A file is read through mappings for reading, then written: its range is
/// mapped again for writing. The same with a view alive in a range that is mapped for reading: the write goes round the
/// window, and the view shows it. Sync `written`: the host has 10000 bytes of `dax/guest-write#2` at 123456 and as many of
/// `dax/guest-write#3` at 2 MiB + 5.
pub(crate) fn upgrade(machine: &Machine) -> Outcome {
    const NAME: &str = "dax/guest-write";
    const FIRST: usize = 123_456;
    const SECOND: usize = (2 << 20) + 5;
    let fs = mount_with(machine, Config::default().window_timeout(SOON))?;
    let reader = fs.open(NAME, READ)?;
    let mut expected = stream(NAME, 4 << 20);
    same(&reader, 0, &expected)?;
    let before = fs.stats();
    let writer = fs.open(NAME, WRITE)?;
    let pattern = stream("dax/guest-write#2", 10_000);
    writer.write_all_at(&pattern, FIRST as u64)?;
    expected[FIRST..FIRST + 10_000].copy_from_slice(&pattern);
    let stats = fs.stats();
    let (removed, mapped) =
        (stats.removed_mappings - before.removed_mappings, stats.setup_mappings - before.setup_mappings);
    ensure!((removed, mapped) == (1, 1), "{removed} mappings were removed and {mapped} made to write into one");
    ensure!(stats.dax_write_bytes == 10_000, "{} bytes went through the window", stats.dax_write_bytes);
    same(&reader, 0, &expected)?;

    let view = reader.map(2 * MIB, 4096)?;
    ensure!(reader.map_mut(2 * MIB, 4096).is_err(), "a file that is open for reading has a view for stores");
    let pattern = stream("dax/guest-write#3", 10_000);
    writer.write_all_at(&pattern, SECOND as u64)?;
    expected[SECOND..SECOND + 10_000].copy_from_slice(&pattern);
    let mut seen = vec![0; 4096];
    ensure!(view.copy_to(0, &mut seen) == 4096, "the view has become smaller");
    ensure!(seen == expected[2 << 20..(2 << 20) + 4096], "the view does not show what was written");
    let around = fs.stats().bypass.busy;
    ensure!(around > 0, "the range of a view was mapped anew under it");
    drop(view);
    same(&writer, 0, &expected)?;
    wait_for_host("written")?;
    drop((reader, writer));
    dax::finish(&fs)
}

/// Machine: a window. Share: `dax/map`, 6 MiB. Cutting a file under a view is refused in time (sync `refused`: the host has
/// all of it); without the view it works (sync `cut`: 3 MiB + 100 bytes are left), and nothing past the end is mapped,
/// read or stale when the file grows again (sync `stretched`: 6 MiB, zeros from there on).
pub(crate) fn truncate_under_map(machine: &Machine) -> Outcome {
    const NAME: &str = "dax/map";
    const CUT: u64 = 3 * MIB + 100;
    let fs = mount_with(machine, Config::default().window_timeout(SOON))?;
    let file = fs.open(NAME, WRITE)?;
    let mut expected = stream(NAME, 6 << 20);
    same(&file, 0, &expected)?;
    let view = file.map(4 * MIB, 4096)?;
    let refused = file.set_len(CUT);
    let errno = refused.as_ref().err().map(virtio_fs::Error::errno);
    ensure!(errno == Some(Errno::EBUSY), "cutting a file under a view: {refused:?}");
    let mut seen = vec![0; 4096];
    view.copy_to(0, &mut seen);
    ensure!(seen == expected[4 << 20..(4 << 20) + 4096], "the view is damaged");
    wait_for_host("refused")?;
    drop(view);
    file.set_len(CUT)?;
    wait_for_host("cut")?;
    let mut byte = [0];
    ensure!(file.read_at(&mut byte, CUT)? == 0, "there is a byte past the end");
    let past = file.map(4 * MIB, 4096).err().map(|error| error.errno());
    ensure!(past == Some(Errno::ENXIO), "a view past the end: {past:?}");
    file.set_len(6 * MIB)?;
    expected[CUT as usize..].fill(0);
    same(&file, 0, &expected)?;
    wait_for_host("stretched")?;
    drop(file);
    dax::finish(&fs)
}

/// Machine: a window. The server says file by file which ones are for DAX: `dax/map`, made 0666, is; `dax/host-write`, 0644,
/// is not, and is read by requests.
pub(crate) fn inode_mode(machine: &Machine) -> Outcome {
    let fs = mount_with(machine, Config::default().dax_mode(DaxMode::Inode))?;
    let node = fs.lookup("dax/map")?;
    let attr = node.set_attr(&SetAttr { mode: Some(0o666), ..SetAttr::default() })?;
    ensure!(attr.wants_dax(), "dax/map has no FUSE_ATTR_DAX");
    ensure!(!fs.attr("dax/host-write")?.wants_dax(), "dax/host-write has FUSE_ATTR_DAX");
    same(&fs.open("dax/map", READ)?, 0, &stream("dax/map", 6 << 20))?;
    let stats = fs.stats();
    ensure!(stats.dax_read_bytes == 6 * MIB, "{} bytes came out of the window", stats.dax_read_bytes);
    ensure!(stats.request_read_bytes == 0, "{} bytes came by READ", stats.request_read_bytes);
    same(&fs.open("dax/host-write", READ)?, 0, &stream("dax/host-write", 4 << 20))?;
    let stats = fs.stats();
    ensure!(stats.request_read_bytes == 4 * MIB, "{} bytes came by READ", stats.request_read_bytes);
    ensure!(stats.dax_read_bytes == 6 * MIB, "{} bytes came out of the window", stats.dax_read_bytes);
    ensure!(stats.bypass.mode > 0, "the statistics do not say why");
    dax::finish(&fs)
}

/// Machine: a window of 16 MiB. Share: `reclaim/big`. Small reads all over four times what fits: the guard notices and sends
/// them by READ, and says so; without it all go through the window.
pub(crate) fn guard(machine: &Machine) -> Outcome {
    let (name, size) = BIG;
    for thrash_guard in [true, false] {
        let fs = mount_with(machine, Config::default().thrash_guard(thrash_guard).read_ahead(false))?;
        let file = fs.open(name, READ)?;
        let random = Content::of("where the guard looks");
        let mut buffer = vec![0; 4096];
        for index in 0..200 {
            // One range after the other, so that none is there when its turn comes.
            let offset = index * 10 * MIB % size + random.word(index) % (2 * MIB - 4096);
            file.read_exact_at(&mut buffer, offset)?;
            files::check(name, Content::of(name), offset, &buffer)?;
        }
        let stats = fs.stats();
        let tripped = stats.window.is_some_and(|window| window.guard_on);
        events::metric("around_guard", stats.bypass.guard, "1");
        let watched = (tripped, stats.bypass.guard > 0, stats.request_read_bytes > 0);
        ensure!(
            watched == (thrash_guard, thrash_guard, thrash_guard),
            "guard {thrash_guard}, on guard {tripped}: {} accesses sent round, {} bytes by READ",
            stats.bypass.guard,
            stats.request_read_bytes
        );
        drop(file);
        dax::finish(&fs)?;
    }
    Ok(())
}

/// Machine: a window of 16 MiB. Share: `reclaim/big`. A sequential reader finds its next ranges mapped; without read-ahead
/// none is, and the bytes are the same.
pub(crate) fn read_ahead(machine: &Machine) -> Outcome {
    let (name, _) = BIG;
    for read_ahead in [true, false] {
        let fs = mount_with(machine, Config::default().read_ahead(read_ahead))?;
        let file = fs.open(name, READ)?;
        let mut buffer = vec![0; 128 << 10];
        for offset in (0..24 * MIB).step_by(128 << 10) {
            file.read_exact_at(&mut buffer, offset)?;
            files::check(name, Content::of(name), offset, &buffer)?;
        }
        let window = fs.stats().window.ok_or_else(|| super::Stop::Fail("no window".into()))?;
        events::metric("ahead_issued", window.ahead_issued, "1");
        events::metric("ahead_used", window.ahead_used, "1");
        let ahead = (window.ahead_issued > 0, window.ahead_used > 0);
        ensure!(ahead == (read_ahead, read_ahead), "read-ahead {read_ahead}: {window:?}");
        drop(file);
        dax::finish(&fs)?;
    }
    Ok(())
}

/// Machine: a window of 16 MiB. Share: `reclaim/big`. Steps of background reclaim make room in a full window, come to an
/// end, and the next range is mapped with nobody evicted for it.
pub(crate) fn background(machine: &Machine) -> Outcome {
    let (name, _) = BIG;
    let fs = mount_with(machine, Config::default().read_ahead(false).thrash_guard(false))?;
    let file = fs.open(name, READ)?;
    let mut buffer = vec![0; 4096];
    let mut read = |range: u64| -> Outcome {
        file.read_exact_at(&mut buffer, range * 2 * MIB)?;
        files::check(name, Content::of(name), range * 2 * MIB, &buffer)
    };
    for range in 0..20 {
        read(range)?;
    }
    let window = |fs: &Fs| fs.stats().window.ok_or_else(|| super::Stop::Fail("no window".into()));
    let full = window(&fs)?;
    ensure!(full.free == 0, "{} ranges are free before the first step", full.free);
    let mut steps = 0;
    while fs.reclaim_step()? {
        steps += 1;
        ensure!(steps <= full.ranges, "reclaim has no end");
    }
    let after = window(&fs)?;
    ensure!(steps > 0 && after.free > 0, "{steps} steps freed {} ranges of {}", after.free, full.ranges);
    ensure!(after.free >= after.reclaim_target, "{} free ranges where {} are wanted", after.free, after.reclaim_target);
    ensure!(after.reclaim_batches > 0, "the window knows of no reclaim");
    read(25)?;
    let mapped = window(&fs)?;
    ensure!(mapped.evictions == after.evictions, "a range was evicted although one was free");
    ensure!(mapped.free + 1 == after.free, "{} ranges are free, not one less than {}", mapped.free, after.free);
    for range in 0..20 {
        read(range)?;
    }
    drop(file);
    dax::finish(&fs)
}

fn mount_with(machine: &Machine, config: Config) -> Result<Fs, super::Stop> {
    let fs = mount::mount(machine, config)?;
    let status = fs.dax_status();
    ensure!(status == DaxStatus::Active, "DAX is {status}");
    Ok(fs)
}

fn stream(name: &str, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    Content::of(name).fill(0, &mut bytes);
    bytes
}

/// Fails unless a file has these bytes from an offset on, and ends with them.
fn same(file: &File<spin::Mutex<()>>, offset: u64, expected: &[u8]) -> Outcome {
    let mut found = vec![0; expected.len() + 1];
    let mut count = 0;
    loop {
        match file.read_at(&mut found[count..], offset + count as u64)? {
            0 => break,
            more => count += more,
        }
    }
    ensure!(count == expected.len(), "{count} bytes from {offset} on, not {}", expected.len());
    let difference = found.iter().zip(expected).position(|(found, expected)| found != expected);
    ensure!(difference.is_none(), "byte {} differs", offset + difference.unwrap_or_default() as u64);
    Ok(())
}
