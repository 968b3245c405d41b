//! Devices that lose interrupts, and that are reset while they work.

use crate::{
    devices,
    machine::Machine,
    mount,
    outcome::{Outcome, Stop, ensure},
    scenarios::steps::files,
};
use alloc::{format, vec, vec::Vec};
use fuse_proto::{NodeId, ops};
use testkernel_protocol::{content::Content, share};
use virtio_fs::{Config, OpenOptions};

/// Machine: a device that interrupts by messages. From the mount on every one is lost; requests are answered all the same,
/// since a wait looks again.
pub(crate) fn interrupts_lost(machine: &Machine) -> Outcome {
    let device = devices::open(mount::find(machine)?)?;
    let (fs, interrupt) = mount::mount_device(machine, device.clone(), Config::default())?;
    let Some(interrupt) = interrupt else { return Err(Stop::Fail("the device is polled".into())) };
    device.lose_interrupts()?;
    let before = interrupt.vector.count();
    for number in 0..20 {
        ensure!(fs.attr(format!("/missing-{number}")).is_err(), "a missing file has attributes");
    }
    read_all(&fs)?;
    let after = interrupt.vector.count();
    ensure!(after == before, "{} interrupts arrived", after.wrapping_sub(before));
    let timeouts = fs.stats().timeouts;
    ensure!(timeouts == 0, "{timeouts} requests count as unanswered");
    fs.unmount()?;
    Ok(())
}

/// Any machine with a file system. Sessions end, and the device is reset, while requests are under way that nobody waits
/// for; the next session works, every time.
pub(crate) fn reset_under_load(machine: &Machine) -> Outcome {
    const ROUNDS: usize = 5;
    for _ in 0..ROUNDS {
        let fs = mount::mount(machine, Config::default())?;
        read_all(&fs)?;
        let flights: Result<Vec<_>, _> = (0..8).map(|_| fs.submit(ops::Statfs { node: NodeId::ROOT })).collect();
        let flights = flights?;
        drop(flights);
        fs.unmount()?;
    }
    Ok(())
}

/// Reads a file, through the window if there is one, and checks it.
fn read_all(fs: &mount::Fs) -> Outcome {
    let share::File { name, size } = share::MAP;
    let mut bytes = vec![0; size as usize];
    fs.open(name, OpenOptions::new().read(true))?.read_exact_at(&mut bytes, 0)?;
    files::check(name, Content::of(name), 0, &bytes)
}
