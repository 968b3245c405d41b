//! Open files and their contents.

use fuse_proto::FallocateMode;
use fuser::{Errno, FileHandle, INodeNo, OpenFlags, Request, WriteFlags};
use virtio_fs::Sparse;

use super::state::State;
use crate::convert;
use crate::open_file::OpenFile;

impl State {
    pub(super) fn open(&self, request: &Request, number: INodeNo, flags: OpenFlags) -> Result<FileHandle, Errno> {
        let node = self.node(request, number)?;
        let file = OpenFile::open(&node, flags.0).map_err(|error| convert::errno(&error))?;
        Ok(self.files.insert(file))
    }

    pub(super) fn read(&self, handle: FileHandle, offset: u64, size: u32) -> Result<Vec<u8>, Errno> {
        self.file(handle)?.read(offset, size).map_err(|error| convert::errno(&error))
    }

    pub(super) fn write(&self, handle: FileHandle, offset: u64, bytes: &[u8], flags: WriteFlags) -> Result<u32, Errno> {
        self.file(handle)?.write(offset, bytes, flags).map_err(|error| convert::errno(&error))
    }

    pub(super) fn sync(&self, handle: FileHandle, data_only: bool) -> Result<(), Errno> {
        let open = self.file(handle)?;
        let result = if data_only { open.file.sync_data() } else { open.file.sync_all() };
        result.map_err(|error| convert::errno(&error))
    }

    pub(super) fn allocate(&self, handle: FileHandle, offset: u64, len: u64, mode: i32) -> Result<(), Errno> {
        let mode = FallocateMode::from_bits_retain(mode.cast_unsigned());
        self.file(handle)?.file.allocate(mode, offset, len).map_err(|error| convert::errno(&error))
    }

    pub(super) fn seek(&self, handle: FileHandle, offset: i64, whence: i32) -> Result<i64, Errno> {
        let what = match whence {
            libc::SEEK_DATA => Sparse::Data,
            libc::SEEK_HOLE => Sparse::Hole,
            _ => return Err(Errno::EINVAL),
        };
        // What is before the begin is not in the file.
        let offset = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
        let found = self.file(handle)?.file.seek_sparse(offset, what).map_err(|error| convert::errno(&error))?;
        i64::try_from(found).map_err(|_| Errno::EOVERFLOW)
    }

    pub(super) fn copy_range(
        &self,
        (from, offset): (FileHandle, u64),
        (to, to_offset): (FileHandle, u64),
        len: u64,
    ) -> Result<u32, Errno> {
        let (from, to) = (self.file(from)?, self.file(to)?);
        // The answer has 32 bits.
        let len = len.min(1 << 30);
        let count = from.file.copy_range(offset, &to.file, to_offset, len).map_err(|error| convert::errno(&error))?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    pub(super) fn ioctl(&self, handle: FileHandle, command: u32, data: &[u8]) -> Result<(i32, Vec<u8>), Errno> {
        self.file(handle)?.file.ioctl(command, 0, data).map_err(|error| convert::errno(&error))
    }
}
