//! Writing by requests, and what an inode has to know of it.

use fs_dax::MetadataChange;

use super::FileIo;
use super::open_file::OpenFile;
use crate::rpc::data::{PIPELINE, io_size, write_batch};
use crate::{Error, Lock};

impl<R: Lock> FileIo<R> {
    /// Writes by WRITE requests, several in flight at once. A write of several requests that fails in the middle, or of which
    /// the server takes less than it is given, returns how much was written until then.
    pub(super) fn write_by_requests(&self, file: &OpenFile<R>, buffer: &[u8], offset: u64) -> Result<usize, Error> {
        let mut done = 0;
        while done < buffer.len() {
            match self.write_some(file, &buffer[done..], offset.saturating_add(done as u64), PIPELINE) {
                Ok(count) => {
                    let whole = (buffer.len() - done).min(io_size(self.rpc()));
                    done += count;
                    if count < whole {
                        break;
                    }
                }
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        // A page may have been overwritten by two requests.
        file.inode.note_overwritten(offset, offset.saturating_add(done as u64));
        Ok(done)
    }

    /// Appends: one request after the other, since each goes to wherever the end is then.
    pub(super) fn append_by_requests(&self, file: &OpenFile<R>, buffer: &[u8]) -> Result<usize, Error> {
        let size = io_size(self.rpc());
        let mut done = 0;
        while done < buffer.len() {
            let chunk = &buffer[done..buffer.len().min(done + size)];
            // The host appends by itself; the offset matters only to what is remembered here until the attributes, which
            // expire now, are fetched again.
            match self.write_some(file, chunk, file.inode.size(), 1) {
                Ok(count) => {
                    done += count;
                    if count < chunk.len() {
                        break;
                    }
                }
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// One batch of WRITE requests; returns the bytes written without a gap.
    fn write_some(&self, file: &OpenFile<R>, buffer: &[u8], offset: u64, most: usize) -> Result<usize, Error> {
        let inode = &file.inode;
        let cuts = inode.truncate_seq();
        inode.note_change();
        let extends = offset.saturating_add(buffer.len() as u64) > inode.size();
        // Inside the file the host may find a block for a hole, or convert one that was only allocated.
        let change = if extends { MetadataChange::ExtendingWrite } else { MetadataChange::Allocate };
        let _change = inode.epoch.change(change);
        // Past the end in order: a hole must not be left before bytes that the host had room for.
        let most = if extends { 1 } else { most };
        let (done, failed) = write_batch(
            self.rpc(),
            &file.handle,
            buffer,
            offset,
            (most, self.volume.kills_set_id(file.handle.who, inode)),
        );
        if done > 0 {
            inode.grow_to(offset, offset.saturating_add(done as u64), cuts);
            self.volume.inodes.note_changed(inode);
        }
        inode.note_change();
        inode.expire_attr();
        match failed {
            Some(error) if done == 0 => Err(error),
            _ => Ok(done),
        }
    }
}
