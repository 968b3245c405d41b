//! Writing.

use dax_window::Request;
use fuse_proto::Errno;

use super::open_file::OpenFile;
use super::{FileIo, bypass_len};
use crate::window::DaxWindow;
use crate::window::acquire::Acquired;
use crate::window::counters::Reason;
use crate::{Error, Lock};

impl<R: Lock> FileIo<R> {
    /// Writes at `offset`, or at the end of a file that is open for appending; returns how many bytes.
    pub(crate) fn write(&self, file: &OpenFile<R>, buffer: &[u8], offset: u64) -> Result<usize, Error> {
        let inode = &file.inode;
        self.volume.check_alive(inode)?;
        if buffer.is_empty() {
            return Ok(0);
        }
        let end = write_end(buffer.len(), offset)?;
        if file.options.is_append() {
            return self.append_by_requests(file, buffer);
        }
        let Some(window) = self.window_for(file) else {
            return self.write_by_requests(file, buffer, offset);
        };
        self.volume.refresh_attr_sometimes(file.handle.who, inode, file.handle.fh)?;
        let size = inode.size();
        if let Some(why) = self.cannot_store(file, end, size) {
            window.counters.bypass(why);
            return self.write_by_requests(file, buffer, offset);
        }
        self.write_inside(window, file, buffer, offset, window.mappable_end(size))
    }

    /// Why a write up to `end` goes to the host as a whole, if it does.
    pub(super) fn cannot_store(&self, file: &OpenFile<R>, end: u64, size: u64) -> Option<Reason> {
        if end > size {
            // The size can only change on the host, and a write is one: it goes there whole.
            Some(Reason::Extending)
        } else {
            self.needs_prealloc(&file.inode).then_some(Reason::Holes)
        }
    }

    /// Writes inside a file that has no holes.
    fn write_inside(
        &self,
        window: &DaxWindow<R>,
        file: &OpenFile<R>,
        buffer: &[u8],
        offset: u64,
        mappable: u64,
    ) -> Result<usize, Error> {
        let inode = &file.inode;
        let end = offset + buffer.len() as u64;
        let mut stream = file.stream();
        let mut at = offset;
        while at < end {
            let rest = &buffer[(at - offset) as usize..];
            let request = Request::write(inode.key, at, rest.len() as u64, mappable);
            let count = if at >= mappable {
                window.counters.bypass(Reason::Tail);
                self.write_by_requests(file, rest, at)?
            } else {
                let acquired = match window.hit(&mut stream, &request) {
                    Some(range) => Acquired::Range(range),
                    None => window.acquire(&file.id(), &mut stream, &request)?,
                };
                match acquired {
                    // What was inside the file is past its end now, or in a hole.
                    Acquired::Range(range) if inode.size() < end || self.needs_prealloc(inode) => {
                        window.release(range);
                        self.write_by_requests(file, rest, at)?
                    }
                    Acquired::Range(range) => {
                        let count = window.write(&range, 0, rest);
                        window.release(range);
                        window.counters.write_bytes.add(count as u64);
                        count
                    }
                    Acquired::Bypass(why) => {
                        window.counters.bypass(Reason::Window(why));
                        let len = bypass_len(window.range_size(), at, rest.len(), mappable);
                        self.measured(window, why, || self.write_by_requests(file, &rest[..len], at))?
                    }
                }
            };
            if count == 0 {
                break;
            }
            at += count as u64;
        }
        file.keep_stream(stream);
        Ok((at - offset) as usize)
    }
}

/// The end of a write.
pub(super) fn write_end(len: usize, offset: u64) -> Result<u64, Error> {
    offset
        .checked_add(len as u64)
        .filter(|&end| i64::try_from(end).is_ok())
        .ok_or(Error::refused(Errno::EFBIG, "a write past the largest offset"))
}
