//! Reading.

use dax_window::{Request, Stream};

use super::open_file::OpenFile;
use super::{FileIo, bypass_len};
use crate::rpc::data;
use crate::window::DaxWindow;
use crate::window::acquire::Acquired;
use crate::window::counters::Reason;
use crate::window::range_ref::RangeRef;
use crate::{Error, Lock};

/// What came of reading a piece.
enum Piece {
    /// So many bytes, none where the file has ended.
    Read(usize),
    /// So many bytes, and there are no more.
    Last(usize),
    /// Nothing: the file is only so long now.
    Cut(u64),
}

impl<R: Lock> FileIo<R> {
    /// Reads at `offset`; returns how many bytes, fewer than asked for only at the end of the file and before what cannot be
    /// read.
    pub(crate) fn read(&self, file: &OpenFile<R>, buffer: &mut [u8], offset: u64) -> Result<usize, Error> {
        self.volume.check_alive(&file.inode)?;
        let whole = self.undamaged(&file.inode, offset, buffer.len())?;
        let buffer = &mut buffer[..whole];
        let Some(window) = self.window_for(file) else {
            return data::read(self.rpc(), &file.handle, buffer, offset);
        };
        let size = self.size_for_read(file, offset, buffer.len())?;
        if size == 0 {
            // Files that the host makes up while they are read say so, whatever they hold.
            return data::read(self.rpc(), &file.handle, buffer, offset);
        }
        let mut end = offset.saturating_add(buffer.len() as u64).min(size);
        let mut mappable = window.mappable_end(size);
        let mut stream = file.stream();
        window.catch_up(&mut stream, &read_request(file, offset, (end.saturating_sub(offset)) as usize, mappable));
        let mut at = offset;
        while at < end {
            let rest = &mut buffer[(at - offset) as usize..(end - offset) as usize];
            match self.read_piece(window, file, &mut stream, (rest, at), mappable) {
                Ok(Piece::Read(0)) => {
                    // The host cut the file meanwhile.
                    file.inode.expire_attr();
                    break;
                }
                Ok(Piece::Read(count)) => at += count as u64,
                Ok(Piece::Last(count)) => {
                    at += count as u64;
                    file.inode.expire_attr();
                    break;
                }
                Ok(Piece::Cut(size)) => {
                    end = size;
                    mappable = window.mappable_end(end);
                }
                Err(error) if at == offset => return Err(error),
                // The caller asks again from there on.
                Err(_) => break,
            }
        }
        file.keep_stream(stream);
        Ok((at - offset) as usize)
    }

    /// Reads some of what is wanted at `at`.
    fn read_piece(
        &self,
        window: &DaxWindow<R>,
        file: &OpenFile<R>,
        stream: &mut Stream,
        (rest, at): (&mut [u8], u64),
        mappable: u64,
    ) -> Result<Piece, Error> {
        if at >= mappable {
            window.counters.bypass(Reason::Tail);
            return self.read_by_requests(file, rest, at);
        }
        let request = read_request(file, at, rest.len(), mappable);
        let acquired = match window.hit(stream, &request) {
            Some(range) => Acquired::Range(range),
            None => window.acquire(&file.id(), stream, &request)?,
        };
        match acquired {
            Acquired::Range(range) => {
                // The file may have been cut while the range was waited for; while it is held it cannot be. Read once: the
                // next look may find a longer file than the buffer is.
                let size = file.inode.size();
                if size < at + rest.len() as u64 {
                    window.release(range);
                    return Ok(Piece::Cut(size));
                }
                Ok(Piece::Read(copy_out(window, file, stream, &request, range, rest)))
            }
            Acquired::Bypass(why) => {
                window.counters.bypass(Reason::Window(why));
                let len = bypass_len(window.range_size(), at, rest.len(), mappable);
                let rest = &mut rest[..len];
                self.measured(window, why, || self.read_by_requests(file, rest, at))
            }
        }
    }

    /// Reads by READ. Fewer bytes than asked for are the last, whatever the file's size was said to be: from a server that
    /// gives one at a time, all others would take a request each.
    fn read_by_requests(&self, file: &OpenFile<R>, to: &mut [u8], at: u64) -> Result<Piece, Error> {
        let count = data::read(self.rpc(), &file.handle, to, at)?;
        Ok(if count < to.len() && count > 0 { Piece::Last(count) } else { Piece::Read(count) })
    }

    /// The size of a file that is to be read, asked anew where it matters.
    fn size_for_read(&self, file: &OpenFile<R>, offset: u64, len: usize) -> Result<u64, Error> {
        let (who, fh) = (file.handle.who, file.handle.fh);
        self.volume.refresh_attr_sometimes(who, &file.inode, fh)?;
        if offset.saturating_add(len as u64) > file.inode.size() {
            // The host may have let the file grow.
            self.volume.attr(who, &file.inode, fh)?;
        }
        Ok(file.inode.size())
    }
}

/// The request to the window for `len` bytes at `at`.
pub(super) fn read_request<R: Lock>(file: &OpenFile<R>, at: u64, len: usize, mappable: u64) -> Request {
    Request::read(file.inode.key, at, len as u64, mappable).writable(file.options.is_writable())
}

/// Copies out of the window and gives the reference back. Returns how many bytes.
fn copy_out<R: Lock>(
    window: &DaxWindow<R>,
    file: &OpenFile<R>,
    stream: &mut Stream,
    request: &Request,
    range: RangeRef,
    to: &mut [u8],
) -> usize {
    let count = window.read(&range, 0, to);
    let ahead = range.wants_read_ahead();
    window.release(range);
    window.counters.read_bytes.add(count as u64);
    if ahead {
        window.set_up_ahead(&file.id(), stream, request);
    }
    count
}
