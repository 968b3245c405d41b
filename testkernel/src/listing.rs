//! A folder's entries, sorted and with their attributes.

use crate::mount::Fs;
use alloc::vec::Vec;
use fuse_proto::Attr;
use virtio_fs::{DirEntry, Error};

/// The entries of a folder with their attributes, sorted by name as bytes.
///
/// # Errors
/// Those of the driver, the first one of an entry's among them.
pub(crate) fn list(fs: &Fs, path: &str) -> Result<Vec<(DirEntry, Attr)>, Error> {
    list_each(fs, path)?.into_iter().map(|(entry, attr)| Ok((entry, attr?))).collect()
}

/// An entry, and its attributes or why there are none.
pub(crate) type Listed = (DirEntry, Result<Attr, Error>);

/// As [`list`], with an error for each entry without attributes.
///
/// # Errors
/// When the folder cannot be listed.
pub(crate) fn list_each(fs: &Fs, path: &str) -> Result<Vec<Listed>, Error> {
    let folder = fs.lookup(path)?;
    let mut entries = Vec::new();
    for entry in folder.read_dir()?.with_attributes() {
        let entry = entry?;
        let attr = match entry.attr {
            Some(attr) => Ok(attr),
            None => {
                let mut inside = Vec::from(path.as_bytes());
                inside.push(b'/');
                inside.extend_from_slice(&entry.name);
                fs.lookup_no_follow(&inside).and_then(|node| node.attr())
            }
        };
        entries.push((entry, attr));
    }
    entries.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
    Ok(entries)
}
