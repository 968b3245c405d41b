//! Virtio-fs devices that others wrote, in the driver's own process in the place of a daemon. Linux only.
#![deny(unsafe_code)]

mod backend_rs;
mod krun;
mod platform;
mod ram;
mod signal;
mod window;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use transport_mmio::MmioTransport;
use transport_vhost_user::{GuestMemory, HostLock};
use virtio_fs::{Config, Device, TailMapping, VirtioFs};

use self::backend_rs::BackendRs;
use self::krun::Krun;
use self::platform::LocalPlatform;
use self::window::Window;

/// The memory that the driver and the device share, in bytes.
const MEMORY: usize = 128 << 20;

/// Who wrote a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// libkrun's device, with one request queue.
    Libkrun,
    /// fuse-backend-rs's server, behind a model of the registers and rust-vmm's queues.
    FuseBackendRs,
}

/// What a device serves, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder to share.
    pub folder: PathBuf,
    /// The size of its DAX window in bytes; 0 for no window.
    pub window: u64,
    /// Whether an access to the window where nothing is mapped ends the process instead of finding zeros.
    pub strict_window: bool,
    /// Request queues, where there can be several.
    pub request_queues: u16,
}

/// A device in this process. It serves until the process ends.
#[derive(Debug)]
pub struct LocalDevice {
    memory: GuestMemory,
    window: Option<Arc<Window>>,
    device: Served,
}

#[derive(Debug)]
enum Served {
    Krun(Krun),
    BackendRs(BackendRs),
}

impl LocalDevice {
    /// The device that serves a folder.
    ///
    /// # Errors
    ///
    /// When the folder cannot be shared, or there are no addresses for the memory or the window.
    pub fn new(kind: Kind, options: &Options) -> Result<Self> {
        let folder = options.folder.canonicalize().context("the folder to share cannot be used")?;
        let folder = folder.to_str().context("the path of the folder to share is no UTF-8")?.to_owned();
        let memory = GuestMemory::new(MEMORY)?;
        let reserve = |len| Window::new(len, options.strict_window).map(Arc::new).context("no addresses for a window");
        let window = if options.window > 0 { Some(reserve(options.window)?) } else { None };
        let device = match kind {
            Kind::FuseBackendRs => {
                Served::BackendRs(BackendRs::new(folder, &memory, window.clone(), options.request_queues)?)
            }
            Kind::Libkrun => Served::Krun(Krun::new(folder, &memory, window.as_deref())?),
        };
        Ok(Self { memory, window, device })
    }

    /// Mounts its file system in this process.
    ///
    /// # Errors
    ///
    /// When the driver refuses the device.
    pub fn mount(&self, config: Config) -> Result<VirtioFs<HostLock>> {
        // Both map what is past the end of a file; its last page is zeros there.
        let config = config.tail(TailMapping::PartialPage);
        let no_device = "the device in this process has no registers that fit";
        match &self.device {
            Served::Krun(krun) => {
                let transport = MmioTransport::new(krun.registers()).context(no_device)?;
                let platform = LocalPlatform::new(krun.signal()?, self.window.clone())?;
                let device = Device::<HostLock>::with_lock(transport, self.memory.clone());
                device.mount(platform, config).context("the share cannot be mounted")
            }
            Served::BackendRs(server) => {
                let transport = MmioTransport::new(server.registers()).context(no_device)?;
                let platform = LocalPlatform::new(server.signal()?, self.window.clone())?;
                let device = Device::<HostLock>::with_lock(transport, self.memory.clone());
                device.mount(platform, config).context("the share cannot be mounted")
            }
        }
    }
}
