//! Small file systems to start from.

use std::sync::Arc;

use famfs::layout::{Format, UNIT, Uuid};
use famfs::{Claims, FormatOptions, Mount, MountOptions, NewFile, Owner, Placement, format};

use crate::hosts::Host;

pub(crate) type Lock = spin::mutex::SpinMutex<()>;
pub(crate) type TestMount = Mount<Host, Lock>;

pub(crate) const SYSTEM: Uuid = Uuid(*b"the master's own");
pub(crate) const OTHER: Uuid = Uuid(*b"somebody else's.");
pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const OWNER: Owner = Owner { uid: 0, gid: 0, mode: 0o755 };

/// A log of one unit, so that a test need not go through 8 MiB.
pub(crate) const LOG_LEN: u64 = UNIT;

pub(crate) fn options(version: Format, len: u64) -> FormatOptions {
    let mut options = FormatOptions::new(Uuid([1; 16]), Uuid([2; 16]), SYSTEM, len);
    options.format = version;
    options.log_len = LOG_LEN;
    options
}

/// The master on `len` bytes of new memory, with an empty file system.
pub(crate) fn formatted(version: Format, len: u64) -> Host {
    let host = Host::new(len, 0x10_0000_0000);
    format(&host, &options(version, len)).unwrap();
    host
}

pub(crate) fn mount_as(host: &Host, system: Uuid) -> TestMount {
    let options = MountOptions { system: Some(system), ..MountOptions::default() };
    Mount::open(host.clone(), [], &options, &Claims::new()).unwrap()
}

pub(crate) fn master(host: &Host) -> TestMount {
    mount_as(host, SYSTEM)
}

pub(crate) fn client(host: &Host) -> TestMount {
    mount_as(host, OTHER)
}

pub(crate) fn file(size: u64) -> NewFile<'static> {
    NewFile { size, owner: Owner { mode: 0o644, ..OWNER }, read_only: false, placement: Placement::Simple }
}

pub(crate) fn claims() -> Arc<Claims<Lock>> {
    Claims::new()
}
