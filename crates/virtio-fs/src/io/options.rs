//! How a file is opened.

use fuse_proto::{Errno, OpenFlags};

use crate::Error;

/// The flags that options of their own say: what is open for what, O_CREAT, O_EXCL, O_TRUNC and O_APPEND.
const OWN_FLAGS: u32 =
    0o3 | OpenFlags::CREAT.bits() | OpenFlags::EXCL.bits() | OpenFlags::TRUNC.bits() | OpenFlags::APPEND.bits();

/// How a file is opened, in the manner of `std::fs::OpenOptions`.
///
/// ```
/// use virtio_fs::OpenOptions;
///
/// let append = OpenOptions::new().write(true).create(true).append(true);
/// assert!(append.is_writable() && !append.is_readable());
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct OpenOptions {
    read: bool,
    write: bool,
    append: bool,
    truncate: bool,
    create: bool,
    create_new: bool,
    no_follow: bool,
    mode: u32,
    extra: u32,
}

impl OpenOptions {
    /// Nothing set; new files get mode 0o644.
    pub const fn new() -> Self {
        Self {
            read: false,
            write: false,
            append: false,
            truncate: false,
            create: false,
            create_new: false,
            no_follow: false,
            mode: 0o644,
            extra: 0,
        }
    }

    /// For reading.
    #[must_use]
    pub const fn read(mut self, yes: bool) -> Self {
        self.read = yes;
        self
    }

    /// For writing.
    #[must_use]
    pub const fn write(mut self, yes: bool) -> Self {
        self.write = yes;
        self
    }

    /// Each write goes to the end of the file.
    #[must_use]
    pub const fn append(mut self, yes: bool) -> Self {
        self.append = yes;
        self
    }

    /// Cut to 0 bytes when opened.
    #[must_use]
    pub const fn truncate(mut self, yes: bool) -> Self {
        self.truncate = yes;
        self
    }

    /// Created if it does not exist.
    #[must_use]
    pub const fn create(mut self, yes: bool) -> Self {
        self.create = yes;
        self
    }

    /// Created; an error if it exists.
    #[must_use]
    pub const fn create_new(mut self, yes: bool) -> Self {
        self.create_new = yes;
        self
    }

    /// A symbolic link as the last component is an error (ELOOP).
    #[must_use]
    pub const fn no_follow(mut self, yes: bool) -> Self {
        self.no_follow = yes;
        self
    }

    /// Permission bits of a new file.
    #[must_use]
    pub const fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Further open flags of the protocol (O_DSYNC, O_NOATIME, ...), in the numbers of x86 Linux.
    ///
    /// With O_DSYNC or O_SYNC each write is durable when it returns; stores through mapped views are not. O_TRUNC, O_APPEND and
    /// O_CREAT (with O_EXCL) are as [`truncate`](Self::truncate), [`append`](Self::append), [`create`](Self::create) and
    /// [`create_new`](Self::create_new); what is open for reading and writing these flags do not say.
    #[must_use]
    pub const fn custom_flags(mut self, flags: u32) -> Self {
        let creates = flags & OpenFlags::CREAT.bits() != 0;
        self.truncate |= flags & OpenFlags::TRUNC.bits() != 0;
        self.append |= flags & OpenFlags::APPEND.bits() != 0;
        self.create |= creates;
        self.create_new |= creates && flags & OpenFlags::EXCL.bits() != 0;
        self.extra = flags & !OWN_FLAGS;
        self
    }

    /// Whether it can be read.
    pub const fn is_readable(&self) -> bool {
        self.read
    }

    /// Whether it can be written.
    pub const fn is_writable(&self) -> bool {
        self.write || self.append
    }

    pub(crate) const fn is_append(&self) -> bool {
        self.append
    }

    /// Whether a write is durable when it returns (O_DSYNC; O_SYNC has its bit too).
    pub(crate) const fn is_dsync(&self) -> bool {
        self.extra & OpenFlags::DSYNC.bits() != 0
    }

    /// Whether all metadata of a write is durable when it returns (O_SYNC).
    pub(crate) const fn is_sync(&self) -> bool {
        self.extra & OpenFlags::SYNC.bits() != 0
    }

    pub(crate) const fn creates(&self) -> bool {
        self.create || self.create_new
    }

    pub(crate) const fn must_create(&self) -> bool {
        self.create_new
    }

    pub(crate) const fn follows(&self) -> bool {
        !self.no_follow && !self.create_new
    }

    pub(crate) const fn permissions(&self) -> u32 {
        self.mode
    }

    pub(crate) const fn truncates(&self) -> bool {
        self.truncate
    }

    /// The flags for OPEN and CREATE; O_TRUNC among them only where the server cuts the file itself.
    pub(crate) fn flags(&self, atomic_trunc: bool) -> OpenFlags {
        let mut flags = match (self.read, self.is_writable()) {
            (true, true) => OpenFlags::RDWR,
            (false, true) => OpenFlags::WRONLY,
            _ => OpenFlags::RDONLY,
        };
        if self.append {
            flags |= OpenFlags::APPEND;
        }
        if self.truncate && atomic_trunc {
            flags |= OpenFlags::TRUNC;
        }
        if self.create_new {
            flags |= OpenFlags::EXCL;
        }
        flags | OpenFlags::from_bits_retain(self.extra)
    }

    /// Refuses combinations that make no sense, as POSIX does.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if !self.read && !self.is_writable() {
            return Err(Error::refused(Errno::EINVAL, "a file opened neither for reading nor for writing"));
        }
        if (self.truncate || self.creates()) && !self.is_writable() {
            return Err(Error::refused(Errno::EINVAL, "a file created or truncated but not opened for writing"));
        }
        if self.truncate && self.append {
            return Err(Error::refused(Errno::EINVAL, "a file both truncated and appended to"));
        }
        Ok(())
    }
}
