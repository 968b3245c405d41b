//! Making, opening, listing and removing names, and the empty round trip.

use super::measure::{FILE, FOLDER, each_request};
use crate::{
    mount::Fs,
    outcome::{Outcome, ensure},
};
use alloc::format;
use fuse_proto::Errno;
use virtio_fs::OpenOptions;

/// How many names are made, opened and removed.
const NAMES: u32 = 200;
/// How many names the folder that is listed has.
const LISTED: u32 = 1000;

pub(super) fn run(fs: &Fs) -> Outcome {
    ensure!(fs.attr(FOLDER).is_err(), "{FOLDER} exists already: what is in it might be somebody's");
    fs.create_dir(FOLDER, 0o755)?;
    let node = fs.lookup(FILE)?;
    each_request(fs, "rtt", 500, |_| node.refresh_attr().map(drop))?;
    each_request(fs, "lookup_miss", 500, |index| match fs.attr(format!("{FOLDER}/missing-{index}")) {
        Err(error) if error.errno() == Errno::ENOENT => Ok(()),
        other => other.map(drop),
    })?;
    let name = |index: u32| format!("{FOLDER}/name-{index}");
    let create = OpenOptions::new().write(true).create_new(true);
    each_request(fs, "create", NAMES, |index| fs.open(name(index), create).map(drop))?;
    let read = OpenOptions::new().read(true);
    each_request(fs, "open_close", NAMES, |index| fs.open(name(index), read).map(drop))?;
    for index in NAMES..LISTED {
        fs.open(name(index), create)?;
    }
    let mut listed = 0;
    each_request(fs, "readdir_1000", 5, |_| fs.read_dir(FOLDER)?.try_for_each(|entry| entry.map(|_| listed += 1)))?;
    ensure!(listed >= 5 * LISTED, "{listed} names were listed in five goes, not {LISTED} in each");
    each_request(fs, "unlink", NAMES, |index| fs.remove_file(name(index)))?;
    for index in NAMES..LISTED {
        fs.remove_file(name(index))?;
    }
    Ok(fs.remove_dir(FOLDER)?)
}
