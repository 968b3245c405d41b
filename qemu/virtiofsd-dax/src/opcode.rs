//! FUSE's requests by number, as `linux/fuse.h` has them.

/// `FUSE_FORGET`.
pub const FORGET: u32 = 2;
/// `FUSE_SETATTR`.
pub const SETATTR: u32 = 4;
/// `FUSE_OPEN`.
pub const OPEN: u32 = 14;
/// `FUSE_READ`.
pub const READ: u32 = 15;
/// `FUSE_INIT`.
pub const INIT: u32 = 26;
/// `FUSE_CREATE`.
pub const CREATE: u32 = 35;
/// `FUSE_INTERRUPT`.
pub const INTERRUPT: u32 = 36;
/// `FUSE_DESTROY`.
pub const DESTROY: u32 = 38;
/// `FUSE_BATCH_FORGET`.
pub const BATCH_FORGET: u32 = 42;
/// `FUSE_FALLOCATE`.
pub const FALLOCATE: u32 = 43;
/// `FUSE_COPY_FILE_RANGE`.
pub const COPY_FILE_RANGE: u32 = 47;
/// `FUSE_SETUPMAPPING`.
pub const SETUPMAPPING: u32 = 48;
/// `FUSE_REMOVEMAPPING`.
pub const REMOVEMAPPING: u32 = 49;

/// How many numbers have a name, 0 included.
pub const COUNT: usize = 54;

/// The names without their common prefix; an empty one is not assigned.
#[rustfmt::skip]
const NAMES: [&str; COUNT] = [
    "", "LOOKUP", "FORGET", "GETATTR", "SETATTR", "READLINK", "SYMLINK", "",
    "MKNOD", "MKDIR", "UNLINK", "RMDIR", "RENAME", "LINK", "OPEN", "READ",
    "WRITE", "STATFS", "RELEASE", "", "FSYNC", "SETXATTR", "GETXATTR", "LISTXATTR",
    "REMOVEXATTR", "FLUSH", "INIT", "OPENDIR", "READDIR", "RELEASEDIR", "FSYNCDIR", "GETLK",
    "SETLK", "SETLKW", "ACCESS", "CREATE", "INTERRUPT", "BMAP", "DESTROY", "IOCTL",
    "POLL", "NOTIFY_REPLY", "BATCH_FORGET", "FALLOCATE", "READDIRPLUS", "RENAME2", "LSEEK", "COPY_FILE_RANGE",
    "SETUPMAPPING", "REMOVEMAPPING", "SYNCFS", "TMPFILE", "STATX", "COPY_FILE_RANGE_64",
];

/// The name of a request, `UNKNOWN` for a number that has none.
pub fn name(opcode: u32) -> &'static str {
    match usize::try_from(opcode).ok().and_then(|index| NAMES.get(index)) {
        Some(name) if !name.is_empty() => name,
        _ => "UNKNOWN",
    }
}

/// Whether a request cannot do without room for a reply.
pub fn has_reply(opcode: u32) -> bool {
    !matches!(opcode, FORGET | BATCH_FORGET | INTERRUPT | DESTROY)
}

/// The number of a request by its name, in any case.
pub fn by_name(name: &str) -> Option<u32> {
    let index = NAMES.iter().position(|known| !known.is_empty() && known.eq_ignore_ascii_case(name))?;
    u32::try_from(index).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree() {
        assert_eq!(name(SETATTR), "SETATTR");
        assert_eq!(name(OPEN), "OPEN");
        assert_eq!(name(INIT), "INIT");
        assert_eq!(name(CREATE), "CREATE");
        assert_eq!(name(DESTROY), "DESTROY");
        assert_eq!(name(FALLOCATE), "FALLOCATE");
        assert_eq!(name(COPY_FILE_RANGE), "COPY_FILE_RANGE");
        assert_eq!(name(SETUPMAPPING), "SETUPMAPPING");
        assert_eq!(name(REMOVEMAPPING), "REMOVEMAPPING");
        assert_eq!(name(u32::MAX), "UNKNOWN");
        assert_eq!(by_name("setupmapping"), Some(SETUPMAPPING));
        assert_eq!(by_name(""), None);
    }
}
