//! The socket at which QEMU calls, and its removal however the daemon ends.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use vhost::vhost_user::Listener;
use virtiofsd::oslib::ScopedUmask;

/// Where a socket lies, in a form that outlives a change of the root directory. Removing it twice is fine.
#[derive(Debug)]
pub struct SocketFile {
    folder: File,
    name: CString,
}

impl SocketFile {
    /// Takes the socket away.
    pub fn remove(&self) {
        if let Err(error) = crate::sys::unlink_at(&self.folder, &self.name)
            && error.kind() != io::ErrorKind::NotFound
        {
            log::warn!("the socket {:?} could not be removed: {error}", self.name);
        }
    }
}

/// Makes a socket that only its owner can use.
///
/// # Errors
///
/// One sentence on why not.
pub fn listen(path: &Path) -> anyhow::Result<(Listener, SocketFile)> {
    let shown = path.display();
    let Some(name) = path.file_name() else { bail!("--socket-path {shown} names no file") };
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let folder = File::options()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
        .open(&parent)
        .with_context(|| format!("the folder of the socket, {}, cannot be used", parent.display()))?;
    let name = CString::new(name.as_bytes())?;
    let umask = ScopedUmask::new(0o177);
    let bound = UnixListener::bind(path);
    drop(umask);
    let listener = match bound {
        Ok(listener) => listener,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            bail!("the socket {shown} is in use (or was left behind: then remove it)")
        }
        Err(error) => return Err(error).with_context(|| format!("the socket {shown} cannot be made")),
    };
    log::debug!("listening at {shown}, descriptor {}", listener.as_raw_fd());
    Ok((Listener::from(listener), SocketFile { folder, name }))
}
