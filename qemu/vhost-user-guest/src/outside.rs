//! What lies beside a share, where a guest has no business.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;

/// What of a daemon's folder is its own.
const OWN: [&str; 4] = ["share", "record", "socket", "log"];

/// A file, folder or link: path, mode, owner and contents.
pub type Entry = (PathBuf, u32, u32, Vec<u8>);

/// Puts files, folders and links beside the share that a guest would like to reach.
///
/// # Errors
///
/// What the host says.
pub fn make(folder: &Path) -> Result<()> {
    fs::write(folder.join("secret"), "the user's own")?;
    fs::create_dir(folder.join("empty"))?;
    fs::create_dir(folder.join("full"))?;
    fs::write(folder.join("full/file"), [b'u'; 8192])?;
    std::os::unix::fs::symlink("secret", folder.join("link"))?;
    Ok(())
}

/// Everything below a folder but what is the daemon's own.
///
/// # Errors
///
/// What the host says.
pub fn snapshot(folder: &Path) -> Result<Vec<Entry>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next)? {
            let path = entry?.path();
            let relative = path.strip_prefix(folder)?.to_path_buf();
            if OWN.iter().any(|own| relative.starts_with(own)) {
                continue;
            }
            let metadata = path.symlink_metadata()?;
            let contents = if metadata.is_dir() {
                folders.push(path);
                Vec::new()
            } else if metadata.is_symlink() {
                fs::read_link(path)?.into_os_string().into_encoded_bytes()
            } else if metadata.is_file() {
                fs::read(path)?
            } else {
                Vec::new()
            };
            found.push((relative, metadata.mode(), metadata.uid(), contents));
        }
    }
    found.sort();
    Ok(found)
}
