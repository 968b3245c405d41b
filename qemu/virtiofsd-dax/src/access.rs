//! Who may have a file mapped, and which files Linux should use DAX for.
//!
//! The front end knows no read-only mappings: whoever has a file mapped can write it. So a mapping is for those who
//! may do both, and a guest that announces DAX for an inode must be right for every user that it lets read.

/// Bits of a mode: the type of the file, and that of a regular one.
const TYPE: u32 = libc::S_IFMT;
const REGULAR: u32 = libc::S_IFREG;

/// Reading and writing, as bits of one class of a mode.
const READ_WRITE: u32 = 0o6;

/// What a decision needs to know of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Type and permissions, as in `st_mode`.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Size in bytes.
    pub size: u64,
}

/// Whether it is a regular file; nothing else can be mapped.
pub const fn is_regular(mode: u32) -> bool {
    mode & TYPE == REGULAR
}

/// Whether a guest's user may both read and write the file. The request names one group only, so membership in
/// others grants nothing.
pub const fn may_map(file: &Attributes, uid: u32, gid: u32) -> bool {
    let class = if uid == 0 {
        return true;
    } else if uid == file.uid {
        file.mode >> 6
    } else if gid == file.gid {
        file.mode >> 3
    } else {
        file.mode
    };
    class & READ_WRITE == READ_WRITE
}

/// Whether everybody who may read the file may also have it mapped, whatever groups he is in.
pub const fn all_readers_may_map(mode: u32) -> bool {
    let others = mode & 0o066;
    is_regular(mode) && mode & 0o600 == 0o600 && (others == 0 || others == 0o066)
}

/// Whether a file is announced to the guest as one to use DAX for: all who read it may map it, and it can be mapped
/// to its end.
pub const fn qualifies(file: &Attributes) -> bool {
    all_readers_may_map(file.mode) && file.size > 0 && file.size.is_multiple_of(crate::window::PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(mode: u32) -> Attributes {
        Attributes { mode: REGULAR | mode, uid: 1000, gid: 100, size: 8192 }
    }

    #[test]
    fn a_mapping_is_for_those_who_may_read_and_write() {
        assert!(may_map(&file(0o600), 1000, 100));
        assert!(!may_map(&file(0o400), 1000, 100));
        assert!(!may_map(&file(0o600), 1001, 100));
        assert!(may_map(&file(0o660), 1001, 100));
        assert!(!may_map(&file(0o644), 1001, 100));
        assert!(!may_map(&file(0o644), 1001, 101));
        assert!(may_map(&file(0o666), 1001, 101));
        assert!(!may_map(&file(0o642), 1001, 101), "writing is not reading");
        assert!(may_map(&file(0o000), 0, 0), "root may");
    }

    #[test]
    fn the_owner_is_judged_as_the_owner_even_when_others_may_more() {
        assert!(!may_map(&file(0o466), 1000, 100));
        assert!(!may_map(&file(0o606), 1001, 100));
    }

    #[test]
    fn only_files_that_suit_every_reader_qualify() {
        assert!(qualifies(&file(0o600)));
        assert!(qualifies(&file(0o666)));
        assert!(qualifies(&file(0o777)));
        assert!(!qualifies(&file(0o644)), "others read but do not write");
        assert!(!qualifies(&file(0o660)), "groups beyond the first are not known");
        assert!(!qualifies(&file(0o400)));
        assert!(!qualifies(&Attributes { size: 0, ..file(0o600) }));
        assert!(!qualifies(&Attributes { size: 4097, ..file(0o600) }));
        assert!(!qualifies(&Attributes { mode: libc::S_IFDIR | 0o600, ..file(0) }));
    }
}
