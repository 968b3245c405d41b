//! Names and attributes.

use std::fs;

use anyhow::Result;
use transport_vhost_user::HostLock;
use virtio_fs::VirtioFs;

use crate::contest::{compare, compare_busy, compare_few, rival};
use crate::files::{FILE, FOLDER, Files, LISTED, LISTED_NAMES, NAMES, name};
use crate::{allocations, output};

/// Rounds of look-ups of names that nobody knows yet.
const ROUNDS: usize = 10;

pub(crate) fn measure(fs: &VirtioFs<HostLock>, files: &Files) -> Result<()> {
    let root = fs.root()?;
    let node = root.lookup(FILE)?;
    let (path, found) = (files.path(FILE), files.path(FILE));
    compare("getattr", vec![rival("ours", || Ok(node.refresh_attr()?)), rival("stat", || Ok(fs::metadata(&path)?))])?;
    compare_busy(
        "lookup_hit",
        vec![rival("ours", || Ok(root.lookup(FILE)?)), rival("stat", || Ok(fs::metadata(&found)?))],
    )?;
    let before = allocations::count();
    for _ in 0..100 {
        drop(root.lookup(FILE)?);
    }
    output::value("lookup_hit", "allocations", (allocations::count() - before) as f64 / 100.0, "");
    misses(fs, files)?;
    listing(fs, files)
}

fn misses(fs: &VirtioFs<HostLock>, files: &Files) -> Result<()> {
    let folder = fs.root()?.lookup(FOLDER)?;
    let path = files.path(FOLDER);
    let (mut ours, mut theirs) = ((0..NAMES).map(name), (0..NAMES).map(name));
    // Names that are there are enough for all rounds.
    let mut next = move || ours.next().unwrap_or_default();
    let mut next_path = move || path.join(theirs.next().unwrap_or_default());
    compare_few(
        "lookup_miss",
        vec![rival("ours", || Ok(folder.lookup(next())?)), rival("stat", || Ok(fs::metadata(next_path())?))],
        (NAMES / ROUNDS) as u64,
        ROUNDS,
    )
}

/// A folder of 10 000 names, with the attributes of each.
fn listing(fs: &VirtioFs<HostLock>, files: &Files) -> Result<()> {
    let folder = fs.root()?.lookup(LISTED)?;
    let path = files.path(LISTED);
    let list = || -> Result<usize> {
        let mut count = 0;
        for entry in folder.read_dir()?.with_attributes() {
            entry?;
            count += 1;
        }
        Ok(count)
    };
    let (requests, allocated) = (fs.stats().requests, allocations::count());
    let count = list()?;
    output::value("list_10000", "requests", (fs.stats().requests - requests) as f64, "");
    output::value("list_10000", "allocations", (allocations::count() - allocated) as f64 / count as f64, "");
    anyhow::ensure!(count == LISTED_NAMES || count == LISTED_NAMES + 2, "{count} names of {LISTED_NAMES}");
    compare_few(
        "list_10000",
        vec![
            rival("ours", || list().map(drop)),
            rival("readdir", || {
                for entry in fs::read_dir(&path)? {
                    entry?.metadata()?;
                }
                Ok(())
            }),
        ],
        1,
        7,
    )
}
