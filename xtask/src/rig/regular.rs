//! Reading what a guest may have left in a share: regular files only, through no link, and no more than expected.

use anyhow::{Context, Result, ensure};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use std::{fs::File, io::Read, path::Path};

/// The most that is read into memory of one file.
pub(crate) const LARGEST: u64 = 256 << 20;

/// Opens a regular file below a folder, by a path that has no link in it.
///
/// # Errors
/// When it is not there, is no regular file, or lies behind a link.
pub(crate) fn open(folder: &Path, name: &Path) -> Result<File> {
    // Without O_NONBLOCK a FIFO would wait for its other end.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let found =
        openat(CWD, folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).and_then(|folder| {
            openat2(folder, name, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
        });
    let file = File::from(found.with_context(|| format!("the host cannot open {}", name.display()))?);
    let kind = file.metadata()?.file_type();
    ensure!(kind.is_file(), "{} is no regular file", name.display());
    Ok(file)
}

/// The whole of such a file.
///
/// # Errors
/// As [`open`]; when it has more than [`LARGEST`] bytes or cannot be read.
pub(crate) fn read(folder: &Path, name: &Path) -> Result<Vec<u8>> {
    read_at_most(open(folder, name)?, LARGEST).with_context(|| format!("the host cannot read {}", name.display()))
}

fn read_at_most(file: File, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One more, to see that there is more: the size may change meanwhile.
    file.take(limit + 1).read_to_end(&mut bytes)?;
    ensure!(bytes.len() as u64 <= limit, "it has more than {limit} bytes");
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{FileType, mknodat};
    use std::{fs, os::unix::fs::symlink};

    #[test]
    fn only_regular_files_below_the_folder_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let share = dir.path().join("share");
        fs::create_dir_all(share.join("folder")).unwrap();
        fs::write(dir.path().join("secret"), "secret").unwrap();
        fs::write(share.join("folder/file"), "content").unwrap();
        symlink("../secret", share.join("link")).unwrap();
        symlink("folder", share.join("folder-link")).unwrap();
        mknodat(CWD, share.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert_eq!(read(&share, Path::new("folder/file")).unwrap(), b"content");
        for name in ["link", "folder-link/file", "fifo", "folder", "../secret", "none"] {
            assert!(read(&share, Path::new(name)).is_err(), "{name}");
        }
        assert!(read(&share, &dir.path().join("secret")).is_err());
    }

    #[test]
    fn a_file_that_is_too_large_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("x"), "12345").unwrap();
        let file = || open(dir.path(), Path::new("x")).unwrap();
        assert_eq!(read_at_most(file(), 5).unwrap(), b"12345");
        assert!(read_at_most(file(), 4).unwrap_err().to_string().contains("more than 4 bytes"));
    }
}
