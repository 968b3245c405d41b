//! The few system calls that no library wraps.
#![expect(unsafe_code, reason = "raw system calls, each a few lines")]

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd};

/// Removes a file by its name in a folder that is open.
///
/// # Errors
///
/// What the host says.
pub fn unlink_at(folder: &impl AsFd, name: &CStr) -> io::Result<()> {
    // SAFETY: the name ends with a NUL and both outlive the call, which writes nothing to our memory.
    let result = unsafe { libc::unlinkat(folder.as_fd().as_raw_fd(), name.as_ptr(), 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether the process acts as root.
pub fn is_root() -> bool {
    // SAFETY: it cannot fail and touches no memory of ours.
    unsafe { libc::geteuid() == 0 }
}

/// `OVERLAYFS_SUPER_MAGIC`.
const OVERLAY: i64 = 0x794c_7630;

/// Whether a file lies on an overlay.
///
/// # Errors
///
/// What the host says.
pub fn is_overlay(file: &impl AsFd) -> io::Result<bool> {
    let mut status = std::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the pointer is to room for one status, which the call fills.
    let result = unsafe { libc::fstatfs(file.as_fd().as_raw_fd(), status.as_mut_ptr()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above succeeded, so the status is initialised.
    let status = unsafe { status.assume_init() };
    Ok(status.f_type == OVERLAY)
}

/// Whether something succeeds in a process of its own, which ends with it. Only for a process with one thread.
///
/// # Errors
///
/// What the host says.
pub fn succeeds_in_a_process_of_its_own(act: impl FnOnce() -> bool) -> io::Result<bool> {
    let child = virtiofsd::util::sfork()?;
    if child == 0 {
        let status = if act() { 0 } else { 1 };
        // SAFETY: it ends the process, and touches no memory of ours. Nothing of the parent's is undone on the way.
        unsafe { libc::_exit(status) }
    }
    let mut status = 0;
    // SAFETY: the pointer is to a number of ours, which the call fills.
    while unsafe { libc::waitpid(child, &raw mut status, 0) } < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0)
}

/// Gives up, for this thread and those it starts, whatever a file that is run would lend.
///
/// # Errors
///
/// What the host says.
pub fn no_new_privileges() -> io::Result<()> {
    // SAFETY: it takes numbers only.
    let result = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives this thread a working directory and a file mode mask of its own, which virtiofsd changes for some requests.
///
/// # Errors
///
/// What the host says.
pub fn unshare_working_directory() -> io::Result<()> {
    // SAFETY: it touches no memory of ours.
    let result = unsafe { libc::unshare(libc::CLONE_FS) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Signals that ask the daemon to end, as something to read.
#[derive(Debug)]
pub struct EndSignals(File);

impl EndSignals {
    /// Stops SIGTERM, SIGINT and SIGHUP from ending the process, in this thread and those it starts from now on, and
    /// collects them instead.
    ///
    /// # Errors
    ///
    /// What the host says.
    pub fn catch() -> io::Result<Self> {
        let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: the pointer is to room for one set, which the call fills.
        let result = unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call above succeeded, so the set is initialised.
        let mut set = unsafe { set.assume_init() };
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
            // SAFETY: the set is initialised and ours, and the number is a signal's.
            unsafe { libc::sigaddset(&raw mut set, signal) };
        }
        // SAFETY: the set is initialised; the old one is not asked for.
        let result = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
        if result != 0 {
            return Err(io::Error::from_raw_os_error(result));
        }
        // SAFETY: the set is initialised, and -1 asks for a new descriptor.
        let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else's.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(EndSignals(File::from(fd)))
    }

    /// Waits for a signal; returns its number.
    ///
    /// # Errors
    ///
    /// What the host says.
    pub fn wait(&mut self) -> io::Result<i32> {
        let mut info = [0; size_of::<libc::signalfd_siginfo>()];
        self.0.read_exact(&mut info)?;
        let [a, b, c, d, ..] = info;
        Ok(i32::from_ne_bytes([a, b, c, d]))
    }
}
