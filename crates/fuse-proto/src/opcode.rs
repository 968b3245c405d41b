//! Operation codes.

use core::fmt;

/// What a request asks for (`fuse_in_header.opcode`). Codes that are not known here are kept as they are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Opcode(pub u32);

macro_rules! opcodes {
    ($($(#[$meta:meta])* $name:ident = $value:literal;)*) => {
        impl Opcode {
            $($(#[$meta])* pub const $name: Self = Self($value);)*

            /// Every code that is known here, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The code's name, without the header's prefix; `None` for a code that is not known here.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

opcodes! {
    /// Finds a name in a directory and takes a reference on the inode.
    LOOKUP = 1;
    /// Drops references on an inode; has no reply.
    FORGET = 2;
    /// Reads an inode's attributes.
    GETATTR = 3;
    /// Changes an inode's attributes.
    SETATTR = 4;
    /// Reads where a symbolic link points.
    READLINK = 5;
    /// Makes a symbolic link.
    SYMLINK = 6;
    /// Makes a file of any kind but a directory or link.
    MKNOD = 8;
    /// Makes a directory.
    MKDIR = 9;
    /// Removes a name that is not a directory.
    UNLINK = 10;
    /// Removes an empty directory.
    RMDIR = 11;
    /// Moves a name.
    RENAME = 12;
    /// Gives an inode another name.
    LINK = 13;
    /// Opens a file.
    OPEN = 14;
    /// Reads from an open file.
    READ = 15;
    /// Writes to an open file.
    WRITE = 16;
    /// Reads the file system's totals.
    STATFS = 17;
    /// Closes an open file for good.
    RELEASE = 18;
    /// Makes a file durable (7.1).
    FSYNC = 20;
    /// Sets an extended attribute.
    SETXATTR = 21;
    /// Reads an extended attribute.
    GETXATTR = 22;
    /// Lists the names of the extended attributes.
    LISTXATTR = 23;
    /// Removes an extended attribute.
    REMOVEXATTR = 24;
    /// One descriptor of an open file is being closed.
    FLUSH = 25;
    /// Opens the connection and negotiates.
    INIT = 26;
    /// Opens a directory.
    OPENDIR = 27;
    /// Reads entries of an open directory.
    READDIR = 28;
    /// Closes an open directory.
    RELEASEDIR = 29;
    /// Makes a directory durable (7.2).
    FSYNCDIR = 30;
    /// Asks who holds a lock (7.7).
    GETLK = 31;
    /// Takes or drops a lock without waiting (7.7).
    SETLK = 32;
    /// Takes a lock, waiting for it (7.7).
    SETLKW = 33;
    /// Asks whether access is granted (7.3).
    ACCESS = 34;
    /// Makes and opens a file in one step (7.3).
    CREATE = 35;
    /// Asks the server to give up on a request (7.7).
    INTERRUPT = 36;
    /// Maps a file's block to a device's (7.8).
    BMAP = 37;
    /// Ends the connection (7.8).
    DESTROY = 38;
    /// Device control (7.11).
    IOCTL = 39;
    /// Asks for an open file's readiness (7.11).
    POLL = 40;
    /// Answers a server's `RETRIEVE` notification (7.15).
    NOTIFY_REPLY = 41;
    /// Drops references on many inodes; has no reply (7.16).
    BATCH_FORGET = 42;
    /// Allocates or punches a part of a file (7.19).
    FALLOCATE = 43;
    /// Reads entries with their attributes, taking references (7.21).
    READDIRPLUS = 44;
    /// Moves a name, with flags (7.23).
    RENAME2 = 45;
    /// Finds data or a hole (7.24).
    LSEEK = 46;
    /// Copies between files on the server (7.28).
    COPY_FILE_RANGE = 47;
    /// Maps a part of a file into the DAX window (7.31).
    SETUPMAPPING = 48;
    /// Unmaps parts of the DAX window (7.31).
    REMOVEMAPPING = 49;
    /// Makes the whole file system durable (7.34).
    SYNCFS = 50;
    /// Makes and opens a file without a name (7.37).
    TMPFILE = 51;
    /// Reads an inode's extended attributes of `statx` (7.39).
    STATX = 52;
    /// `COPY_FILE_RANGE` with a 64-bit result (7.45).
    COPY_FILE_RANGE_64 = 53;
    /// Opens a CUSE connection, a character device in user space: named here, not spoken.
    CUSE_INIT = 4096;
}

impl fmt::Display for Opcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "opcode {}", self.0),
        }
    }
}

impl fmt::Debug for Opcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "Opcode({} {name})", self.0),
            None => write!(f, "Opcode({})", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::format;

    use super::*;

    #[test]
    fn every_code_up_to_53_but_two_has_a_name() {
        let unnamed: std::vec::Vec<u32> = (1..=53).filter(|&code| Opcode(code).name().is_none()).collect();
        assert_eq!(unnamed, [7, 19]);
        assert_eq!(format!("{} {0:?}", Opcode::LOOKUP), "LOOKUP Opcode(1 LOOKUP)");
        assert_eq!(format!("{} {0:?}", Opcode(54)), "opcode 54 Opcode(54)");
    }
}
