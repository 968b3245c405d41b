//! Folders are listed as the host has them.

use crate::{
    events::Output,
    listing,
    machine::Machine,
    mount::{self, Fs},
    outcome::{Outcome, ensure},
};
use alloc::{collections::BTreeSet, format, string::String};
use core::fmt::Write;
use fuse_proto::Errno;
use virtio_fs::{Config, Error};

/// Machine: any with a file system device. Share: `dirs/many` with `entry-000` to `entry-299` (entry-NNN has NNN bytes),
/// the folders `sub-0` to `sub-9` and the file `with space ü` of 3 bytes. The output is a line for each entry, sorted:
/// `f SIZE NAME` or `d - NAME`; the host compares it with its own listing.
pub(crate) fn listing_matches_host(machine: &Machine) -> Outcome {
    const FOLDER: &str = "dirs/many";
    let fs = mount::mount(machine, Config::default())?;
    let entries = listing::list(&fs, FOLDER)?;
    for (entry, attr) in &entries {
        let name = String::from_utf8_lossy(&entry.name);
        if attr.is_dir() {
            writeln!(Output, "d - {name}")?;
        } else {
            writeln!(Output, "f {} {name}", attr.size)?;
        }
        if let Some(digits) = name.strip_prefix("entry-") {
            ensure!(digits.parse() == Ok(attr.size), "{name} has {} bytes", attr.size);
        }
    }
    let names: BTreeSet<_> = entries.iter().map(|(entry, _)| &entry.name).collect();
    ensure!(names.len() == entries.len(), "a name is listed twice");
    ensure!(entries.len() == 311, "{} entries, not 311", entries.len());
    names_alone(&fs, FOLDER, entries.len())?;
    let not_a_folder = fs.read_dir(format!("{FOLDER}/entry-001")).map(|_| ());
    ensure!(errno(&not_a_folder) == Some(Errno::ENOTDIR), "listing a file gives {not_a_folder:?}");
    let missing = fs.read_dir("dirs/none").map(|_| ());
    ensure!(errno(&missing) == Some(Errno::ENOENT), "listing what is not there gives {missing:?}");
    fs.unmount()?;
    Ok(())
}

/// The same entries come without their attributes.
fn names_alone(fs: &Fs, folder: &str, count: usize) -> Outcome {
    let mut found = 0;
    for entry in fs.read_dir(folder)? {
        entry?;
        found += 1;
    }
    ensure!(found == count, "{found} entries without attributes, {count} with them");
    Ok(())
}

fn errno(result: &Result<(), Error>) -> Option<Errno> {
    result.as_ref().err().map(Error::errno)
}
