//! A session with the server begins and ends.

use super::{Machine, Outcome, ensure};
use crate::mount;
use virtio_fs::Config;

/// Any machine with a file system device. Infos `fuse_version`, `flags`, `dax`. Two sessions follow one another, since
/// what the first leaves behind shows in the second.
pub(crate) fn init(machine: &Machine) -> Outcome {
    for round in 0..2 {
        let fs = mount::mount(machine, Config::default())?;
        let minor = fs.protocol().minor();
        ensure!(minor >= 31, "FUSE 7.{minor} is older than any server with virtio-fs");
        let root = fs.attr("/")?;
        ensure!(root.is_dir(), "session {round}: the root is no folder: mode {:o}", root.mode);
        let missing = fs.attr("/there is no such file");
        let errno = missing.as_ref().err().map(virtio_fs::Error::errno);
        ensure!(errno == Some(fuse_proto::Errno::ENOENT), "session {round}: a missing file gives {missing:?}");
        fs.unmount()?;
        let after = fs.attr("/");
        ensure!(after.is_err(), "session {round}: requests work after the unmount");
    }
    Ok(())
}
