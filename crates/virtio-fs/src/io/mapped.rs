//! Reads and writes of bytes that are mapped: the shortest way, which takes no lock, sends nothing, and writes no cache line that
//! another processor writes.
//!
//! It answers only where there is nothing else to do. Everything that it does not know leads to [`read`](super::read) and
//! [`write`](super::write), which begin anew.

use dax_window::Request;

use super::FileIo;
use super::open_file::OpenFile;
use crate::volume::inode::Inode;
use crate::window::DaxWindow;
use crate::{Lock, Platform};

/// What an access goes by.
struct Way<'a, R: Lock> {
    window: &'a DaxWindow<R>,
    platform: &'a dyn Platform,
    inode: &'a Inode<R>,
    /// Where the access ends, inside the file.
    end: u64,
    /// The end of what can be mapped of the file.
    mappable: u64,
}

impl<R: Lock> Way<'_, R> {
    /// Whether the bytes are the file's. While they are in use the file cannot be cut, nor pages be marked as damaged and mapped anew.
    #[inline]
    fn is_still_good(&self) -> bool {
        self.end <= self.inode.size() && self.inode.damage.is_none()
    }
}

impl<R: Lock> FileIo<R> {
    /// Reads all of `buffer` at `offset`; whether that was possible.
    #[inline]
    pub(crate) fn read_mapped(&self, file: &OpenFile<R>, buffer: &mut [u8], offset: u64) -> bool {
        if !file.options.is_readable() {
            return false;
        }
        let Some(way) = self.way(file, offset, buffer.len()) else { return false };
        let request = Request::read(way.inode.key, offset, buffer.len() as u64, way.mappable);
        way.window.read_unlocked(way.platform, || file.run(), &request, buffer, || way.is_still_good())
    }

    /// Writes all of `buffer` at `offset`, inside the file; whether that was possible.
    #[inline]
    pub(crate) fn write_mapped(&self, file: &OpenFile<R>, buffer: &[u8], offset: u64) -> bool {
        let (options, inode) = (&file.options, &*file.inode);
        if !options.is_writable() || options.is_append() || options.is_dsync() || inode.has_set_id() {
            return false;
        }
        let Some(way) = self.way(file, offset, buffer.len()) else { return false };
        let request = Request::write(inode.key, offset, buffer.len() as u64, way.mappable);
        let still = || way.is_still_good() && !self.may_lack_room(inode, way.end);
        let done = way.window.write_unlocked(way.platform, || file.run(), &request, buffer, still);
        if done {
            inode.note_stores();
        }
        done
    }

    /// The way for `len` bytes at `offset`, if all that the access has to look at before is as it most often is.
    #[inline]
    fn way<'a>(&'a self, file: &'a OpenFile<R>, offset: u64, len: usize) -> Option<Way<'a, R>> {
        let window = self.plain.as_deref()?;
        let inode = &*file.inode;
        if !window.is_active() || !self.volume.is_whole(inode) || !inode.is_regular() || !inode.damage.is_none() {
            return None;
        }
        let size = inode.size();
        let end = offset.checked_add(len as u64)?;
        if end > size {
            return None;
        }
        let platform = window.platform();
        // Reading the clock costs most, so it comes last.
        if inode.attr_is_old(platform.coarse_now()) {
            return None;
        }
        Some(Way { window, platform, inode, end, mappable: window.mappable_end(size) })
    }
}
