//! Temporary folders that are gone when their owner is, however it ended: each is locked as long as its owner lives, and
//! whoever makes the next one removes those that nobody holds.

use anyhow::{Context, Result};
use rustix::{
    fs::{FlockOperation, Mode, OFlags, flock, open},
    process::geteuid,
};
use std::{
    fs,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
};

/// How their names begin.
const PREFIX: &str = "xtask-scratch-";

/// A folder that is removed with this.
#[derive(Debug)]
pub(crate) struct Scratch {
    folder: tempfile::TempDir,
    _lock: OwnedFd,
}

impl Scratch {
    /// Makes one in `parent`, and removes what others left there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn new(parent: &Path) -> Result<Self> {
        fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        clear(parent);
        loop {
            let folder = tempfile::Builder::new()
                .prefix(PREFIX)
                .tempdir_in(parent)
                .with_context(|| format!("cannot create a folder in {}", parent.display()))?;
            if let Some(lock) = lock(folder.path()) {
                return Ok(Self { folder, _lock: lock });
            }
            // Somebody who clears found it before it was locked, and removes it.
        }
    }

    /// For sockets: their paths must be short, and have no end of a line in them.
    ///
    /// # Errors
    /// As [`Scratch::new`].
    pub(crate) fn for_sockets() -> Result<Self> {
        let parent = std::env::temp_dir();
        let unusable = parent.as_os_str().len() > 60 || parent.to_string_lossy().contains(['\n', '\r', '\u{fffd}']);
        Self::new(if unusable { Path::new("/tmp") } else { &parent })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Locks a folder; `None` if somebody else has it, or it is gone.
fn lock(folder: &Path) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = open(folder, flags, Mode::empty()).ok()?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
    folder.exists().then_some(file)
}

/// Removes the folders of this user that nobody holds.
fn clear(parent: &Path) {
    for folder in left(parent) {
        if let Some(_lock) = lock(&folder) {
            // Where it cannot be removed it is in nobody's way.
            let _ = fs::remove_dir_all(&folder);
        }
    }
}

fn left(parent: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else { return Vec::new() };
    let ours = |entry: &fs::DirEntry| {
        entry.file_name().to_string_lossy().starts_with(PREFIX)
            && entry.metadata().is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == geteuid().as_raw())
    };
    entries.flatten().filter(ours).map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_is_cleared_and_what_is_held_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let left = dir.path().join(format!("{PREFIX}left"));
        fs::create_dir(&left).unwrap();
        fs::write(left.join("socket"), "").unwrap();
        let other = dir.path().join("somebody-elses");
        fs::create_dir(&other).unwrap();
        let first = Scratch::new(dir.path()).unwrap();
        assert!(!left.exists() && other.exists());
        let second = Scratch::new(dir.path()).unwrap();
        assert!(first.path().exists() && second.path().exists());
        let path = first.path().to_path_buf();
        drop(first);
        assert!(!path.exists() && second.path().exists());
    }
}
