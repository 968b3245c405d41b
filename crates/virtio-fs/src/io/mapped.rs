//! Reads and writes of bytes that are mapped: the shortest way, which takes no lock, sends nothing, and writes no cache line that
//! another processor writes.
//!
//! It answers only where there is nothing else to do. Everything that it does not know leads to [`read`](super::read) and
//! [`write`](super::write), which begin anew.

use dax_window::Request;

use super::open_file::OpenFile;
use super::read::read_request;
use super::{DaxMode, FileIo};
use crate::Lock;
use crate::window::DaxWindow;

impl<R: Lock> FileIo<R> {
    /// Reads all of `buffer` at `offset`; whether that was possible.
    #[inline]
    pub(crate) fn read_mapped(&self, file: &OpenFile<R>, buffer: &mut [u8], offset: u64) -> bool {
        if !file.options.is_readable() {
            return false;
        }
        let Some((window, end, mappable)) = self.plain_window(file, offset, buffer.len()) else { return false };
        let inode = &file.inode;
        let request = read_request(file, offset, buffer.len(), mappable);
        // While the bytes are in use the file cannot be cut, nor pages be marked as damaged and mapped anew.
        window.read_unlocked(file.run(), &request, buffer, || end <= inode.size() && inode.damage.is_none())
    }

    /// Writes all of `buffer` at `offset`, inside the file; whether that was possible.
    #[inline]
    pub(crate) fn write_mapped(&self, file: &OpenFile<R>, buffer: &[u8], offset: u64) -> bool {
        let (options, inode) = (&file.options, &file.inode);
        if !options.is_writable() || options.is_append() || options.is_dsync() || inode.has_set_id() {
            return false;
        }
        let Some((window, end, mappable)) = self.plain_window(file, offset, buffer.len()) else { return false };
        let request = Request::write(inode.key, offset, buffer.len() as u64, mappable);
        let still = || end <= inode.size() && inode.damage.is_none() && !self.may_lack_room(inode, end);
        let done = window.write_unlocked(file.run(), &request, buffer, still);
        if done {
            inode.note_stores();
        }
        done
    }

    /// The window, the end of an access inside the file, and that of what can be mapped of it, if all that the access has to look
    /// at before is as it most often is.
    #[inline]
    fn plain_window(&self, file: &OpenFile<R>, offset: u64, len: usize) -> Option<(&DaxWindow<R>, u64, u64)> {
        let window = self.window.as_ref().ok().filter(|window| window.is_active())?;
        let (volume, inode) = (&self.volume, &file.inode);
        // What comes unasked has to be looked for, and whether a file is marked for DAX is asked of its attributes.
        let plain = self.settings.dax_mode == DaxMode::Always && volume.rpc.connection().notifications().is_none();
        let whole = volume.check_alive(inode).is_ok() && inode.damage.is_none();
        if !plain || !whole || volume.check_mounted().is_err() || !inode.is_regular() {
            return None;
        }
        let size = inode.size();
        let end = offset.checked_add(len as u64).filter(|end| *end <= size)?;
        // The dearest question, and so the last.
        let fresh = !inode.attr_is_old(self.rpc().platform().coarse_now());
        fresh.then(|| (&**window, end, window.mappable_end(size)))
    }
}
