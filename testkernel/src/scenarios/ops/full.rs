//! A disk that is full.

use crate::{
    events,
    machine::Machine,
    mount,
    outcome::{Outcome, Stop, ensure},
    scenarios::steps::{
        host::wait_for_host,
        operations::{MAKE, WRITE, end, refused},
    },
};
use fuse_proto::{Errno, FallocateMode};
use testkernel_protocol::content::stream;
use virtio_fs::Config;

const MIB: u64 = 1 << 20;
/// A larger disk than this is not the small one.
const SMALL: u64 = 64 << 20;

/// The folder `small` of the share is a small disk of its own. It is filled; all that needs room is then refused with ENOSPC,
/// stores into a hole by every way among them; what needs none works. Info `written`: how much went; info `submount`. Sync
/// `full`: the host looks. A file without a name gives its room back when it is closed: sync `removed`. Writing goes on: sync
/// `again`. Skipped where the host lets nobody mount a small disk.
pub(crate) fn full_disk(machine: &Machine) -> Outcome {
    let fs = mount::mount(machine, Config::default())?;
    let disk = fs.lookup("small")?;
    let space = disk.statfs()?;
    if space.blocks.saturating_mul(space.frsize.into()) > SMALL {
        return Err(Stop::Skip("the host lets nobody mount a small disk".into()));
    }
    events::info("submount", &(disk.is_submount() && disk.device() != fs.root()?.device()));
    let old = fs.open("small/old", MAKE)?;
    old.write_all_at(&stream("old", 3 << 20), 0)?;
    let hole = fs.open("small/hole", MAKE)?;
    hole.set_len(2 * MIB)?;

    let new = fs.open("small/new", MAKE)?;
    let data = stream("new", 8 << 20);
    let mut written = 0;
    while written < data.len() {
        match new.write_at(&data[written..data.len().min(written + 200_000)], written as u64) {
            Ok(count) => written += count,
            Err(error) => {
                ensure!(error.errno() == Errno::ENOSPC, "filling the disk: {error}");
                break;
            }
        }
    }
    events::info("written", &written);
    ensure!(disk.statfs()?.bfree == 0, "the disk is not full");

    refused("a write past the end", old.write_at(&data[..8192], 3 * MIB), Errno::ENOSPC)?;
    refused("making room", old.allocate(FallocateMode::empty(), 0, 4 * MIB), Errno::ENOSPC)?;
    refused("a write into a hole", hole.write_at(&data[..8192], MIB), Errno::ENOSPC)?;
    if fs.window_region().is_some() {
        refused("a view of a hole to store to", hole.map_mut(MIB, 4096), Errno::ENOSPC)?;
    }
    old.write_all_at(b"dense", MIB)?;
    old.sync_all()?;
    wait_for_host("full")?;

    fs.remove_file("small/new")?;
    ensure!(disk.statfs()?.bfree == 0, "an open file has given its room back");
    drop(new);
    // The inode is forgotten on a queue of its own.
    ensure!(eventually(|| Ok(disk.statfs()?.bfree >= 512))?, "the room of a file that is gone does not come back");
    wait_for_host("removed")?;
    let again = fs.open("small/hole", WRITE)?;
    again.write_all_at(&stream("hole", 2 << 20), 0)?;
    again.sync_all()?;
    wait_for_host("again")?;
    drop((old, hole, again, disk));
    end(&fs)
}

/// Asks again and again, but not for ever.
fn eventually(mut done: impl FnMut() -> Result<bool, Stop>) -> Result<bool, Stop> {
    for _ in 0..10_000 {
        if done()? {
            return Ok(true);
        }
    }
    Ok(false)
}
