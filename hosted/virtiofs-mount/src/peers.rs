//! Devices that others wrote, in this process in the place of a daemon.

mod backend_rs;
mod krun;
mod platform;
mod ram;
mod signal;
mod window;

use std::sync::Arc;

use anyhow::{Context as _, Result};
use transport_mmio::MmioTransport;
use transport_vhost_user::{GuestMemory, HostLock};
use virtio_fs::{Config, Device, TailMapping};

use self::backend_rs::BackendRs;
use self::krun::Krun;
use self::platform::LocalPlatform;
use self::window::Window;
use crate::cli::{Args, Peer};
use crate::driver::FileSystem;

/// The memory that the driver and the device share, in bytes.
const MEMORY: usize = 128 << 20;

/// A device in this process. It serves until the process ends.
#[derive(Debug)]
pub(crate) struct LocalDevice {
    memory: GuestMemory,
    window: Option<Arc<Window>>,
    device: Kind,
}

#[derive(Debug)]
enum Kind {
    Krun(Krun),
    BackendRs(BackendRs),
}

impl LocalDevice {
    /// The device that serves the folder that `args` names.
    pub(crate) fn new(peer: Peer, args: &Args) -> Result<Self> {
        let folder = args.source.canonicalize().context("the folder to share cannot be used")?;
        let folder = folder.to_str().context("the path of the folder to share is no UTF-8")?.to_owned();
        let memory = GuestMemory::new(MEMORY)?;
        let reserve = |len| Window::new(len, args.strict_window).map(Arc::new).context("no addresses for a window");
        let window = if args.window > 0 { Some(reserve(args.window)?) } else { None };
        let device = match peer {
            Peer::FuseBackendRs => Kind::BackendRs(BackendRs::new(folder, &memory, window.clone(), args.queues)?),
            _ => Kind::Krun(Krun::new(folder, &memory, window.as_deref())?),
        };
        Ok(Self { memory, window, device })
    }

    /// Mounts the file system in this process.
    pub(crate) fn mount(&self, config: Config) -> Result<FileSystem> {
        // Both map what is past the end of a file, whose last page is zeros there.
        let config = config.tail(TailMapping::PartialPage);
        let no_device = "the device in this process has no registers that fit";
        match &self.device {
            Kind::Krun(krun) => {
                let transport = MmioTransport::new(krun.registers()).context(no_device)?;
                let platform = LocalPlatform::new(krun.signal()?, self.window.clone())?;
                let device = Device::<HostLock>::with_lock(transport, self.memory.clone());
                device.mount(platform, config).context("the share cannot be mounted")
            }
            Kind::BackendRs(server) => {
                let transport = MmioTransport::new(server.registers()).context(no_device)?;
                let platform = LocalPlatform::new(server.signal()?, self.window.clone())?;
                let device = Device::<HostLock>::with_lock(transport, self.memory.clone());
                device.mount(platform, config).context("the share cannot be mounted")
            }
        }
    }
}
