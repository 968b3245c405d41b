//! Flags. Every type keeps the bits that it does not know, so that nothing is lost between reading and writing.

use bitflags::bitflags;

bitflags! {
    /// What a client offers and a server grants in `INIT`: both flag words joined, `flags` below and `flags2` above
    /// (from 7.36, with [`INIT_EXT`](Self::INIT_EXT)).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct InitFlags: u64 {
        /// Several reads of a file may be in flight at once (7.6).
        const ASYNC_READ = 1 << 0;
        /// The server does POSIX locks (7.7).
        const POSIX_LOCKS = 1 << 1;
        /// Handles with attribute requests; never used by Linux (7.9).
        const FILE_OPS = 1 << 2;
        /// The server truncates on `OPEN` with [`OpenFlags::TRUNC`] by itself (7.9).
        const ATOMIC_O_TRUNC = 1 << 3;
        /// The server resolves `.` and `..` in `LOOKUP` (7.10).
        const EXPORT_SUPPORT = 1 << 4;
        /// Writes may be larger than 4096 bytes (7.9).
        const BIG_WRITES = 1 << 5;
        /// The client leaves the umask to the server (7.12).
        const DONT_MASK = 1 << 6;
        /// Splice from the device, for servers behind `/dev/fuse` (7.14).
        const SPLICE_WRITE = 1 << 7;
        /// Splice that moves pages, for servers behind `/dev/fuse` (7.14).
        const SPLICE_MOVE = 1 << 8;
        /// Splice to the device, for servers behind `/dev/fuse` (7.14).
        const SPLICE_READ = 1 << 9;
        /// The server does BSD locks (7.17).
        const FLOCK_LOCKS = 1 << 10;
        /// `IOCTL` works on directories (7.18).
        const HAS_IOCTL_DIR = 1 << 11;
        /// Cached data is dropped when attributes show a change (7.20).
        const AUTO_INVAL_DATA = 1 << 12;
        /// The server does `READDIRPLUS` (7.21).
        const DO_READDIRPLUS = 1 << 13;
        /// The client chooses between `READDIR` and `READDIRPLUS` (7.21).
        const READDIRPLUS_AUTO = 1 << 14;
        /// Direct I/O may be in flight several times at once (7.22).
        const ASYNC_DIO = 1 << 15;
        /// The client caches writes and owns size and times of files (7.23).
        const WRITEBACK_CACHE = 1 << 16;
        /// The server may answer `ENOSYS` to `OPEN`: files need no opening (7.23).
        const NO_OPEN_SUPPORT = 1 << 17;
        /// `LOOKUP` and `READDIR` of a directory may run side by side (7.25).
        const PARALLEL_DIROPS = 1 << 18;
        /// The server drops set-user-id bits and capabilities on changes (7.26).
        const HANDLE_KILLPRIV = 1 << 19;
        /// The server does POSIX access control lists (7.26).
        const POSIX_ACL = 1 << 20;
        /// Reading an aborted connection gives an error of its own, for servers behind `/dev/fuse` (7.27).
        const ABORT_ERROR = 1 << 21;
        /// `max_pages` in the answer is valid (7.28).
        const MAX_PAGES = 1 << 22;
        /// Targets of symbolic links may be cached (7.28).
        const CACHE_SYMLINKS = 1 << 23;
        /// The server may answer `ENOSYS` to `OPENDIR`: directories need no opening (7.29).
        const NO_OPENDIR_SUPPORT = 1 << 24;
        /// Cached data is dropped only on the server's word (7.30).
        const EXPLICIT_INVAL_DATA = 1 << 25;
        /// `map_alignment` in the answer is valid (7.31). Servers that map without ever granting this are common: it
        /// must not be taken as the sign that DAX works.
        const MAP_ALIGNMENT = 1 << 26;
        /// The client understands [`AttrFlags::SUBMOUNT`] (7.32).
        const SUBMOUNTS = 1 << 27;
        /// The server drops set-user-id bits with the rules of the kernel (7.33).
        const HANDLE_KILLPRIV_V2 = 1 << 28;
        /// `SETXATTR` has its longer form with flags (7.33).
        const SETXATTR_EXT = 1 << 29;
        /// `flags2` is valid (7.36).
        const INIT_EXT = 1 << 30;
        /// Reserved: never sent.
        const INIT_RESERVED = 1 << 31;
        /// Requests that create carry security contexts (7.36).
        const SECURITY_CTX = 1 << 32;
        /// [`AttrFlags::DAX`] says which inodes are to use DAX (7.36).
        const HAS_INODE_DAX = 1 << 33;
        /// Requests that create carry the supplementary group that matches the parent directory's (7.38).
        const CREATE_SUPP_GROUP = 1 << 34;
        /// The client understands [`InvalEntryFlags::EXPIRE_ONLY`] (7.38).
        const HAS_EXPIRE_ONLY = 1 << 35;
        /// Files opened with [`FopenFlags::DIRECT_IO`] may be mapped shared (7.39).
        const DIRECT_IO_ALLOW_MMAP = 1 << 36;
        /// The server may tie open files to files of the host's kernel (7.40).
        const PASSTHROUGH = 1 << 37;
        /// The server cannot resolve nodes it forgot: no export over NFS (7.40).
        const NO_EXPORT_SUPPORT = 1 << 38;
        /// The client can send pending requests again (7.40).
        const HAS_RESEND = 1 << 39;
        /// Mounts may map user ids (7.41).
        const ALLOW_IDMAP = 1 << 40;
        /// Requests travel over `io_uring`, for servers behind `/dev/fuse` (7.42).
        const OVER_IO_URING = 1 << 41;
        /// `request_timeout` in the answer is valid (7.43).
        const REQUEST_TIMEOUT = 1 << 42;
        const _ = !0;
    }
}

impl InitFlags {
    /// Joins the two words of `INIT`. The upper one counts only with [`INIT_EXT`](Self::INIT_EXT).
    #[must_use]
    pub const fn from_words(flags: u32, flags2: u32) -> Self {
        let low = Self::from_bits_retain(flags as u64);
        if low.contains(Self::INIT_EXT) { Self::from_bits_retain(flags as u64 | (flags2 as u64) << 32) } else { low }
    }

    /// The two words of `INIT`, `flags` and `flags2`.
    #[must_use]
    pub const fn to_words(self) -> (u32, u32) {
        (self.bits() as u32, (self.bits() >> 32) as u32)
    }
}

// The values of these four depend on the architecture of the client, which the server takes as its own.
const O_DIRECT: u32 = if cfg!(any(target_arch = "aarch64", target_arch = "arm")) { 0o200_000 } else { 0o40_000 };
const O_LARGEFILE: u32 = if cfg!(any(target_arch = "aarch64", target_arch = "arm")) { 0o400_000 } else { 0o100_000 };
const O_DIRECTORY: u32 = if cfg!(any(target_arch = "aarch64", target_arch = "arm")) { 0o40_000 } else { 0o200_000 };
const O_NOFOLLOW: u32 = if cfg!(any(target_arch = "aarch64", target_arch = "arm")) { 0o100_000 } else { 0o400_000 };

bitflags! {
    /// How a file is opened: Linux's `O_*`. The access mode is a number in the lowest two bits, not a set of flags:
    /// see [`OpenFlags::access_mode`].
    ///
    /// `DIRECT`, `LARGEFILE`, `DIRECTORY` and `NOFOLLOW` differ between architectures, and servers read them as their
    /// own; here they have the values of the architecture compiled for (ARM's, or those of x86, RISC-V and s390x).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct OpenFlags: u32 {
        /// Write only.
        const WRONLY = 1;
        /// Read and write.
        const RDWR = 2;
        /// Make the file if it is missing.
        const CREAT = 0o100;
        /// Fail if the file is there.
        const EXCL = 0o200;
        /// Don't become the controlling terminal.
        const NOCTTY = 0o400;
        /// Cut the file to length zero.
        const TRUNC = 0o1000;
        /// Every write goes to the end.
        const APPEND = 0o2000;
        /// Don't wait.
        const NONBLOCK = 0o4000;
        /// Every write is durable, data only.
        const DSYNC = 0o10000;
        /// Signal when ready.
        const ASYNC = 0o20000;
        /// Past the page cache.
        const DIRECT = O_DIRECT;
        /// Sizes of 64 bits; Linux sets it in every request of a 64-bit client.
        const LARGEFILE = O_LARGEFILE;
        /// Only a directory.
        const DIRECTORY = O_DIRECTORY;
        /// Not through a symbolic link.
        const NOFOLLOW = O_NOFOLLOW;
        /// Leave the access time.
        const NOATIME = 0o1_000_000;
        /// Close on exec.
        const CLOEXEC = 0o2_000_000;
        /// Every write is durable, with metadata (together with `DSYNC`).
        const SYNC = 0o4_000_000;
        /// Only a place in the tree.
        const PATH = 0o10_000_000;
        /// A file without a name (together with `DIRECTORY`).
        const TMPFILE = 0o20_000_000;
        const _ = !0;
    }
}

/// What an open file may be used for: the lowest two bits of [`OpenFlags`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AccessMode {
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Both.
    ReadWrite,
    /// The fourth value, 3, which Linux uses for files that are opened for device control only.
    Neither,
}

impl OpenFlags {
    /// Read only: no bit set.
    pub const RDONLY: Self = Self::empty();

    /// The access mode.
    #[must_use]
    pub const fn access_mode(self) -> AccessMode {
        match self.bits() & 3 {
            0 => AccessMode::Read,
            1 => AccessMode::Write,
            2 => AccessMode::ReadWrite,
            _ => AccessMode::Neither,
        }
    }
}

bitflags! {
    /// What a server says about a file that it opened (`fuse_open_out.open_flags`).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct FopenFlags: u32 {
        /// No page cache for this open file (7.2).
        const DIRECT_IO = 1 << 0;
        /// What is cached stays valid (7.2).
        const KEEP_CACHE = 1 << 1;
        /// The file has no position to set (7.10).
        const NONSEEKABLE = 1 << 2;
        /// The directory's entries may be cached (7.28).
        const CACHE_DIR = 1 << 3;
        /// The file has no position at all (7.31).
        const STREAM = 1 << 4;
        /// No `FLUSH` on close, unless the client caches writes (7.35).
        const NOFLUSH = 1 << 5;
        /// Direct writes to one file may run side by side (7.38).
        const PARALLEL_DIRECT_WRITES = 1 << 6;
        /// Reads and writes go to the file that `backing_id` names (7.40).
        const PASSTHROUGH = 1 << 7;
        const _ = !0;
    }

    /// What a client asks of an open beyond `O_*` (`fuse_open_in.open_flags`, 7.33).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct OpenExtraFlags: u32 {
        /// Drop set-user-id and set-group-id if executable.
        const KILL_SUIDGID = 1 << 0;
        const _ = !0;
    }

    /// `fuse_attr.flags` (7.32).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct AttrFlags: u32 {
        /// The root of a file system that is mounted on the server.
        const SUBMOUNT = 1 << 0;
        /// Use DAX for this inode, when the choice is by inode (7.36).
        const DAX = 1 << 1;
        const _ = !0;
    }

    /// Which fields of a `SETATTR` count (`fuse_setattr_in.valid`).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct SetattrValid: u32 {
        /// `mode`.
        const MODE = 1 << 0;
        /// `uid`.
        const UID = 1 << 1;
        /// `gid`.
        const GID = 1 << 2;
        /// `size`.
        const SIZE = 1 << 3;
        /// `atime`.
        const ATIME = 1 << 4;
        /// `mtime`.
        const MTIME = 1 << 5;
        /// `fh` (7.3).
        const FH = 1 << 6;
        /// The access time becomes the server's present (7.9).
        const ATIME_NOW = 1 << 7;
        /// The modification time becomes the server's present (7.9).
        const MTIME_NOW = 1 << 8;
        /// `lock_owner` (7.9).
        const LOCKOWNER = 1 << 9;
        /// `ctime` (7.23).
        const CTIME = 1 << 10;
        /// Drop set-user-id and set-group-id (7.33).
        const KILL_SUIDGID = 1 << 11;
        const _ = !0;
    }

    /// `fuse_getattr_in.getattr_flags` (7.9).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct GetattrFlags: u32 {
        /// `fh` counts.
        const FH = 1 << 0;
        const _ = !0;
    }

    /// `fuse_release_in.release_flags` (7.8).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct ReleaseFlags: u32 {
        /// Do what `FLUSH` does first.
        const FLUSH = 1 << 0;
        /// Drop the BSD lock of `lock_owner` (7.17).
        const FLOCK_UNLOCK = 1 << 1;
        const _ = !0;
    }

    /// `fuse_read_in.read_flags` (7.9).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct ReadFlags: u32 {
        /// `lock_owner` counts.
        const LOCKOWNER = 1 << 1;
        const _ = !0;
    }

    /// `fuse_write_in.write_flags` (7.9).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct WriteFlags: u32 {
        /// Out of the client's cache; the handle is a guess.
        const CACHE = 1 << 0;
        /// `lock_owner` counts.
        const LOCKOWNER = 1 << 1;
        /// Drop set-user-id and set-group-id (7.31).
        const KILL_SUIDGID = 1 << 2;
        const _ = !0;
    }

    /// `fuse_fsync_in.fsync_flags`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct FsyncFlags: u32 {
        /// Data only.
        const FDATASYNC = 1 << 0;
        const _ = !0;
    }

    /// Flags of `RENAME2`: Linux's `RENAME_*`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct RenameFlags: u32 {
        /// Fail if the new name is there.
        const NOREPLACE = 1 << 0;
        /// Swap the two.
        const EXCHANGE = 1 << 1;
        /// Leave a whiteout at the old name.
        const WHITEOUT = 1 << 2;
        const _ = !0;
    }

    /// What `FALLOCATE` does: Linux's `FALLOC_FL_*`. No bit set allocates and grows the file.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct FallocateMode: u32 {
        /// Leave the size.
        const KEEP_SIZE = 1 << 0;
        /// Make a hole; goes with `KEEP_SIZE`.
        const PUNCH_HOLE = 1 << 1;
        /// Expose stale data; never granted.
        const NO_HIDE_STALE = 1 << 2;
        /// Take the range out and close the gap.
        const COLLAPSE_RANGE = 1 << 3;
        /// Make the range read as zeros.
        const ZERO_RANGE = 1 << 4;
        /// Put a hole in and move the rest up.
        const INSERT_RANGE = 1 << 5;
        /// Unshare shared blocks.
        const UNSHARE_RANGE = 1 << 6;
        const _ = !0;
    }

    /// `fuse_setupmapping_in.flags` (7.31).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct MapFlags: u64 {
        /// The mapping may be written to.
        const WRITE = 1 << 0;
        /// The mapping may be read from. Some servers answer `EINVAL` without it: set it always.
        const READ = 1 << 1;
        const _ = !0;
    }

    /// `fuse_lk_in.lk_flags` (7.9).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct LockFlags: u32 {
        /// A BSD lock, on the whole file.
        const FLOCK = 1 << 0;
        const _ = !0;
    }

    /// What `ACCESS` asks for: `R_OK` and so on. No bit set asks for existence.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct AccessMask: u32 {
        /// Executing, or searching a directory.
        const EXECUTE = 1 << 0;
        /// Writing.
        const WRITE = 1 << 1;
        /// Reading.
        const READ = 1 << 2;
        const _ = !0;
    }

    /// `fuse_setxattr_in.flags`: Linux's `XATTR_*`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct XattrFlags: u32 {
        /// Fail if the attribute is there.
        const CREATE = 1 << 0;
        /// Fail if it is not.
        const REPLACE = 1 << 1;
        const _ = !0;
    }

    /// `fuse_setxattr_in.setxattr_flags` (7.33, with [`InitFlags::SETXATTR_EXT`]).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct SetxattrFlags: u32 {
        /// Clear set-group-id when an access control list is set.
        const ACL_KILL_SGID = 1 << 0;
        const _ = !0;
    }

    /// `fuse_ioctl_in.flags` and `fuse_ioctl_out.flags` (7.11).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct IoctlFlags: u32 {
        /// A 32-bit program on a 64-bit kernel.
        const COMPAT = 1 << 0;
        /// The command's encoding says nothing about its data; the server may ask for another try.
        const UNRESTRICTED = 1 << 1;
        /// In a reply: try again with these vectors.
        const RETRY = 1 << 2;
        /// The argument is of a 32-bit program (7.16).
        const IOCTL_32BIT = 1 << 3;
        /// On a directory (7.18).
        const DIR = 1 << 4;
        /// An x32 program (7.30).
        const COMPAT_X32 = 1 << 5;
        const _ = !0;
    }

    /// `fuse_poll_in.flags` (7.11).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct PollFlags: u32 {
        /// Send a [`Poll`](crate::Notification::Poll) notification when that changes.
        const SCHEDULE_NOTIFY = 1 << 0;
        const _ = !0;
    }

    /// Readiness of a file: Linux's `POLL*`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct PollEvents: u32 {
        /// Data to read.
        const IN = 0x1;
        /// Urgent data to read.
        const PRI = 0x2;
        /// Room to write.
        const OUT = 0x4;
        /// An error.
        const ERR = 0x8;
        /// The other side hung up.
        const HUP = 0x10;
        /// Not open.
        const NVAL = 0x20;
        /// Normal data to read.
        const RDNORM = 0x40;
        /// Out-of-band data to read.
        const RDBAND = 0x80;
        /// Room to write normal data.
        const WRNORM = 0x100;
        /// Room to write out-of-band data.
        const WRBAND = 0x200;
        /// The other side closed its half.
        const RDHUP = 0x2000;
        const _ = !0;
    }

    /// `fuse_notify_inval_entry_out.flags` (7.38).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct InvalEntryFlags: u32 {
        /// Let the entry's time run out, but keep it while it is in use.
        const EXPIRE_ONLY = 1 << 0;
        const _ = !0;
    }

    /// Which fields of a `STATX` are asked for or present: Linux's `STATX_*`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct StatxMask: u32 {
        /// The file type in `mode`.
        const TYPE = 0x1;
        /// The permissions in `mode`.
        const MODE = 0x2;
        /// `nlink`.
        const NLINK = 0x4;
        /// `uid`.
        const UID = 0x8;
        /// `gid`.
        const GID = 0x10;
        /// `atime`.
        const ATIME = 0x20;
        /// `mtime`.
        const MTIME = 0x40;
        /// `ctime`.
        const CTIME = 0x80;
        /// `ino`.
        const INO = 0x100;
        /// `size`.
        const SIZE = 0x200;
        /// `blocks`.
        const BLOCKS = 0x400;
        /// All of the above: what `stat` knows.
        const BASIC_STATS = 0x7ff;
        /// `btime`, the time of birth.
        const BTIME = 0x800;
        const _ = !0;
    }
}
