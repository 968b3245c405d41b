//! Logs and devices with no room left.

use crate::{
    events,
    machine::Machine,
    outcome::{Outcome, Stop, ensure},
    scenarios::steps::shared::{Guest, OWNER, play, refused, unknown},
};
use alloc::{format, string::String};
use famfs::{Error, Interleave, NewFile, Placement};
use fs_dax::Errno;

/// Machine: shared memory. The last slot of the log is used, and the next record is refused; not one byte changes.
pub(crate) fn full_log(machine: &Machine) -> Outcome {
    let name = |number: u64| -> String { format!("d{number}") };
    play(machine, |guest, step| {
        match step {
            "fill" => {
                guest.format(&Guest::options())?;
                let fs = guest.fs()?;
                let slots = fs.stat_fs()?.entries;
                for number in 0..slots {
                    fs.mkdir(name(number).as_bytes(), &OWNER)?;
                }
                events::info("slots", &slots);
            }
            "more" => {
                let fs = guest.fs()?;
                refused("a directory too many", fs.mkdir(b"more", &OWNER), Errno::ENOSPC)?;
                let new = NewFile { size: 1, owner: OWNER, read_only: false, placement: Placement::Simple };
                refused("a file too many", fs.create(b"more", &new), Errno::ENOSPC)?;
                ensure!(fs.lookup(b"more").is_err(), "what was refused is there");
            }
            "see" => {
                guest.join()?;
                let fs = guest.fs()?;
                let stat = fs.stat_fs()?;
                ensure!(stat.free_entries == 0, "{} entries are free", stat.free_entries);
                fs.lookup(name(stat.entries - 1).as_bytes())?;
            }
            _ => return unknown(step),
        }
        Ok(())
    })
}

/// Machine: shared memory. The last unit is used, and the next file is refused, in one piece and in strips; so is what needs
/// more room in a row than there is. Not one byte changes.
pub(crate) fn full_device(machine: &Machine) -> Outcome {
    const MIB: u64 = 1 << 20;
    let new = |size, placement| NewFile { size, owner: OWNER, read_only: false, placement };
    play(machine, |guest, step| {
        match step {
            "fill" => {
                guest.format(&Guest::options())?;
                let fs = guest.fs()?;
                let free = fs.stat_fs()?.free_blocks;
                for number in 0..free {
                    fs.create(format!("f{number}").as_bytes(), &new(1, Placement::Simple))?;
                }
                events::info("files", &free);
            }
            "more" => {
                let fs = guest.fs()?;
                let stat = fs.stat_fs()?;
                ensure!(stat.free_blocks == 0, "{} units are free", stat.free_blocks);
                let how = Interleave { strips: 2, chunk: 2 * MIB, buckets: 4, order: &[0, 1, 2, 3] };
                for (size, placement) in [
                    (1, Placement::Simple),
                    (4 * MIB, Placement::Interleaved(how)),
                    (u64::MAX, Placement::Simple),
                    (u64::MAX, Placement::Interleaved(how)),
                ] {
                    let result = fs.create(b"more", &new(size, placement));
                    let no_room = matches!(result, Err(Error::NoRoom { size: found }) if found == size);
                    ensure!(no_room, "a file of {size} bytes gives {result:?}");
                }
                // What has nothing to do with room is refused by its own name.
                let long = [b'x'; 80];
                for (path, errno) in [
                    (long.as_slice(), Errno::ENAMETOOLONG),
                    (b"", Errno::EINVAL),
                    (b"/f", Errno::EINVAL),
                    (b"../f", Errno::EINVAL),
                    (b".meta/f", Errno::EPERM),
                    (b"no/f", Errno::ENOENT),
                    (b"f0", Errno::EEXIST),
                ] {
                    let what = String::from_utf8_lossy(path);
                    refused(&what, fs.create(path, &new(1, Placement::Simple)), errno)?;
                }
                refused("a file of 0 bytes", fs.create(b"g", &new(0, Placement::Simple)), Errno::EINVAL)?;
            }
            "see" => {
                guest.join()?;
                let stat = guest.fs()?.stat_fs()?;
                if stat.free_blocks != 0 {
                    return Err(Stop::Fail(format!("{} units are free", stat.free_blocks)));
                }
            }
            _ => return unknown(step),
        }
        Ok(())
    })
}
