//! The control socket: one request at a time, each with a deadline, and a watch over the other end.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use vhost::vhost_user::{Error as ProtocolError, Frontend};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use crate::error::{ControlError, GoneReason};
use crate::gone::Gone;
use crate::sys;

/// GET_PROTOCOL_FEATURES.
const GET_PROTOCOL_FEATURES: u32 = 15;
/// Version 1 of the protocol, in a request's flags.
const VERSION: u32 = 1;
/// What a reply to it has: a header of 12 bytes, and 8 bytes.
const REPLY: usize = 20;

/// See the module.
pub(crate) struct Link {
    frontend: Mutex<Frontend>,
    shared: Arc<Shared>,
    watch: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    socket: UnixStream,
    gone: Arc<Gone>,
    /// Until when the request in flight must be answered.
    deadline: Mutex<Option<Instant>>,
    /// Tells the watch of a new deadline.
    wake: EventFd,
    timeout: Duration,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("shared", &self.shared).finish_non_exhaustive()
    }
}

/// Asks for the protocol features in full: the front end's own way drops bits that its version does not know.
pub(crate) fn protocol_features(socket: &mut UnixStream, timeout: Duration) -> io::Result<u64> {
    socket.set_read_timeout(Some(timeout))?;
    let request = [GET_PROTOCOL_FEATURES, VERSION, 0].map(u32::to_ne_bytes).concat();
    let mut reply = [0; REPLY];
    socket.write_all(&request)?;
    socket.read_exact(&mut reply)?;
    socket.set_read_timeout(None)?;
    let (header, value) = reply.split_at(REPLY - 8);
    if header[..4] != GET_PROTOCOL_FEATURES.to_ne_bytes() || header[8..] != 8u32.to_ne_bytes() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is to another question"));
    }
    Ok(u64::from_ne_bytes(value.try_into().unwrap_or_default()))
}

impl Link {
    /// Takes a connected socket over. The back end is said to have as many queues as there can be, until it says.
    pub(crate) fn new(socket: UnixStream, gone: Arc<Gone>, timeout: Duration) -> io::Result<Self> {
        let watched = socket.try_clone()?;
        let frontend = Frontend::from_stream(socket, vhost::vhost_user::message::VHOST_USER_MAX_VRINGS);
        let wake = EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?;
        let shared = Arc::new(Shared { socket: watched, gone, deadline: Mutex::new(None), wake, timeout });
        let for_watch = shared.clone();
        let watch = move || {
            if let Err(error) = for_watch.watch() {
                log::error!("the connection is watched no more: {error}");
            }
            for_watch.gone.call_back();
        };
        let watch = std::thread::Builder::new().name("vhost-user watch".into()).spawn(watch)?;
        Ok(Self { frontend: Mutex::new(frontend), shared, watch: Some(watch) })
    }

    /// Sends a request, named as the specification does, and waits for its answer.
    pub(crate) fn call<T>(
        &self,
        request: &'static str,
        send: impl FnOnce(&mut Frontend) -> vhost::Result<T>,
    ) -> Result<T, ControlError> {
        let mut frontend = self.frontend.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reason) = self.shared.gone.reason() {
            return Err(ControlError::Gone { request, reason });
        }
        self.shared.set_deadline(Some(Instant::now() + self.shared.timeout));
        let result = send(&mut frontend);
        self.shared.set_deadline(None);
        result.map_err(|source| {
            if is_broken(&source) {
                // The watch may have found a better reason already.
                self.shared.end(GoneReason::Closed);
            }
            match self.shared.gone.reason() {
                Some(reason) => ControlError::Gone { request, reason },
                None => ControlError::Refused { request, source },
            }
        })
    }

    /// Ends the connection from this side.
    pub(crate) fn close(&self) {
        self.shared.end(GoneReason::Ours);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.close();
        if let Some(watch) = self.watch.take()
            && watch.thread().id() != std::thread::current().id()
        {
            // A panic of it was written to standard error.
            let _ = watch.join();
        }
    }
}

/// Whether no further request can be made.
fn is_broken(error: &vhost::Error) -> bool {
    let vhost::Error::VhostUserProtocol(error) = error else { return false };
    matches!(
        error,
        ProtocolError::Disconnected
            | ProtocolError::PartialMessage
            | ProtocolError::SocketBroken(_)
            | ProtocolError::SocketError(_)
            | ProtocolError::InvalidMessage
    )
}

impl Shared {
    fn deadline(&self) -> MutexGuard<'_, Option<Instant>> {
        self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_deadline(&self, deadline: Option<Instant>) {
        *self.deadline() = deadline;
        if deadline.is_some()
            && let Err(error) = self.wake.write(1)
        {
            log::error!("an eventfd takes no signal: {error}");
        }
    }

    fn end(&self, reason: GoneReason) {
        self.gone.set(reason);
        // It may be closed already.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }

    /// Watches until the connection is over.
    fn watch(&self) -> io::Result<()> {
        let (wake, gone) = (sys::duplicate(&self.wake)?, sys::duplicate(&self.gone.event)?);
        while self.gone.reason().is_none() {
            let left = self.deadline().map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let timeout = left.and_then(|left| Timespec::try_from(left).ok());
            let mut fds = [
                PollFd::new(&self.socket, PollFlags::RDHUP),
                PollFd::new(&wake, PollFlags::IN),
                PollFd::new(&gone, PollFlags::IN),
            ];
            match rustix::event::poll(&mut fds, timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let closed = fds[0].revents().intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR);
            if fds[1].revents().contains(PollFlags::IN) {
                // Somebody else cannot have taken it.
                let _ = self.wake.read();
            }
            if closed {
                self.end(GoneReason::Closed);
            } else if self.deadline().is_some_and(|deadline| deadline <= Instant::now()) {
                self.end(GoneReason::Silent(self.timeout));
            }
        }
        Ok(())
    }
}
