//! An open file of a program.

use fuser::WriteFlags;

use crate::convert;
use crate::driver::{Error, File, Node};

/// See the module.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) file: File,
    /// The same file once more, for writes that go to the end, wherever that is by then. Not for pages that the kernel
    /// writes back: those have a place, by whichever handle they come.
    appending: Option<File>,
}

impl OpenFile {
    /// Opens a node as `open(2)` with these flags does.
    pub(crate) fn open(node: &Node, flags: i32) -> Result<Self, Error> {
        Self::with(node.open(convert::open_options(flags))?, node, flags)
    }

    /// Takes over what was just opened with these flags.
    pub(crate) fn with(file: File, node: &Node, flags: i32) -> Result<Self, Error> {
        let appends = flags & libc::O_APPEND != 0 && flags & libc::O_ACCMODE != libc::O_RDONLY;
        let appending = if appends { Some(node.open(convert::open_options(flags).append(true))?) } else { None };
        Ok(Self { file, appending })
    }

    /// Reads until the buffer is full or the file ends.
    pub(crate) fn read(&self, offset: u64, size: u32) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; size as usize];
        let mut done = 0;
        while done < bytes.len() {
            match self.file.read_at(&mut bytes[done..], offset + done as u64)? {
                0 => break,
                count => done += count,
            }
        }
        bytes.truncate(done);
        Ok(bytes)
    }

    /// Writes all, or as much as goes before an error.
    pub(crate) fn write(&self, offset: u64, bytes: &[u8], flags: WriteFlags) -> Result<u32, Error> {
        let file = match &self.appending {
            Some(appending) if !flags.contains(WriteFlags::FUSE_WRITE_CACHE) => appending,
            _ => &self.file,
        };
        let mut done = 0;
        while done < bytes.len() {
            match file.write_at(&bytes[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(done as u32)
    }
}
