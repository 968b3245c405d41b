//! Deliberate misbehaviour: the host must call each of these, but the first and the last, a failure.

use crate::{
    arch::cpu,
    events, exit,
    machine::Machine,
    memory::{layout, paging},
    mount,
    outcome::{Outcome, Stop, ensure},
    scenarios::steps::host::wait_for_host,
};
use alloc::format;
use core::{hint, ptr, time::Duration};
use fuse_proto::Errno;
use virtio_fs::Config;

/// Nothing goes wrong. The host expects a pass.
pub(crate) fn pass(_: &Machine) -> Outcome {
    Ok(())
}

/// Panics. The host expects `fail` with the panic's message and status 35.
pub(crate) fn panic(_: &Machine) -> Outcome {
    panic!("a deliberate panic")
}

/// Stops with interrupts off, so that the kernel's watchdog cannot see it. The host's deadline must end the run.
pub(crate) fn hang(_: &Machine) -> Outcome {
    cpu::stop()
}

/// Loops with interrupts on. The kernel's watchdog must end the run, with `fail` and status 35 (choose a short
/// `deadline=`).
pub(crate) fn spin(_: &Machine) -> Outcome {
    loop {
        hint::spin_loop();
    }
}

/// Reads an address that nothing maps. The host expects `fail` naming a page fault and its address.
pub(crate) fn page_fault(_: &Machine) -> Outcome {
    // Nothing is ever mapped in the last page of the lower half.
    let address = 0x7fff_ffff_f123 as *const u8;
    // SAFETY: nothing is mapped there, so the read faults before it can give anything; the fault ends the run.
    let byte = unsafe { ptr::read_volatile(address) };
    ensure!(false, "read {byte} from an address that is not mapped");
    Ok(())
}

/// Uses up the stack. The host expects `fail` naming a double fault: the page under the stack is not mapped.
pub(crate) fn stack_overflow(_: &Machine) -> Outcome {
    ensure!(paging::lookup(layout::stack().start - 1).is_none(), "the page under the stack is mapped");
    let depth = descend(0);
    ensure!(false, "came back from {depth} levels down");
    Ok(())
}

/// Resets the machine the hard way. QEMU, started with `-no-reboot`, ends; the host must call it a failure although
/// QEMU's own status is 0.
pub(crate) fn triple_fault(_: &Machine) -> Outcome {
    cpu::triple_fault()
}

/// Ends QEMU with the status of success and no verdict. The host must not believe the status alone.
pub(crate) fn early_exit(_: &Machine) -> Outcome {
    exit::abandon()
}

/// Waits for the host's word. The host answers `go here` and expects a pass; without the answer it fails in 10 s.
pub(crate) fn sync(_: &Machine) -> Outcome {
    ensure!(events::sync("here", Duration::from_secs(10)), "the host did not answer `go here` in 10 s");
    Ok(())
}

/// Machine: a file system device. Sync `kill-daemon`: the host kills the daemon. The kernel's next requests must end in an
/// error in time, which it reports as `fail`.
pub(crate) fn daemon_crash(machine: &Machine) -> Outcome {
    let config = Config::default().request_timeout(Duration::from_secs(2));
    let fs = mount::mount(machine, config)?;
    wait_for_host("kill-daemon")?;
    for number in 0..3 {
        let missing = fs.attr(format!("/missing-{number}"));
        if let Err(error) = &missing
            && error.errno() != Errno::ENOENT
        {
            return Err(Stop::Fail(format!("the daemon is gone: {error}")));
        }
    }
    Err(Stop::Fail("three requests were answered without a daemon".into()))
}

#[inline(never)]
fn descend(depth: u64) -> u64 {
    let mut block = [depth; 64];
    hint::black_box(&mut block);
    if block[0] == u64::MAX { 0 } else { descend(depth + 1) + hint::black_box(block[1]) }
}
