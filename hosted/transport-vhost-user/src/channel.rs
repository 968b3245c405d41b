//! The channel by which the back end asks: mappings, barriers, changes of the configuration.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;

use vhost::vhost_user::message::{VhostUserMMap, VhostUserSharedMsg};
use vhost::vhost_user::{Error, FrontendReqHandler, HandlerResult, VhostUserFrontendReqHandler};

use crate::record::{Asked, Event, Record};
use crate::sys;
use crate::table::Refusal;
use crate::window::Window;

/// The only region of a file system device: its DAX window.
const WINDOW_ID: u8 = 0;
/// What QEMU answers when it refuses: never an errno.
const REFUSED: u64 = 1;

/// What this side does at the back end's word.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) window: Option<Arc<Window>>,
    pub(crate) record: Record,
    /// Whether the queues run: nothing is mapped otherwise.
    pub(crate) running: AtomicBool,
    /// Counts changes of the configuration.
    pub(crate) config_generation: AtomicU32,
}

impl Service {
    fn answer(&self, asked: Asked, outcome: Result<(), Refusal>) -> HandlerResult<u64> {
        self.record.note(Event { asked, outcome });
        Ok(if outcome.is_ok() { 0 } else { REFUSED })
    }

    fn window(&self, shmid: u8) -> Result<&Window, Refusal> {
        match &self.window {
            Some(_) if !self.running.load(Ordering::Acquire) => Err(Refusal::NotRunning),
            Some(window) if shmid == WINDOW_ID => Ok(window),
            _ => Err(Refusal::NoRegion { shmid }),
        }
    }
}

impl VhostUserFrontendReqHandler for Service {
    fn handle_config_change(&self) -> HandlerResult<u64> {
        self.config_generation.fetch_add(1, Ordering::AcqRel);
        self.answer(Asked::ConfigChange, Ok(()))
    }

    fn shared_object_remove(&self, _: &VhostUserSharedMsg) -> HandlerResult<u64> {
        self.record.note(Event { asked: Asked::Barrier, outcome: Ok(()) });
        // Nobody has shared an object.
        Ok(REFUSED)
    }

    fn shmem_map(&self, request: &VhostUserMMap, fd: &dyn AsRawFd) -> HandlerResult<u64> {
        let &VhostUserMMap { shmid, fd_offset: file_offset, shm_offset: window_offset, len, .. } = request;
        let file = sys::duplicate(fd).map(File::from);
        let inode = file.as_ref().ok().and_then(|file| file.metadata().ok()).map_or(0, |metadata| metadata.ino());
        let outcome = self.window(shmid).and_then(|window| match &file {
            Ok(file) => window.map(window_offset, len, file, file_offset),
            Err(error) => Err(Refusal::Host { errno: error.raw_os_error().unwrap_or_default() }),
        });
        self.answer(Asked::Map { window_offset, len, inode, file_offset }, outcome)
    }

    fn shmem_unmap(&self, request: &VhostUserMMap) -> HandlerResult<u64> {
        let &VhostUserMMap { shmid, shm_offset: window_offset, len, .. } = request;
        let outcome = self.window(shmid).and_then(|window| window.unmap(window_offset, len));
        self.answer(Asked::Unmap { window_offset, len }, outcome)
    }
}

/// The channel while somebody serves it.
#[derive(Debug)]
pub(crate) struct Channel {
    /// To end the thread by: it waits for the back end at the other end of this socket.
    socket: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl Channel {
    /// Begins to serve; `offer` gives the back end its end.
    pub(crate) fn start<E: From<io::Error>>(
        service: &Arc<Service>,
        acknowledged: bool,
        offer: impl FnOnce(&dyn AsRawFd) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut handler =
            FrontendReqHandler::new(service.clone()).map_err(|error| io::Error::other(error.to_string()))?;
        handler.set_reply_ack_flag(acknowledged);
        let socket = UnixStream::from(sys::duplicate(&handler)?);
        offer(&Number(handler.get_tx_raw_fd()))?;
        let ours = socket.try_clone()?;
        let serve = move || {
            loop {
                match handler.handle_request() {
                    Ok(_) | Err(Error::ReqHandlerError(_)) => {}
                    Err(Error::Disconnected) => break,
                    // Nobody knows where the next message begins: the back end sees the channel closed.
                    Err(error) => {
                        log::warn!("the back end's channel is closed: {error}");
                        break;
                    }
                }
            }
            // It may be closed already.
            let _ = ours.shutdown(std::net::Shutdown::Both);
        };
        let thread = std::thread::Builder::new().name("vhost-user channel".into()).spawn(serve)?;
        Ok(Self { socket, thread: Some(thread) })
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        // It may be closed already.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            // A panic of it was written to standard error.
            let _ = thread.join();
        }
    }
}

struct Number(i32);

impl AsRawFd for Number {
    fn as_raw_fd(&self) -> i32 {
        self.0
    }
}
