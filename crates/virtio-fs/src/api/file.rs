//! Open files.

use alloc::sync::Arc;

use fs_dax::FileRange;
use fuse_proto::{Attr, Errno, FallocateMode, ops};

use super::mounted::Mounted;
use super::progress::Progress;
use crate::io::open_file::OpenFile;
use crate::rpc::budget::Call;
use crate::rpc::space;
use crate::{DefaultLock, Error, Lock, Map, MapMut, SetAttr};

/// What a call reads or writes at a time of more that it has to, in bytes.
const PART: usize = 1 << 20;
const NOT_FOR_READING: Error = Error::refused(Errno::EBADF, "the file is not open for reading");
const NOT_FOR_WRITING: Error = Error::refused(Errno::EBADF, "the file is not open for writing");

/// What [`File::seek_sparse`] looks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sparse {
    /// The next byte that is not in a hole (`SEEK_DATA`).
    Data,
    /// The next byte that is in a hole, or the end of the file (`SEEK_HOLE`).
    Hole,
}

/// An open file. Closing is dropping it; [`File::close`] returns errors that a drop cannot.
///
/// All operations take `&self` and can be called from several threads. Reads and writes of the same bytes at the same
/// time are as atomic as the memory of the host: not at all beyond a machine word.
pub struct File<R: Lock = DefaultLock> {
    pub(crate) open: OpenFile<R>,
    pub(crate) cursor: u64,
    /// Last: the file system lives as long as its files.
    pub(crate) mounted: Arc<Mounted<R>>,
}

impl<R: Lock> core::fmt::Debug for File<R> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("File")
            .field("nodeid", &self.open.inode.nodeid)
            .field("size", &self.open.inode.size())
            .field("options", &self.open.options)
            .finish_non_exhaustive()
    }
}

impl<R: Lock> File<R> {
    pub(crate) fn new(mounted: Arc<Mounted<R>>, open: OpenFile<R>) -> Self {
        Self { open, cursor: 0, mounted }
    }

    /// Refuses reads of what is not open for reading.
    pub(crate) fn check_readable(&self) -> Result<Call<'_>, Error> {
        let call = self.mounted.check()?;
        if self.open.options.is_readable() { Ok(call) } else { Err(NOT_FOR_READING) }
    }

    /// Refuses stores to what is not open for writing.
    pub(crate) fn check_writable(&self) -> Result<Call<'_>, Error> {
        let call = self.mounted.check()?;
        if self.open.options.is_writable() { Ok(call) } else { Err(NOT_FOR_WRITING) }
    }

    /// Returns the file's size in bytes, fetched again when `attr_valid` has ended.
    ///
    /// # Errors
    ///
    /// As any request.
    pub fn len(&self) -> Result<u64, Error> {
        let _call = self.mounted.check()?;
        self.mounted.volume().attr(self.open.handle.who, &self.open.inode, self.open.handle.fh)?;
        Ok(self.open.inode.size())
    }

    /// Returns whether the file has no bytes.
    ///
    /// # Errors
    ///
    /// As any request.
    pub fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.len()? == 0)
    }

    /// Returns the file's attributes, fetched again when `attr_valid` has ended.
    ///
    /// # Errors
    ///
    /// As any request.
    pub fn attr(&self) -> Result<Attr, Error> {
        let _call = self.mounted.check()?;
        self.mounted.volume().attr(self.open.handle.who, &self.open.inode, self.open.handle.fh)
    }

    /// Reads at `offset`; returns how many bytes: fewer than asked for only at the end of the file, which reads 0 bytes, and
    /// before bytes that cannot be read, which give their error to the read that begins with them.
    ///
    /// Bytes that are mapped are copied out of the window with no request; the rest of a file that cannot be mapped is
    /// read by READ.
    ///
    /// # Errors
    ///
    /// EBADF if the file is not open for reading; otherwise the server's own.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Error> {
        if self.mounted.io.read_mapped(&self.open, buffer, offset) {
            return Ok(buffer.len());
        }
        self.read_in_pieces(buffer, offset)
    }

    /// Reads what the shortest way does not. Apart, so that the shortest way has a small frame.
    #[inline(never)]
    fn read_in_pieces(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Error> {
        let _call = self.check_readable()?;
        self.mounted.io.read(&self.open, buffer, offset)
    }

    /// Writes at `offset`, or at the end if the file was opened for appending; returns how many bytes.
    ///
    /// A write inside the file goes through the window; one that reaches past its end goes to the host as a whole, by
    /// WRITE.
    ///
    /// # Errors
    ///
    /// EBADF if the file is not open for writing; otherwise the server's own.
    pub fn write_at(&self, buffer: &[u8], offset: u64) -> Result<usize, Error> {
        if self.mounted.io.write_mapped(&self.open, buffer, offset) {
            return Ok(buffer.len());
        }
        self.write_in_pieces(buffer, offset)
    }

    /// As [`File::read_in_pieces`], for writes.
    #[inline(never)]
    fn write_in_pieces(&self, buffer: &[u8], offset: u64) -> Result<usize, Error> {
        let _call = self.check_writable()?;
        self.mounted.io.write(&self.open, buffer, offset)
    }

    /// Reads exactly `buffer.len()` bytes. The call has time for each MiB that comes.
    ///
    /// # Errors
    ///
    /// As [`File::read_at`]; ENODATA at the end of the file; EIO of a server that gives next to nothing at a time.
    pub fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> Result<(), Error> {
        if self.mounted.io.read_mapped(&self.open, buffer, offset) {
            return Ok(());
        }
        let call = self.check_readable()?;
        let mut progress = Progress::new();
        while !buffer.is_empty() {
            let part = buffer.len().min(PART);
            match self.mounted.io.read(&self.open, &mut buffer[..part], offset)? {
                0 => return Err(Error::refused(Errno::ENODATA, "the file ends before the buffer is full")),
                count => {
                    progress.made(count)?;
                    self.mounted.rpc().connection().moved(&call, count);
                    buffer = &mut buffer[count..];
                    offset += count as u64;
                }
            }
        }
        Ok(())
    }

    /// Writes all of `buffer`. The call has time for each MiB that the server takes.
    ///
    /// # Errors
    ///
    /// As [`File::write_at`]; EIO if the server takes nothing, or next to nothing at a time.
    pub fn write_all_at(&self, mut buffer: &[u8], mut offset: u64) -> Result<(), Error> {
        if self.mounted.io.write_mapped(&self.open, buffer, offset) {
            return Ok(());
        }
        let call = self.check_writable()?;
        let mut progress = Progress::new();
        while !buffer.is_empty() {
            let part = buffer.len().min(PART);
            match self.mounted.io.write(&self.open, &buffer[..part], offset)? {
                0 => return Err(Error::refused(Errno::EIO, "the server took no byte of a write")),
                count => {
                    progress.made(count)?;
                    self.mounted.rpc().connection().moved(&call, count);
                    buffer = &buffer[count..];
                    offset += count as u64;
                }
            }
        }
        Ok(())
    }

    /// Maps the file's own bytes in the host's page cache for loads, with no copy: at most `len` bytes from `offset`, at most
    /// to the end of the range that `offset` lies in, at most to the last byte that the host can map.
    ///
    /// The range stays mapped as long as the view lives.
    ///
    /// # Errors
    ///
    /// ENXIO at or past the last byte that can be mapped; EOPNOTSUPP where there is no window, the file is not mapped
    /// (see [`crate::VirtioFs::stats`] for why) or the platform only copies; EAGAIN if no range becomes free in time.
    pub fn map(&self, offset: u64, len: usize) -> Result<Map<R>, Error> {
        self.view(offset, len, false)
    }

    /// As [`File::map`], for loads and stores.
    ///
    /// # Errors
    ///
    /// As [`File::map`]; EBADF if the file is not open for writing, ENOSPC for holes on a full disk.
    pub fn map_mut(&self, offset: u64, len: usize) -> Result<MapMut<R>, Error> {
        let _call = self.check_writable()?;
        self.mounted.io.view(&self.open, offset, len, true).map(MapMut::new)
    }

    pub(crate) fn view(&self, offset: u64, len: usize, writable: bool) -> Result<Map<R>, Error> {
        let _call = self.mounted.check()?;
        self.mounted.io.view(&self.open, offset, len, writable).map(Map::new)
    }

    /// Makes what was written durable on the host: FSYNC.
    ///
    /// # Errors
    ///
    /// As any request; what was written counts as not durable then.
    pub fn sync_all(&self) -> Result<(), Error> {
        self.mounted.io.sync(&self.open, FileRange::ALL, false)
    }

    /// As [`File::sync_all`], but only what is needed to read the data again.
    ///
    /// # Errors
    ///
    /// As [`File::sync_all`].
    pub fn sync_data(&self) -> Result<(), Error> {
        self.mounted.io.sync(&self.open, FileRange::ALL, true)
    }

    /// Cuts or stretches the file. Mappings past the new end are gone from the window before the host is asked.
    ///
    /// # Errors
    ///
    /// As any request.
    pub fn set_len(&self, size: u64) -> Result<(), Error> {
        let _call = self.check_writable()?;
        self.mounted.volume().set_size(self.open.handle.who, &self.open.inode, self.open.handle.fh, size)
    }

    /// Changes attributes. Returns the new ones.
    ///
    /// # Errors
    ///
    /// As any request.
    pub fn set_attr(&self, changes: &SetAttr) -> Result<Attr, Error> {
        let _call = self.mounted.check()?;
        self.mounted.volume().set_attr(self.open.handle.who, &self.open.inode, self.open.handle.fh, changes)
    }

    /// Allocates, punches or zeroes `len` bytes at `offset`: FALLOCATE with the flags of `fallocate(2)`.
    ///
    /// # Errors
    ///
    /// As any request; EOPNOTSUPP if server or host cannot do it.
    pub fn allocate(&self, mode: FallocateMode, offset: u64, len: u64) -> Result<(), Error> {
        let _call = self.mounted.check()?;
        self.mounted.io.allocate(&self.open, mode, offset, len)
    }

    /// Copies `len` bytes to another file of the same file system on the host: COPY_FILE_RANGE. Returns how many.
    ///
    /// Nobody may be in the bytes of the destination meanwhile, as when a hole is punched: the host may leave one there.
    ///
    /// # Errors
    ///
    /// As any request; EBUSY if views of the destination's bytes are not given back in time.
    pub fn copy_range(&self, offset: u64, to: &Self, to_offset: u64, len: u64) -> Result<u64, Error> {
        let _call = self.mounted.check()?;
        if !Arc::ptr_eq(&self.mounted, &to.mounted) {
            return Err(Error::refused(Errno::EXDEV, "files of two file systems"));
        }
        self.mounted.io.copy_range((&self.open, offset), (&to.open, to_offset), len)
    }

    /// Returns the offset of the next data or hole at or after `offset`: LSEEK.
    ///
    /// # Errors
    ///
    /// ENXIO past the end of the file; EOPNOTSUPP if the server does not know LSEEK.
    pub fn seek_sparse(&self, offset: u64, what: Sparse) -> Result<u64, Error> {
        let _call = self.mounted.check()?;
        let whence = match what {
            Sparse::Data => ops::Whence::DATA,
            Sparse::Hole => ops::Whence::HOLE,
        };
        space::lseek(self.mounted.rpc(), &self.open.handle, offset, whence)
    }

    /// Closes the file and returns the errors that the server has for it: FLUSH, then RELEASE.
    ///
    /// # Errors
    ///
    /// The server's own, of writes that it had accepted. The file is closed in any case.
    pub fn close(self) -> Result<(), Error> {
        let mounted = self.mounted.clone();
        let _call = mounted.check()?;
        let flushed = self.open.flush();
        // Its RELEASE is part of the call.
        drop(self);
        flushed
    }
}
