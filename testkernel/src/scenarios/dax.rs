//! The window.

mod bytes;
mod change;
mod partition;

pub(crate) use bytes::{
    extending_write, host_write_visible, map_zero_copy, no_read_requests, read_matches_host, tail_of_odd_file,
    write_visible_on_host,
};
pub(crate) use change::{inode_mode, truncate_under_map, upgrade};
pub(crate) use partition::partition;
