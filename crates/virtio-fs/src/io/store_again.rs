//! After an FSYNC that failed: storing once more what is there, page by page.
//!
//! A host that could not write a page says so once and takes the page for clean. Another FSYNC would succeed and write nothing.
//! A store makes the page dirty there too, so that the next FSYNC has it to write.

use dax_window::{Purpose, Request, Stream};
use fs_dax::FileRange;
use fuse_proto::Errno;

use super::FileIo;
use super::open_file::OpenFile;
use crate::volume::inode::Inode;
use crate::window::acquire::Acquired;
use crate::window::writeback::DirtyRanges;
use crate::{Error, Lock};

impl<R: Lock> FileIo<R> {
    /// Stores to pages again that programs have stored to, wherever they are mapped now.
    pub(super) fn store_pages_again(&self, file: &OpenFile<R>, runs: &[FileRange]) -> Result<(), Error> {
        let inode = &file.inode;
        if !inode.has_sync_failed() {
            return Ok(());
        }
        let Some(window) = self.window() else { return Ok(()) };
        // A page that the host has cut off since must not be touched.
        self.volume.refresh_attr(file.handle.who, inode, file.handle.fh)?;
        for run in runs.iter().flat_map(|run| inode.damage.pieces(*run)) {
            let mut at = run.start();
            loop {
                let mappable = window.mappable_end(inode.size());
                let end = run.end().min(mappable);
                if at >= end {
                    break;
                }
                let request = Request::write(inode.key, at, end - at, mappable).purpose(Purpose::Fault);
                let Acquired::Range(range) = window.acquire(&file.id(), &mut Stream::new(), &request)? else {
                    return Err(Error::refused(Errno::EAGAIN, "pages that the host lost cannot be stored again now"));
                };
                let len = range.len() as u64;
                // While it is held it cannot be cut.
                if at + len <= window.mappable_end(inode.size()) {
                    window.touch(window.phys(&range), len);
                    at += len;
                }
                window.release(range);
            }
        }
        Ok(())
    }

    /// Stores to ranges again that were written through the window and are being written back.
    pub(super) fn store_ranges_again(&self, inode: &Inode<R>, ranges: Option<&DirtyRanges>) {
        // A store to a hole would take room on the host.
        let (Some(window), Some(ranges)) = (self.window(), ranges) else { return };
        if inode.has_sync_failed() && !self.may_lack_room(inode, u64::MAX) {
            let end = window.mappable_end(inode.size());
            window.touch_dirty(ranges, |bytes| {
                inode.damage.pieces(FileRange::between(bytes.start(), bytes.end().min(end)))
            });
        }
    }
}
