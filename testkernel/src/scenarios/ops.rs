//! The driver's operations, one after the other, each seen by the host as well.

mod data;
mod full;
mod names;
mod session;
mod special;

pub(crate) use data::{copy_range, create_write_truncate, fallocate_holes, lseek_sparse, tmpfile};
pub(crate) use full::full_disk;
pub(crate) use names::{errors, names, paths, read_only, readdirplus};
pub(crate) use session::{forget_balance, pipelined, unmount_with_open_files};
pub(crate) use special::{attributes, locks, statfs_sync, xattrs};
