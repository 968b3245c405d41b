//! Interrupt controllers that were started in x2APIC mode.

use crate::{
    arch::{apic, smp},
    machine::Machine,
    mount,
    outcome::{Outcome, Stop, ensure},
    scenarios::steps::processors,
};
use alloc::{format, sync::Arc};
use core::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use virtio_fs::Config;

/// How long the other processor may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Machine: two processors and a device with message-signalled interrupts; `apic=x2apic`. The timer ends naps, processors
/// start and hear each other, and the device's interrupts arrive.
pub(crate) fn x2apic(machine: &Machine) -> Outcome {
    ensure!(apic::is_x2apic(), "the interrupt controller is not in x2APIC mode");
    for _ in 0..10 {
        apic::nap(Duration::from_millis(1));
    }
    processors::start(2)?;
    let done = Arc::new(AtomicBool::new(false));
    let also = done.clone();
    smp::run_on(1, move || also.store(true, Ordering::Release));
    processors::join(1, PATIENCE)?;
    ensure!(done.load(Ordering::Acquire), "the other processor did nothing");
    let remembered = smp::Remembered::now();
    smp::flush_tlbs();
    remembered.check_forgotten();
    let (fs, interrupt) = mount::mount_and_connect(machine, Config::default())?;
    let Some(interrupt) = interrupt else { return Err(Stop::Fail("the device is polled".into())) };
    // The host is often so fast that the reply is there before the kernel halts; not this often, though.
    for number in 0..5000 {
        ensure!(fs.attr(format!("/missing-{number}")).is_err(), "a missing file has attributes");
        if interrupt.vector.count() > 0 {
            break;
        }
    }
    ensure!(interrupt.vector.count() > 0, "no interrupt of the device arrived");
    fs.unmount()?;
    Ok(())
}
