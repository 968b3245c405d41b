//! A connection: from a socket to a device.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use vhost::vhost_user::VhostUserFrontend as _;
use virtio_transport::PhysAddr;
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use crate::channel::{Channel, Service};
use crate::error::{ConnectError, ControlError, GoneReason};
use crate::gone::Gone;
use crate::interrupts::Interrupts;
use crate::link::{self, Link};
use crate::memory::GuestMemory;
use crate::negotiation::{self, Agreed};
use crate::options::Options;
use crate::platform::HostPlatform;
use crate::record::{Counts, Event, Record};
use crate::session::Session;
use crate::sys;
use crate::transport::VhostUserTransport;

/// A connection to a back end, which is to it what a cable is to a device: when it is dropped, the device is gone.
///
/// What [`Connection::transport`], [`Connection::memory`] and [`Connection::platform`] return is for one driver.
#[derive(Debug)]
pub struct Connection {
    session: Arc<Session>,
    /// Ended before anything else.
    channel: Option<Channel>,
}

impl Connection {
    /// Connects to the back end that listens at `path`, and agrees with it on what both can do.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] says why there is no device.
    pub fn open(path: impl AsRef<Path>, options: &Options) -> Result<Self, ConnectError> {
        let path = path.as_ref();
        let socket = UnixStream::connect(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => ConnectError::NoSocket { path: path.into() },
            _ => ConnectError::Connect { path: path.into(), source },
        })?;
        Self::over(socket, options)
    }

    /// The same over a socket that is connected already.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] says why there is no device.
    pub fn over(mut socket: UnixStream, options: &Options) -> Result<Self, ConnectError> {
        let offered =
            link::protocol_features(&mut socket, options.timeout).map_err(|error| without_answer(&error, options))?;
        let gone = Arc::new(Gone::new()?);
        let link = Link::new(socket, gone.clone(), options.timeout)?;
        let Agreed { features, queues, config, window, asks, acknowledged } =
            negotiation::negotiate(&link, offered, options)?;
        let service = Arc::new(Service {
            window,
            record: Record::new(options.record),
            running: AtomicBool::new(false),
            config_generation: AtomicU32::new(0),
        });
        let offer = |fd: &dyn AsRawFd| {
            link.call("SET_BACKEND_REQ_FD", |frontend| frontend.set_backend_request_fd(fd)).map_err(ConnectError::from)
        };
        let channel = if asks { Some(Channel::start(&service, acknowledged, offer)?) } else { None };
        let events = || (0..queues).map(|_| EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)).collect::<io::Result<Vec<_>>>();
        let calls = events()?;
        let signals = calls.iter().map(|call| sys::duplicate(call)).collect::<io::Result<_>>()?;
        let session = Session {
            interrupts: Interrupts::until(signals, gone.clone())?,
            calls,
            kicks: events()?,
            memory: GuestMemory::new(options.memory)?,
            queue_size: options.queue_size,
            features,
            config: Mutex::new(config),
            link,
            gone,
            service,
        };
        Ok(Self { session: Arc::new(session), channel })
    }

    /// The device, for the driver.
    pub fn transport(&self) -> VhostUserTransport {
        VhostUserTransport::new(self.session.clone())
    }

    /// The memory that the device reaches, for the driver.
    pub fn memory(&self) -> GuestMemory {
        self.session.memory.clone()
    }

    /// A clock, a way to sleep until the device interrupts, and the window, for the driver.
    pub fn platform(&self) -> HostPlatform {
        HostPlatform::new(self.session.clone())
    }

    /// The size of the window in bytes, if the back end has one.
    pub fn window_len(&self) -> Option<u64> {
        self.session.service.window.as_ref().map(|window| window.len())
    }

    /// How many queues the back end has, hiprio among them.
    pub fn queues(&self) -> usize {
        self.session.kicks.len()
    }

    /// Where `len` bytes from the guest-physical address `addr` on are in this process, if they are in the window: for who
    /// plays the part of page tables. Memory that the back end changes at any time, and takes away when the driver says so.
    pub fn window_pointer(&self, addr: PhysAddr, len: u64) -> Option<NonNull<u8>> {
        self.session.service.window.as_ref()?.pointer(addr, len)
    }

    /// What is mapped in the window: offset and length in bytes.
    pub fn mappings(&self) -> Vec<(u64, u64)> {
        self.session.service.window.as_ref().map(|window| window.live()).unwrap_or_default()
    }

    /// How often things happened.
    pub fn counts(&self) -> Counts {
        self.session.service.record.counts()
    }

    /// What the back end asked since the last call, if [`Options::record`] is set; of very many events the last ones.
    pub fn take_events(&self) -> Vec<Event> {
        self.session.service.record.take()
    }

    /// Why the connection is over, if it is.
    pub fn gone(&self) -> Option<GoneReason> {
        self.session.gone.reason()
    }

    /// Calls `callback` once, from another thread, when the other side ends the connection or does not answer any more; at once
    /// if that was so. One callback at a time.
    pub fn on_gone(&self, callback: impl FnOnce(GoneReason) + Send + 'static) {
        self.session.gone.tell(Box::new(callback));
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.session.service.running.store(false, Ordering::Release);
        self.session.link.close();
        self.channel = None;
    }
}

/// What becomes of an error of the very first request.
fn without_answer(error: &io::Error, options: &Options) -> ConnectError {
    let request = "GET_PROTOCOL_FEATURES";
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            ControlError::Gone { request, reason: GoneReason::Silent(options.timeout) }.into()
        }
        io::ErrorKind::InvalidData => {
            let source = vhost::Error::VhostUserProtocol(vhost::vhost_user::Error::InvalidMessage);
            ControlError::Refused { request, source }.into()
        }
        _ => ControlError::Gone { request, reason: GoneReason::Closed }.into(),
    }
}
