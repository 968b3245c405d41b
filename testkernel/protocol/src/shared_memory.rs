//! What both halves of the scenarios with shared memory know: the file systems in it, and who makes them.

use crate::share::File;

const MIB: u64 = 1 << 20;

/// Bytes of the device that most scenarios format.
pub const DEVICE_LEN: u64 = 64 * MIB;
/// Bytes of its log.
pub const LOG_LEN: u64 = 2 * MIB;
/// The host that formats, and the one that only follows.
pub const MASTER: [u8; 16] = *b"the first guest.";
/// Any other host.
pub const CLIENT: [u8; 16] = *b"somebody else's.";

/// A file in one piece.
pub const PLAIN: File = File { name: "dir/plain", size: 5 * MIB + 123 };
/// A file smaller than a page.
pub const SMALL: File = File { name: "small", size: 777 };
/// A file in strips.
pub const STRIPS: File = File { name: "strips", size: 9 * MIB + 4567 };
/// Strips of it.
pub const STRIP_COUNT: usize = 4;
/// Bytes of a turn of it.
pub const CHUNK: u64 = 2 * MIB;
/// Three neighbours.
pub const NEIGHBOURS: [File; 3] = [
    File { name: "left", size: 2 * MIB },
    File { name: "middle", size: 2 * MIB + 5000 },
    File { name: "right", size: 4 * MIB },
];

/// Files that are added while others follow.
pub const APPENDED: u64 = 150;

/// The size of the file of this number.
pub const fn appended_size(number: u64) -> u64 {
    4096 * (number % 5 + 1)
}
