//! Who serves the files.

use anyhow::{Context as _, Result};
use in_process_devices::{Kind, LocalDevice};
use transport_vhost_user::{Connection, HostLock, Options};
use virtio_fs::{Config, Device, HostRules, Interrupts, VirtioFs};

use crate::args::{Args, Local, Mode};

/// Buffers for bulk data, and their size in bytes: a READ of 1 MiB is one request.
const BUFFERS: usize = 16;
const BUFFER_SIZE: usize = 1 << 20;
/// Names and inodes to keep: fewer than a listing has.
const KEPT: usize = 4096;

/// Serves for as long as it lives.
#[derive(Debug)]
pub(crate) enum Peer {
    Daemon(Connection),
    Local(LocalDevice),
}

impl Peer {
    pub(crate) fn open(args: &Args) -> Result<Self> {
        let kind = match (args.peer, &args.socket) {
            (Some(Local::Libkrun), _) => Kind::Libkrun,
            (Some(Local::FuseBackendRs), _) => Kind::FuseBackendRs,
            (None, socket) => {
                let socket = socket.as_ref().context("there is neither a socket nor a device")?;
                let mut options = Options::default();
                options.memory = 2 * BUFFERS * BUFFER_SIZE + (32 << 20);
                return Ok(Self::Daemon(Connection::open(socket, &options)?));
            }
        };
        let options = in_process_devices::Options {
            folder: args.share.clone(),
            window: args.mode.window(),
            strict_window: false,
            request_queues: args.queues,
        };
        Ok(Self::Local(LocalDevice::new(kind, &options)?))
    }

    pub(crate) fn mount(&self, args: &Args) -> Result<VirtioFs<HostLock>> {
        let mut config = Config::default()
            .interrupts(Interrupts::Deferred)
            .dax(args.mode.window() > 0)
            .max_request_queues(args.queues)
            .data_buffers(BUFFERS)
            .data_buffer_size(BUFFER_SIZE)
            .max_entries(KEPT)
            .max_inodes(KEPT);
        if args.mode.window() > 0 {
            config = config.max_window(args.mode.window());
        }
        // A miss is to be one miss, and to be mapped.
        if matches!(args.mode, Mode::Misses | Mode::Counted) {
            config = config.read_ahead(false).thrash_guard(false);
        }
        match self {
            Self::Local(device) => device.mount(config.host(HostRules::REPLACING)),
            Self::Daemon(connection) => {
                let device = Device::<HostLock>::with_lock(connection.transport(), connection.memory());
                device.mount(connection.platform(), config).context("the share cannot be mounted")
            }
        }
    }
}
