//! Reading and writing open files: through the window where it can be, by requests where not.
//!
//! Everything takes an [`OpenFile`](open_file::OpenFile): inode, handle, credentials, options, and what the window remembers of
//! its accesses.

mod ask_room;
mod ask_size;
mod clear_set_id;
mod damage;
pub(crate) mod fault;
mod mapped;
pub(crate) mod open;
pub(crate) mod open_file;
pub(crate) mod options;
pub(crate) mod placed;
pub(crate) mod prealloc;
pub(crate) mod read;
pub(crate) mod read_async;
pub(crate) mod requests;
pub(crate) mod space;
mod store_again;
pub(crate) mod sync;
pub(crate) mod view;
pub(crate) mod write;
pub(crate) mod write_async;
pub(crate) mod written;

use alloc::sync::Arc;
use core::time::Duration;

use dax_window::Bypass;

use self::open_file::OpenFile;
use crate::DaxStatus;
use crate::rpc::Rpc;
use crate::rpc::counters::Counter;
use crate::volume::Volume;
use crate::window::DaxWindow;
use crate::window::counters::Reason;
use crate::{Error, Lock};

/// Which files are read and written through the window.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum DaxMode {
    /// None.
    Never,
    /// All regular files.
    #[default]
    Always,
    /// Those that the server marks with FUSE_ATTR_DAX (needs FUSE_HAS_INODE_DAX, which the session then offers).
    Inode,
}

/// What becomes of stores where a file has a hole, for which the host must find room on its disk.
///
/// A request that finds none is refused, with ENOSPC. A store into the window cannot be: the host gets SIGBUS, and QEMU dies.
/// Whether a file has holes is known from its blocks (fewer than its size needs), as fresh as the attributes are, and if it has
/// enough of them by LSEEK, before the first store and after whatever made holes. Not covered are holes that somebody else
/// punches meanwhile, hosts that copy on write and so need
/// room for stores anywhere, and the host's tmpfs, which needs it for loads from holes too.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum HoleStores {
    /// The host is asked: writes to such a file go by WRITE, and what is mapped for writing is allocated first (FALLOCATE). On a
    /// host without FALLOCATE mapping a hole for writing is EOPNOTSUPP, until it is written to.
    #[default]
    AskHost,
    /// They go through the window like any other: faster for sparse files, on hosts that never run out of room.
    Trust,
}

/// How files are read and written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) dax_mode: DaxMode,
    pub(crate) holes: HoleStores,
    /// How long to wait for others to finish what they do to a file.
    pub(crate) timeout: Duration,
}

/// What is counted here.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) faults: fs_dax::FaultCounters,
    pub(crate) sync_faults: Counter,
}

/// See the module. The last handle that is dropped ends the session if nobody did.
pub(crate) struct FileIo<R: Lock> {
    volume: Arc<Volume<R>>,
    /// Or why there is none.
    window: Result<Arc<DaxWindow<R>>, DaxStatus>,
    /// The window once more, if every regular file goes through it and there is no notification queue to look at first.
    plain: Option<Arc<DaxWindow<R>>>,
    settings: Settings,
    pub(crate) counters: Counters,
}

impl<R: Lock> Drop for FileIo<R> {
    fn drop(&mut self) {
        match self.volume.end() {
            Ok(()) | Err(Error::Unmounted) => {}
            Err(Error::Dead) => log::warn!("virtio-fs: the session did not end well: {}", Error::Dead),
            Err(error) => {
                log::error!("virtio-fs: the session is never ended, nor its memory given back: {error}");
                // Somebody uses the window.
                core::mem::forget((self.volume.clone(), self.window.clone()));
            }
        }
    }
}

impl<R: Lock> FileIo<R> {
    pub(crate) fn new(
        volume: Arc<Volume<R>>,
        window: Result<Arc<DaxWindow<R>>, DaxStatus>,
        settings: Settings,
    ) -> Self {
        let unasked = volume.rpc.connection().notifications().is_some();
        let plain = window.clone().ok().filter(|_| settings.dax_mode == DaxMode::Always && !unasked);
        Self { volume, window, plain, settings, counters: Counters::default() }
    }

    /// The volume that the files are on.
    pub(crate) fn volume(&self) -> &Arc<Volume<R>> {
        &self.volume
    }

    /// The window, whether it is used or not.
    pub(crate) fn window(&self) -> Option<&Arc<DaxWindow<R>>> {
        self.window.as_ref().ok()
    }

    /// Whether files go through the window, and if not, why.
    pub(crate) fn dax_status(&self) -> DaxStatus {
        match &self.window {
            Ok(window) => window.status(),
            Err(status) => status.clone(),
        }
    }

    fn rpc(&self) -> &Rpc<R> {
        &self.volume.rpc
    }

    /// The window, if this file may go through it.
    fn window_for(&self, file: &OpenFile<R>) -> Option<&Arc<DaxWindow<R>>> {
        let window = self.window.as_ref().ok().filter(|window| window.is_active())?;
        let wanted = match self.settings.dax_mode {
            DaxMode::Never => false,
            DaxMode::Always => true,
            DaxMode::Inode => file.inode.has_dax_attr(),
        };
        if !wanted {
            window.counters.bypass(Reason::Mode);
            return None;
        }
        // A server that wants no caching (FOPEN_DIRECT_IO) has none here: the window shows the host's own pages.
        if !file.inode.is_regular() {
            window.counters.bypass(Reason::Direct);
            return None;
        }
        Some(window)
    }

    /// Runs requests that take the place of a mapping, and has the guard weigh what they cost if it wanted them.
    fn measured<T>(&self, window: &DaxWindow<R>, why: Bypass, requests: impl FnOnce() -> T) -> T {
        if why != Bypass::Guard {
            return requests();
        }
        let started = self.rpc().now();
        let result = requests();
        window.note_request_cost(self.rpc().now().saturating_sub(started));
        result
    }
}

/// How much of an access that goes by requests is done at once: to the end of the chunk, so that the window is asked again for
/// the next one.
fn bypass_len(range_size: u64, at: u64, len: usize, mappable: u64) -> usize {
    let chunk_end = (at | (range_size - 1)) + 1;
    let end = if chunk_end >= mappable { u64::MAX } else { chunk_end };
    usize::try_from(end - at).unwrap_or(usize::MAX).min(len)
}
