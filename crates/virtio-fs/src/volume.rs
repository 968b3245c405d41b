//! What a mounted file system keeps: inodes, names, attributes, look-ups that it owes the server.
//!
//! Nothing here moves data. Where bytes have to stay as they are while something is changed, or mappings have to go, the
//! volume asks the window layer through [`mapped_bytes::MappedBytes`].
//!
//! # Locks
//!
//! All are short: none is held across a request or a call into the embedder. Where two are held at once the order is:
//! inode table, then an inode's names or attributes, or what listings have brought. The list of owed FORGETs is never locked
//! together with another.

pub(crate) mod attributes;
mod base;
mod cached_name;
pub(crate) mod commits;
mod copy;
mod damage;
mod damaged_pages;
pub(crate) mod dirty_pages;
mod ending;
pub(crate) mod entries;
pub(crate) mod entry_path;
pub(crate) mod forgets;
pub(crate) mod inode;
pub(crate) mod inode_table;
pub(crate) mod inodes;
mod late_change;
pub(crate) mod listed;
pub(crate) mod lookup;
pub(crate) mod mapped_bytes;
pub(crate) mod name_cache;
mod name_hash;
pub(crate) mod notifications;
pub mod path;
pub(crate) mod resize;
pub(crate) mod room;
mod settle;
pub(crate) mod unlinked;
pub(crate) mod unmount;

pub(crate) use self::base::Volume;
