//! The file system device, found and mounted.

use crate::{
    devices::{self, Device, DeviceInterrupt, Place},
    events,
    hal::KernelMemory,
    machine::Machine,
    outcome::Stop,
    platform::KernelPlatform,
};
use alloc::format;
use virtio_fs::{Config, Interrupts, VirtioFs};
use virtio_shm::FILE_SYSTEM;

/// A mounted file system.
pub(crate) type Fs = VirtioFs<spin::Mutex<()>>;

/// The first file system device of the machine.
///
/// # Errors
/// When there is none.
pub(crate) fn find(machine: &Machine) -> Result<Place, Stop> {
    let places = devices::find(FILE_SYSTEM, &machine.command_line.mmio);
    places.first().copied().ok_or_else(|| Stop::Fail("there is no virtio file system device".into()))
}

/// Mounts the first file system device, with interrupts as the command line says, and reports the session to the host.
///
/// # Errors
/// When there is none, or it cannot be mounted.
pub(crate) fn mount(machine: &Machine, config: Config) -> Result<Fs, Stop> {
    Ok(mount_and_connect(machine, config)?.0)
}

/// As [`mount`], and says how the device interrupts; `None` when it is polled.
///
/// # Errors
/// As [`mount`].
pub(crate) fn mount_and_connect(machine: &Machine, config: Config) -> Result<(Fs, Option<DeviceInterrupt>), Stop> {
    mount_device(machine, devices::open(find(machine)?)?, config)
}

/// As [`mount_and_connect`], with a device that was opened.
///
/// # Errors
/// When it cannot be mounted.
pub(crate) fn mount_device(
    machine: &Machine,
    device: Device,
    config: Config,
) -> Result<(Fs, Option<DeviceInterrupt>), Stop> {
    let place = device.place();
    let interrupt = device.connect(machine.command_line.interrupts)?;
    // They end the processor's sleep, and whoever slept acknowledges them.
    let interrupts = if interrupt.is_some() { Interrupts::Deferred } else { Interrupts::Off };
    let config = config.interrupts(interrupts);
    let platform = KernelPlatform {
        interrupt: interrupt.map(|interrupt| (interrupt, device.clone())),
        start_info: machine.start_info,
    };
    let fs = Fs::mount(device, KernelMemory, platform, config)?;
    let protocol = fs.protocol();
    events::info("device", &place);
    events::info("tag", &format_args!("{:?}", fs.tag()));
    events::info("fuse_version", &format_args!("7.{}", protocol.minor()));
    events::info("flags", &format_args!("{:#x}", protocol.flags().bits()));
    events::info("dax", &fs.dax_status());
    if let Some(region) = fs.window_region() {
        events::info("window", &format_args!("{:#x} {:#x}", region.addr(), region.len()));
    }
    Ok((fs, interrupt))
}

/// Sends the file system's statistics to the host, as metrics `stat NAME`.
pub(crate) fn report(fs: &Fs) {
    let stats = fs.stats();
    for (name, value) in [
        ("requests", stats.requests),
        ("timeouts", stats.timeouts),
        ("dax_read_bytes", stats.dax_read_bytes),
        ("dax_write_bytes", stats.dax_write_bytes),
        ("request_read_bytes", stats.request_read_bytes),
        ("request_write_bytes", stats.request_write_bytes),
        ("setup_mappings", stats.setup_mappings),
        ("setup_refused", stats.setup_refused),
        ("remove_requests", stats.remove_requests),
        ("removed_mappings", stats.removed_mappings),
    ] {
        events::metric(&format!("stat {name}"), value, "1");
    }
}
