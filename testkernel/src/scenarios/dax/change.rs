//! Files, modes and sizes that change under the window.

use crate::{
    machine::Machine,
    outcome::{Outcome, ensure},
    scenarios::steps::{
        host::wait_for_host,
        window::{finish, mount_with},
    },
};
use alloc::vec;
use core::time::Duration;
use fuse_proto::Errno;
use testkernel_protocol::content::stream;
use virtio_fs::{Config, DaxMode, File, OpenOptions, SetAttr};

/// How long to wait for what can be had soon.
const SOON: Duration = Duration::from_millis(300);
const MIB: u64 = 1 << 20;

const READ: OpenOptions = OpenOptions::new().read(true);

const WRITE: OpenOptions = OpenOptions::new().read(true).write(true);

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
    finish(&fs)
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
    finish(&fs)
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
    finish(&fs)
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
