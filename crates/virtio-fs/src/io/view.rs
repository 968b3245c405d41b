//! Views of a file's bytes in the window: what keeps them mapped.

use alloc::sync::Arc;

use dax_window::{Bypass, Purpose, Request};
use fuse_proto::Errno;

use super::FileIo;
use super::open_file::OpenFile;
use crate::volume::inode::Inode;
use crate::volume::unlinked::UnlinkedGuard;
use crate::window::DaxWindow;
use crate::window::acquire::Acquired;
use crate::window::range_ref::RangeRef;
use crate::window::views::ViewId;
use crate::{Error, Lock};

/// Bytes of a file that stay mapped as long as this lives.
pub(crate) struct ViewGuard<R: Lock> {
    window: Arc<DaxWindow<R>>,
    /// Taken when dropped.
    range: Option<(RangeRef, ViewId)>,
    /// It is for stores.
    stored: bool,
    /// What is in view is in use.
    inode: Arc<Inode<R>>,
    unlinked: UnlinkedGuard<R>,
    /// Last: the file system lives as long as its views.
    io: Arc<FileIo<R>>,
}

impl<R: Lock> ViewGuard<R> {
    fn new(
        io: &Arc<FileIo<R>>,
        window: &Arc<DaxWindow<R>>,
        inode: &Arc<Inode<R>>,
        range: RangeRef,
        stored: bool,
    ) -> Self {
        io.volume.begin_view();
        let unlinked = UnlinkedGuard::new(&io.volume, inode);
        let id = window.begin_view(&range);
        Self {
            window: window.clone(),
            range: Some((range, id)),
            stored,
            inode: inode.clone(),
            unlinked,
            io: io.clone(),
        }
    }

    /// The window, and the reference to the bytes in it: there as long as the view is.
    pub(crate) fn bytes(&self) -> Option<(&DaxWindow<R>, &RangeRef)> {
        self.range.as_ref().map(|(range, _)| (&*self.window, range))
    }

    /// Takes note of stores to the bytes, after them.
    pub(crate) fn note_stores(&self) {
        self.inode.note_stores();
    }

    /// How many bytes are in view.
    pub(crate) fn len(&self) -> usize {
        self.range.as_ref().map_or(0, |(range, _)| range.len())
    }
}

impl<R: Lock> Drop for ViewGuard<R> {
    fn drop(&mut self) {
        if let Some((range, id)) = self.range.take() {
            if self.stored {
                // By whoever had the bytes' address.
                self.inode.note_stores();
            }
            self.window.end_view(range, id);
        }
        self.io.volume.end_view();
        self.unlinked.closing(&self.inode);
    }
}

impl<R: Lock> FileIo<R> {
    /// A view of at most `len` bytes at `offset`, for stores if `writable`.
    pub(crate) fn view(
        self: &Arc<Self>,
        file: &OpenFile<R>,
        offset: u64,
        len: usize,
        writable: bool,
    ) -> Result<ViewGuard<R>, Error> {
        let inode = &file.inode;
        self.volume.check_alive(inode)?;
        let window = self
            .window_for(file)
            .filter(|window| window.can_be_viewed())
            .ok_or(Error::refused(Errno::EOPNOTSUPP, "the file cannot be mapped"))?;
        self.volume.refresh_attr_sometimes(file.handle.who, inode, file.handle.fh)?;
        let len = self.undamaged(inode, offset, len)?;
        if writable {
            self.volume.clear_set_id(file.handle.who, inode)?;
        }
        loop {
            let size = inode.size();
            let mappable = window.mappable_end(size);
            // A page may be mapped whole, but what is past the end of the file is no part of it.
            let len = (len as u64).min(mappable.min(size).saturating_sub(offset));
            if len == 0 {
                return Err(Error::refused(Errno::ENXIO, "past the last byte that the host can map"));
            }
            let request = if writable {
                Request::write(inode.key, offset, len, mappable)
            } else {
                Request::read(inode.key, offset, len, mappable).writable(file.options.is_writable())
            }
            .purpose(Purpose::Map);
            let mut stream = file.stream();
            let acquired = match window.hit(&mut stream, &request) {
                Some(range) => Ok(Acquired::Range(range)),
                None => window.acquire(&file.id(), &mut stream, &request),
            }?;
            file.keep_stream(stream);
            match acquired {
                // The file was cut while the range was waited for; while it is held it cannot be.
                Acquired::Range(range) if inode.size() < size => window.release(range),
                Acquired::Range(range) => {
                    let view = ViewGuard::new(self, window, inode, range, writable);
                    if writable && self.needs_prealloc(file, offset + view.len() as u64) {
                        self.preallocate(file, offset, view.len() as u64)?;
                    }
                    return Ok(view);
                }
                Acquired::Bypass(why) => {
                    window.counters.bypass(crate::window::counters::Reason::Window(why));
                    return Err(not_viewed(why));
                }
            }
        }
    }
}

fn not_viewed(why: Bypass) -> Error {
    match why {
        Bypass::Refused => Error::refused(Errno::EOPNOTSUPP, "the host refused to map the file"),
        Bypass::NotMappable => Error::refused(Errno::ENXIO, "past the last byte that the host can map"),
        _ => Error::refused(Errno::EAGAIN, "no range of the window is free"),
    }
}
