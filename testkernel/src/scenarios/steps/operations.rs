//! What the scenarios of the driver's operations begin and end with, and check. What they make lies in the folder `ops`.

use crate::{
    machine::Machine,
    mount::{self, Fs},
    outcome::{Outcome, Stop, ensure},
};
use alloc::format;
use fuse_proto::Errno;
use virtio_fs::{Config, Error, OpenOptions};

/// For reading and writing, made if it isn't there.
pub(crate) const MAKE: OpenOptions = OpenOptions::new().read(true).write(true).create(true);

/// For reading and writing.
pub(crate) const WRITE: OpenOptions = OpenOptions::new().read(true).write(true);

/// For reading.
pub(crate) const READ: OpenOptions = OpenOptions::new().read(true);

/// Mounts and makes the folder `ops`.
pub(crate) fn begin(machine: &Machine) -> Result<Fs, Stop> {
    let fs = mount::mount(machine, Config::default())?;
    fs.create_dir("ops", 0o755)?;
    Ok(fs)
}

/// Ends the session.
pub(crate) fn end(fs: &Fs) -> Outcome {
    mount::report(fs);
    fs.unmount()?;
    Ok(())
}

/// Fails unless an operation ends with this error.
pub(crate) fn refused<T>(what: &str, result: Result<T, Error>, errno: Errno) -> Outcome {
    match result {
        Ok(_) => Err(Stop::Fail(format!("{what} succeeds, where {errno} is right"))),
        Err(error) => {
            ensure!(error.errno() == errno, "{what}: {error}, where {errno} is right");
            Ok(())
        }
    }
}

/// Fails with the first difference unless a file holds exactly this.
pub(crate) fn holds(fs: &Fs, name: &str, expected: &[u8]) -> Outcome {
    let found = fs.read(name)?;
    ensure!(found.len() == expected.len(), "{name} has {} bytes, not {}", found.len(), expected.len());
    let difference = found.iter().zip(expected).position(|(found, expected)| found != expected);
    ensure!(difference.is_none(), "{name} differs at byte {}", difference.unwrap_or_default());
    Ok(())
}
