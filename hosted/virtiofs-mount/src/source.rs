//! Who serves the share: a daemon, or a device in this process.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
#[cfg(feature = "peers")]
use in_process_devices::{Kind, LocalDevice};
use transport_vhost_user::{ConnectError, Connection, HostLock, Options, Unmapped};
use virtio_fs::{Config, Device, HoleStores, Interrupts};

use crate::cli::{Args, Peer};
use crate::daemon::Daemon;
use crate::driver::FileSystem;

/// How long a daemon that has made its socket may take until it listens.
const LISTEN_PATIENCE: Duration = Duration::from_secs(5);
const TICK: Duration = Duration::from_millis(5);
/// Buffers for bulk data: as many as requests of this size can be in flight.
const DATA_BUFFERS: usize = 16;
/// Their size in bytes.
const DATA_BUFFER_SIZE: usize = 1 << 20;

/// What a mounted file system needs to live on. Fields are dropped in this order.
#[derive(Debug)]
pub(crate) enum Source {
    /// A connection, and the daemon if it was started here.
    Socket { connection: Connection, _daemon: Option<Daemon> },
    /// A device in this process.
    #[cfg(feature = "peers")]
    Local(LocalDevice),
}

impl Source {
    /// Connects to what `args` names, starting it if need be.
    pub(crate) fn open(args: &Args) -> Result<Self> {
        match args.peer {
            Peer::Daemon => Self::socket(args),
            #[cfg(feature = "peers")]
            Peer::Libkrun => Self::local(Kind::Libkrun, args),
            #[cfg(feature = "peers")]
            Peer::FuseBackendRs => Self::local(Kind::FuseBackendRs, args),
            #[cfg(not(feature = "peers"))]
            _ => bail!("this program was built without --features peers: only --peer daemon works"),
        }
    }

    #[cfg(feature = "peers")]
    fn local(kind: Kind, args: &Args) -> Result<Self> {
        let options = in_process_devices::Options {
            folder: args.source.clone(),
            window: args.window,
            strict_window: args.strict_window,
            request_queues: args.queues,
        };
        Ok(Self::Local(LocalDevice::new(kind, &options)?))
    }

    fn socket(args: &Args) -> Result<Self> {
        let mut options = Options::default();
        options.memory = 2 * DATA_BUFFERS * DATA_BUFFER_SIZE + (16 << 20);
        options.unmapped = if args.strict_window { Unmapped::Fault } else { Unmapped::Zeros };
        if args.source.is_dir() {
            let mut daemon = Daemon::start(args)?;
            let connection = connect_to_own(&mut daemon, &options)?;
            Ok(Self::Socket { connection, _daemon: Some(daemon) })
        } else {
            let connection = Connection::open(&args.source, &options)?;
            Ok(Self::Socket { connection, _daemon: None })
        }
    }

    /// Mounts the file system in this process.
    pub(crate) fn mount(&self, args: &Args) -> Result<FileSystem> {
        let holes = if args.trust_holes { HoleStores::Trust } else { HoleStores::AskHost };
        let config = Config::default()
            .dax(!args.no_dax)
            .holes(holes)
            .interrupts(Interrupts::Deferred)
            .max_request_queues(args.queues)
            .data_buffers(DATA_BUFFERS)
            .data_buffer_size(DATA_BUFFER_SIZE)
            .request_timeout(args.request_timeout);
        match self {
            Self::Socket { connection, .. } => {
                let device = Device::<HostLock>::with_lock(connection.transport(), connection.memory());
                device.mount(connection.platform(), config).context("the share cannot be mounted")
            }
            #[cfg(feature = "peers")]
            Self::Local(device) => device.mount(config),
        }
    }

    /// Calls `callback`, from another thread, when the other side is gone.
    pub(crate) fn on_gone(&self, callback: impl FnOnce(&str) + Send + 'static) {
        match self {
            Self::Socket { connection, .. } => connection.on_gone(move |reason| callback(&reason.to_string())),
            // It lives as long as this process.
            #[cfg(feature = "peers")]
            Self::Local(_) => drop(callback),
        }
    }

    /// One line about what the other side asked for.
    pub(crate) fn summary(&self) -> Option<String> {
        match self {
            Self::Socket { connection, .. } => {
                let counts = connection.counts();
                connection.window_len().map(|len| {
                    format!(
                        "window of {} MiB: {} mapped, {} unmapped, {} barriers, {} refused, {} live",
                        len >> 20,
                        counts.maps,
                        counts.unmaps,
                        counts.barriers,
                        counts.refused,
                        connection.mappings().len()
                    )
                })
            }
            #[cfg(feature = "peers")]
            Self::Local(_) => None,
        }
    }
}

/// Connects to a daemon that has made its socket, but may not listen yet.
fn connect_to_own(daemon: &mut Daemon, options: &Options) -> Result<Connection> {
    let begin = Instant::now();
    loop {
        match Connection::open(daemon.socket(), options) {
            Ok(connection) => return Ok(connection),
            Err(ConnectError::Connect { .. } | ConnectError::NoSocket { .. })
                if begin.elapsed() < LISTEN_PATIENCE && daemon.is_alive() =>
            {
                std::thread::sleep(TICK);
            }
            Err(error) => bail!("{error}; the daemon says: {}", daemon.last_words()),
        }
    }
}
