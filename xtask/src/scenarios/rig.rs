//! The rig's tests of itself: what goes wrong here must be called a failure, by the right witness and in the right words.

use crate::{
    rig::verdict::Witness,
    scenarios::{
        scenario::{Expect, PLAIN, Scenario},
        stage::Stage,
    },
};
use anyhow::{Result, ensure};

/// On a machine without a device nothing takes long.
fn bare() -> Scenario {
    Scenario { seconds: 30, ..PLAIN }
}

pub(crate) fn pass() -> Scenario {
    bare()
}

pub(crate) fn sync() -> Scenario {
    Scenario { at: at_here, after: |stage, _| stage.passed_by("here"), ..bare() }
}

pub(crate) fn panic() -> Scenario {
    Scenario { expect: Expect::Failure(Witness::Kernel, &["deliberate panic"]), ..bare() }
}

/// Interrupts are off, so only the host can end it.
pub(crate) fn hang() -> Scenario {
    Scenario { expect: Expect::Failure(Witness::Clock, &["no verdict within 4 s"]), seconds: 2, grace: 2, ..bare() }
}

/// The kernel's own watchdog ends it.
pub(crate) fn spin() -> Scenario {
    Scenario { expect: Expect::Failure(Witness::Kernel, &["watchdog"]), seconds: 2, ..bare() }
}

pub(crate) fn page_fault() -> Scenario {
    Scenario { expect: Expect::Failure(Witness::Kernel, &["page fault", "0x7ffffffff123"]), ..bare() }
}

pub(crate) fn stack_overflow() -> Scenario {
    Scenario { expect: Expect::Failure(Witness::Kernel, &["double fault"]), ..bare() }
}

pub(crate) fn triple_fault() -> Scenario {
    Scenario { expect: Expect::Failure(Witness::Qemu, &["without a verdict"]), ..bare() }
}

/// QEMU's status is that of success.
pub(crate) fn early_exit() -> Scenario {
    Scenario { expect: Expect::Failure(Witness::Events, &["status says passed"]), ..bare() }
}

/// The driver must turn the silence into an error before its deadline.
pub(crate) fn daemon_crash() -> Scenario {
    Scenario { at: at_kill, expect: Expect::Failure(Witness::Kernel, &["the daemon is gone"]), ..PLAIN }
}

fn at_here(_: &mut Stage, name: &str) -> Result<()> {
    ensure!(name == "here", "the kernel waits for `{name}`, not `here`");
    Ok(())
}

fn at_kill(stage: &mut Stage, name: &str) -> Result<()> {
    ensure!(name == "kill-daemon", "the kernel waits for `{name}`, not `kill-daemon`");
    stage.kill_daemon();
    Ok(())
}
