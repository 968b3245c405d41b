//! Reading, writing and seeking with a position, for code written against embedded-io.

use embedded_io::{ErrorType, Read, Seek, SeekFrom, Write};
use fuse_proto::Errno;

use crate::{Error, File, Lock};

impl<R: Lock> ErrorType for File<R> {
    type Error = Error;
}

impl<R: Lock> Read for File<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let count = self.read_at(buffer, self.cursor)?;
        self.cursor += count as u64;
        Ok(count)
    }
}

impl<R: Lock> Write for File<R> {
    fn write(&mut self, buffer: &[u8]) -> Result<usize, Error> {
        let count = self.write_at(buffer, self.cursor)?;
        self.cursor = if self.open.options.is_append() {
            self.open.inode.size()
        } else {
            self.cursor.saturating_add(count as u64)
        };
        Ok(count)
    }

    fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

impl<R: Lock> Seek for File<R> {
    fn seek(&mut self, position: SeekFrom) -> Result<u64, Error> {
        let target = match position {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(delta) => self.len()?.checked_add_signed(delta),
            SeekFrom::Current(delta) => self.cursor.checked_add_signed(delta),
        };
        self.cursor = target.ok_or(Error::refused(Errno::EINVAL, "a position before the start of the file"))?;
        Ok(self.cursor)
    }
}
