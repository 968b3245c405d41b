//! The driver's operations, one after the other, each seen by the host as well.
//!
//! What they make lies in the folder `ops` of the share, which each scenario makes for itself.

pub(crate) mod data;
pub(crate) mod full;
pub(crate) mod names;
pub(crate) mod session;
pub(crate) mod special;

use super::{Machine, Outcome, Stop, ensure};
use crate::{
    content::Content,
    mount::{self, Fs},
};
use alloc::{format, vec, vec::Vec};
use fuse_proto::Errno;
use virtio_fs::{Config, Error, OpenOptions};

/// For reading and writing, made if it isn't there.
const MAKE: OpenOptions = OpenOptions::new().read(true).write(true).create(true);
/// For reading and writing.
const WRITE: OpenOptions = OpenOptions::new().read(true).write(true);
/// For reading.
const READ: OpenOptions = OpenOptions::new().read(true);

/// Mounts and makes the folder `ops`.
fn begin(machine: &Machine) -> Result<Fs, Stop> {
    let fs = mount::mount(machine, Config::default())?;
    fs.create_dir("ops", 0o755)?;
    Ok(fs)
}

/// Ends the session.
fn end(fs: &Fs) -> Outcome {
    mount::report(fs);
    fs.unmount()?;
    Ok(())
}

/// Fails unless an operation ends with this error.
fn refused<T>(what: &str, result: Result<T, Error>, errno: Errno) -> Outcome {
    match result {
        Ok(_) => Err(Stop::Fail(format!("{what} succeeds, where {errno} is right"))),
        Err(error) => {
            ensure!(error.errno() == errno, "{what}: {error}, where {errno} is right");
            Ok(())
        }
    }
}

/// The first bytes of a stream.
fn stream(name: &str, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    Content::of(name).fill(0, &mut bytes);
    bytes
}

/// Fails with the first difference unless a file holds exactly this.
fn holds(fs: &Fs, name: &str, expected: &[u8]) -> Outcome {
    let found = fs.read(name)?;
    ensure!(found.len() == expected.len(), "{name} has {} bytes, not {}", found.len(), expected.len());
    let difference = found.iter().zip(expected).position(|(found, expected)| found != expected);
    ensure!(difference.is_none(), "{name} differs at byte {}", difference.unwrap_or_default());
    Ok(())
}
