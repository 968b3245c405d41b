//! The share that scenarios find: a tree of files, the same for each.

use alloc::{format, string::String};

const MIB: u64 = 1 << 20;

/// A file with the stream of its name ([`Content`](crate::content::Content)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path, relative to the share.
    pub name: &'static str,
    /// Its bytes.
    pub size: u64,
}

/// The sizes of the files [`sized`]: around the page, around the range of the window, and beyond.
pub const SIZES: [u64; 9] = [0, 1, 4095, 4096, 4097, 2 * MIB - 1, 2 * MIB, 2 * MIB + 1, 5 * MIB + 123];

/// The name of the file of one of the [`SIZES`].
pub fn sized(size: u64) -> String {
    format!("files/size-{size}")
}

/// A file of zeros but for islands of its stream.
pub const SPARSE: File = File { name: "files/sparse-67108864", size: 64 * MIB };
/// Bytes of each island.
pub const ISLAND: u64 = 4096;
/// Where the islands begin.
pub const ISLANDS: [u64; 3] = [0, 10 * MIB, SPARSE.size - ISLAND];

/// A file that the host writes to.
pub const HOST_WRITE: File = File { name: "dax/host-write", size: 4 * MIB };
/// A file that the guest writes to.
pub const GUEST_WRITE: File = File { name: "dax/guest-write", size: 4 * MIB };
/// A file that the guest makes longer.
pub const EXTEND: File = File { name: "dax/extend", size: 4096 + 100 };
/// A file that is mapped.
pub const MAP: File = File { name: "dax/map", size: 6 * MIB };
/// A file that ends in a part of a page.
pub const TAIL: File = File { name: "dax/tail", size: 2 * MIB + 4096 + 777 };
/// A file four times as long as the smallest window. Only scenarios that ask for it have it.
pub const BIG: File = File { name: "reclaim/big", size: 64 * MIB };

/// All files under `dax/`.
pub const DAX: [File; 5] = [HOST_WRITE, GUEST_WRITE, EXTEND, MAP, TAIL];

/// A folder with many entries.
pub const MANY: &str = "dirs/many";
/// Files [`many_file`] in it; file N has N bytes.
pub const MANY_FILES: u64 = 300;
/// Folders `sub-N` in it.
pub const MANY_FOLDERS: u64 = 10;
/// A file in it with a name that is not plain, of 3 bytes.
pub const MANY_ODD: &str = "with space \u{fc}";
/// Entries in it.
pub const MANY_ENTRIES: u64 = MANY_FILES + MANY_FOLDERS + 1;

/// The path of file `number` of [`MANY`].
pub fn many_file(number: u64) -> String {
    format!("{MANY}/entry-{number:03}")
}

/// The folder that has a small file system of its own, where a scenario wants that and the host lets everybody mount one.
pub const SMALL_DISK: &str = "small";
