//! Writing.

use dax_window::{Request, Stream};
use fs_dax::FileRange;
use fuse_proto::{Errno, Opcode};

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
        let at = if file.options.is_append() { inode.size() } else { offset };
        let (whole, replaces) = self.past_damage(inode, at, buffer.len())?;
        let buffer = &buffer[..whole];
        let end = write_end(buffer.len(), offset)?;
        self.volume.clear_set_id(file.handle.who, inode)?;
        if file.options.is_append() {
            return self.append_by_requests(file, buffer);
        }
        let Some(window) = self.window_for(file) else {
            return self.write_by_requests(file, buffer, offset);
        };
        self.volume.refresh_attr_sometimes(file.handle.who, inode, file.handle.fh)?;
        let size = inode.size();
        if replaces {
            window.counters.bypass(Reason::Damaged);
            return self.write_by_requests(file, buffer, offset);
        }
        let why = self.cannot_store(file, end, size);
        if let Some(why) = why.or_else(|| self.needs_prealloc(file, end).then_some(Reason::Holes)) {
            window.counters.bypass(why);
            return self.write_by_requests(file, buffer, offset);
        }
        let (count, stored) = self.write_inside(window, file, buffer, offset, window.mappable_end(size))?;
        let written = FileRange::between(offset, offset + count as u64);
        if stored && file.options.is_dsync() && !self.sync_write(file, written)? {
            return self.write_by_requests(file, &buffer[..count], offset);
        }
        Ok(count)
    }

    /// Why a write up to `end` goes to the host as a whole, if it does, wherever there are holes.
    pub(super) fn cannot_store(&self, file: &OpenFile<R>, end: u64, size: u64) -> Option<Reason> {
        if end > size {
            // The size can only change on the host, and a write is one: it goes there whole.
            Some(Reason::Extending)
        } else if file.options.is_dsync() && self.rpc().is_unsupported(Opcode::FSYNC) {
            // Nothing but WRITE makes bytes durable.
            Some(Reason::Mode)
        } else {
            None
        }
    }

    /// Writes inside a file that has no holes. Returns how many bytes, and whether some went through the window.
    fn write_inside(
        &self,
        window: &DaxWindow<R>,
        file: &OpenFile<R>,
        buffer: &[u8],
        offset: u64,
        mappable: u64,
    ) -> Result<(usize, bool), Error> {
        let end = offset + buffer.len() as u64;
        let mut stream = file.stream();
        window.catch_up(&mut stream, &Request::write(file.inode.key, offset, buffer.len() as u64, mappable));
        let mut at = offset;
        let mut stored = false;
        while at < end {
            let rest = &buffer[(at - offset) as usize..];
            match self.write_piece(window, file, &mut stream, (rest, at), mappable) {
                Ok((0, _)) => break,
                Ok((count, through_window)) => {
                    at += count as u64;
                    stored |= through_window;
                }
                Err(error) if at == offset => return Err(error),
                Err(_) => break,
            }
        }
        file.keep_stream(stream);
        if stored {
            file.inode.note_stores();
        }
        Ok(((at - offset) as usize, stored))
    }

    /// Writes some of `rest` at `at`. Returns how many bytes, and whether they went through the window.
    fn write_piece(
        &self,
        window: &DaxWindow<R>,
        file: &OpenFile<R>,
        stream: &mut Stream,
        (rest, at): (&[u8], u64),
        mappable: u64,
    ) -> Result<(usize, bool), Error> {
        let inode = &file.inode;
        let by_requests = |bytes| self.write_by_requests(file, bytes, at).map(|count| (count, false));
        if at >= mappable {
            window.counters.bypass(Reason::Tail);
            return by_requests(rest);
        }
        let request = Request::write(inode.key, at, rest.len() as u64, mappable);
        let acquired = match window.hit(stream, &request) {
            Some(range) => Acquired::Range(range),
            None => window.acquire(&file.id(), stream, &request)?,
        };
        match acquired {
            // What was inside the file is past its end now, or in a hole.
            Acquired::Range(range)
                if inode.size() < at + rest.len() as u64 || self.may_lack_room(inode, at + rest.len() as u64) =>
            {
                window.release(range);
                by_requests(rest)
            }
            Acquired::Range(range) => {
                let count = window.write(&range, 0, rest);
                window.release(range);
                window.counters.write_bytes.add(count as u64);
                Ok((count, true))
            }
            Acquired::Bypass(why) => {
                window.counters.bypass(Reason::Window(why));
                let len = bypass_len(window.range_size(), at, rest.len(), mappable);
                self.measured(window, why, || by_requests(&rest[..len]))
            }
        }
    }
}

/// The end of a write.
pub(super) fn write_end(len: usize, offset: u64) -> Result<u64, Error> {
    offset
        .checked_add(len as u64)
        .filter(|&end| i64::try_from(end).is_ok())
        .ok_or(Error::refused(Errno::EFBIG, "a write past the largest offset"))
}
