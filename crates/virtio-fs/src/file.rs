//! Open files.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use dax_window::Stream;
use fuse_proto::{Attr, Errno, FallocateMode, FileHandle, FopenFlags, OpenFlags};
use lock_api::{Mutex, RawMutex};

use crate::inode::Inode;
use crate::leave::UnlinkedGuard;
use crate::map::Map;
use crate::shared::Shared;
use crate::{Credentials, Error};

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
    pub(crate) mode: u32,
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
    #[must_use]
    pub const fn custom_flags(mut self, flags: u32) -> Self {
        self.extra = flags;
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

    pub(crate) const fn creates(&self) -> bool {
        self.create || self.create_new
    }

    pub(crate) const fn must_create(&self) -> bool {
        self.create_new
    }

    pub(crate) const fn follows(&self) -> bool {
        !self.no_follow && !self.create_new
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

/// An open file. Closing is dropping it; [`File::close`] tells errors that a drop cannot.
///
/// All operations take `&self` and can be called from several threads. Reads and writes of the same bytes at the same
/// time are as atomic as the memory of the host: not at all beyond a machine word.
pub struct File<R: RawMutex + Send + Sync + 'static> {
    pub(crate) shared: Arc<Shared<R>>,
    pub(crate) inode: Arc<Inode<R>>,
    /// `None` where the server needs no OPEN.
    pub(crate) fh: Option<FileHandle>,
    pub(crate) who: Credentials,
    pub(crate) options: OpenOptions,
    /// The server wants no caching, which excludes mappings (FOPEN_DIRECT_IO).
    pub(crate) direct: bool,
    /// Its name among the owners of locks.
    pub(crate) lock_owner: u64,
    stream: Mutex<R, Stream>,
    pub(crate) cursor: core::sync::atomic::AtomicU64,
    leave: UnlinkedGuard<R>,
}

impl<R: RawMutex + Send + Sync + 'static> core::fmt::Debug for File<R> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("File")
            .field("nodeid", &self.inode.nodeid)
            .field("size", &self.inode.size())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl<R: RawMutex + Send + Sync + 'static> Drop for File<R> {
    fn drop(&mut self) {
        self.leave.from(&self.inode);
        if let Some(fh) = self.fh.take()
            && self.shared.check_mounted().is_ok()
            && let Err(error) = self.shared.op_release(self.who, self.inode.nodeid, fh, self.flags(), false)
        {
            log::warn!("virtio-fs: RELEASE was not sent: {error}");
        }
    }
}

impl<R: RawMutex + Send + Sync + 'static> File<R> {
    pub(crate) fn new(
        shared: Arc<Shared<R>>,
        inode: Arc<Inode<R>>,
        opened: Option<(FileHandle, FopenFlags)>,
        who: Credentials,
        options: OpenOptions,
    ) -> Self {
        let lock_owner = shared.connection.next_unique();
        let leave = UnlinkedGuard::new(&shared, &inode);
        let direct = opened.is_some_and(|(_, flags)| flags.contains(FopenFlags::DIRECT_IO));
        Self {
            shared,
            inode,
            fh: opened.map(|(fh, _)| fh),
            who,
            options,
            direct,
            lock_owner,
            stream: Mutex::new(Stream::new()),
            cursor: core::sync::atomic::AtomicU64::new(0),
            leave,
        }
    }

    pub(crate) fn flags(&self) -> OpenFlags {
        self.options.flags(false)
    }

    /// What the window remembers of this file's accesses.
    pub(crate) fn stream(&self) -> Stream {
        *self.stream.lock()
    }

    /// Keeps it. Two accesses at the same time: the later one counts, which costs speed at most.
    pub(crate) fn keep_stream(&self, stream: Stream) {
        *self.stream.lock() = stream;
    }

    /// The file's size in bytes, fetched again when the server no longer vouches for it.
    ///
    /// # Errors
    ///
    /// As any request.
    pub fn len(&self) -> Result<u64, Error> {
        self.shared.attr(self.who, &self.inode, self.fh)?;
        Ok(self.inode.size())
    }

    /// Whether the file has no bytes.
    ///
    /// # Errors
    ///
    /// As any request.
    pub fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.len()? == 0)
    }

    /// The file's attributes.
    ///
    /// # Errors
    ///
    /// As any request.
    pub fn attr(&self) -> Result<Attr, Error> {
        self.shared.check_mounted()?;
        self.shared.attr(self.who, &self.inode, self.fh)
    }

    /// Reads at `offset`; returns how many bytes, fewer than asked for only at the end of the file.
    ///
    /// Bytes that are mapped are copied out of the window with no request; the rest of a file that cannot be mapped is
    /// read by READ.
    ///
    /// # Errors
    ///
    /// EBADF if the file is not open for reading; otherwise what the server says.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Error> {
        self.shared.check_mounted()?;
        if !self.options.is_readable() {
            return Err(Error::refused(Errno::EBADF, "the file is not open for reading"));
        }
        self.shared.read_file(self, buffer, offset)
    }

    /// Writes at `offset`, or at the end if the file was opened for appending; returns how many bytes.
    ///
    /// A write inside the file goes through the window; one that reaches past its end goes to the host as a whole, by
    /// WRITE.
    ///
    /// # Errors
    ///
    /// EBADF if the file is not open for writing; otherwise what the server says.
    pub fn write_at(&self, buffer: &[u8], offset: u64) -> Result<usize, Error> {
        self.shared.check_mounted()?;
        if !self.options.is_writable() {
            return Err(Error::refused(Errno::EBADF, "the file is not open for writing"));
        }
        self.shared.write_file(self, buffer, offset)
    }

    /// Reads exactly `buffer.len()` bytes.
    ///
    /// # Errors
    ///
    /// As [`File::read_at`]; ENODATA at the end of the file.
    pub fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> Result<(), Error> {
        while !buffer.is_empty() {
            match self.read_at(buffer, offset)? {
                0 => return Err(Error::refused(Errno::ENODATA, "the file ends before the buffer is full")),
                count => {
                    buffer = &mut buffer[count..];
                    offset += count as u64;
                }
            }
        }
        Ok(())
    }

    /// Writes all of `buffer`.
    ///
    /// # Errors
    ///
    /// As [`File::write_at`]; EIO if the server takes nothing.
    pub fn write_all_at(&self, mut buffer: &[u8], mut offset: u64) -> Result<(), Error> {
        while !buffer.is_empty() {
            match self.write_at(buffer, offset)? {
                0 => return Err(Error::refused(Errno::EIO, "the server took no byte of a write")),
                count => {
                    buffer = &buffer[count..];
                    offset += count as u64;
                }
            }
        }
        Ok(())
    }

    /// A view of the file's own bytes in the host's page cache, with no copy: at most `len` bytes from `offset`, at most
    /// to the end of the range that `offset` lies in, at most to the last byte that the host can map.
    ///
    /// The range stays mapped as long as the view lives.
    ///
    /// # Errors
    ///
    /// ENXIO at or past the last byte that can be mapped; EOPNOTSUPP where there is no window, the file is not mapped
    /// (see [`crate::VirtioFs::stats`] for why) or the platform only copies.
    pub fn map(&self, offset: u64, len: usize) -> Result<Map<R>, Error> {
        self.shared.check_mounted()?;
        self.shared.map_file(self, offset, len)
    }

    /// Makes what was written durable on the host: FSYNC.
    ///
    /// # Errors
    ///
    /// As any request; what was written counts as not durable then.
    pub fn sync_all(&self) -> Result<(), Error> {
        self.shared.sync_file(self, false)
    }

    /// As [`File::sync_all`], but only what is needed to read the data again.
    ///
    /// # Errors
    ///
    /// As [`File::sync_all`].
    pub fn sync_data(&self) -> Result<(), Error> {
        self.shared.sync_file(self, true)
    }

    /// Cuts or stretches the file. Mappings past the new end are gone from the window before the host is asked.
    ///
    /// # Errors
    ///
    /// As any request.
    pub fn set_len(&self, size: u64) -> Result<(), Error> {
        self.shared.check_mounted()?;
        if !self.options.is_writable() {
            return Err(Error::refused(Errno::EBADF, "the file is not open for writing"));
        }
        self.shared.set_size(self.who, &self.inode, self.fh, size)
    }

    /// Changes attributes; see [`crate::SetAttr`].
    ///
    /// # Errors
    ///
    /// As any request.
    pub fn set_attr(&self, changes: &crate::SetAttr) -> Result<Attr, Error> {
        self.shared.check_mounted()?;
        self.shared.set_attr(self.who, &self.inode, self.fh, changes)
    }

    /// Allocates, punches or zeroes `len` bytes at `offset`: FALLOCATE with the flags of `fallocate(2)`.
    ///
    /// # Errors
    ///
    /// As any request; EOPNOTSUPP if server or host cannot do it.
    pub fn allocate(&self, mode: FallocateMode, offset: u64, len: u64) -> Result<(), Error> {
        self.shared.check_mounted()?;
        self.shared.allocate(self, mode, offset, len)
    }

    /// Copies `len` bytes to another file of the same file system on the host: COPY_FILE_RANGE. Returns how many.
    ///
    /// # Errors
    ///
    /// As any request.
    pub fn copy_range(&self, offset: u64, to: &Self, to_offset: u64, len: u64) -> Result<u64, Error> {
        self.shared.check_mounted()?;
        if !Arc::ptr_eq(&self.shared, &to.shared) {
            return Err(Error::refused(Errno::EXDEV, "files of two file systems"));
        }
        self.shared.copy_range(self, offset, to, to_offset, len)
    }

    /// The next data (`SEEK_DATA`, 3) or hole (`SEEK_HOLE`, 4) at or after `offset`: LSEEK.
    ///
    /// # Errors
    ///
    /// ENXIO past the end of the file; ENOSYS becomes EOPNOTSUPP.
    pub fn seek_sparse(&self, offset: u64, whence: u32) -> Result<u64, Error> {
        self.shared.check_mounted()?;
        self.shared.op_lseek(self.who, self.inode.nodeid, self.fh.unwrap_or_default(), offset, whence)
    }

    /// Closes the file and tells the errors that the server has for it: FLUSH, then RELEASE.
    ///
    /// # Errors
    ///
    /// As any request. The file is closed in any case.
    pub fn close(self) -> Result<(), Error> {
        self.shared.check_mounted()?;
        match self.fh {
            Some(fh) if self.options.is_writable() => self.shared.op_flush(&self, fh),
            _ => Ok(()),
        }
    }
}

/// What to change with [`File::set_attr`]; `None` leaves a field as it is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SetAttr {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Size in bytes.
    pub size: Option<u64>,
    /// Time of the last access.
    pub atime: Option<SetTime>,
    /// Time of the last change of the data.
    pub mtime: Option<SetTime>,
}

/// A time to set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SetTime {
    /// The host's time now.
    Now,
    /// Seconds and nanoseconds since 1970.
    At {
        /// Seconds.
        secs: u64,
        /// Nanoseconds, below 10^9.
        nanos: u32,
    },
}

/// Reading, writing and seeking with a position, for code written against embedded-io.
mod io {
    use embedded_io::{ErrorType, Read, Seek, SeekFrom, Write};

    use super::{Errno, Error, File, Ordering, RawMutex};

    impl<R: RawMutex + Send + Sync + 'static> ErrorType for File<R> {
        type Error = Error;
    }

    impl<R: RawMutex + Send + Sync + 'static> Read for File<R> {
        fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
            let offset = *self.cursor.get_mut();
            let count = self.read_at(buffer, offset)?;
            *self.cursor.get_mut() += count as u64;
            Ok(count)
        }
    }

    impl<R: RawMutex + Send + Sync + 'static> Write for File<R> {
        fn write(&mut self, buffer: &[u8]) -> Result<usize, Error> {
            let offset = *self.cursor.get_mut();
            let count = self.write_at(buffer, offset)?;
            *self.cursor.get_mut() =
                if self.options.append { self.inode.size() } else { offset.saturating_add(count as u64) };
            Ok(count)
        }

        fn flush(&mut self) -> Result<(), Error> {
            Ok(())
        }
    }

    impl<R: RawMutex + Send + Sync + 'static> Seek for File<R> {
        fn seek(&mut self, position: SeekFrom) -> Result<u64, Error> {
            let target = match position {
                SeekFrom::Start(offset) => Some(offset),
                SeekFrom::End(delta) => self.len()?.checked_add_signed(delta),
                SeekFrom::Current(delta) => self.cursor.load(Ordering::Relaxed).checked_add_signed(delta),
            };
            let target = target.ok_or(Error::refused(Errno::EINVAL, "a position before the start of the file"))?;
            *self.cursor.get_mut() = target;
            Ok(target)
        }
    }
}
