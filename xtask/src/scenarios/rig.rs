//! The rig's tests of itself: what goes wrong here must be called a failure, by the right witness and in the right words.

use super::{Expect, PLAIN, Scenario, Stage};
use crate::rig::verdict::Witness;
use anyhow::{Result, ensure};

const BARE: Scenario = Scenario { machines: super::BARE, seconds: 30, ..PLAIN };

pub(super) const PASS: Scenario = Scenario { name: "rig::pass", ..BARE };

pub(super) const SYNC: Scenario =
    Scenario { name: "rig::sync", at: at_here, after: |stage, _| stage.passed_by("here"), ..BARE };

pub(super) const PANIC: Scenario =
    Scenario { name: "rig::panic", expect: Expect::Failure(Witness::Kernel, &["deliberate panic"]), ..BARE };

/// Interrupts are off, so only the host can end it.
pub(super) const HANG: Scenario = Scenario {
    name: "rig::hang",
    expect: Expect::Failure(Witness::Clock, &["no verdict within 4 s"]),
    seconds: 2,
    grace: 2,
    ..BARE
};

/// The kernel's own watchdog ends it.
pub(super) const SPIN: Scenario =
    Scenario { name: "rig::spin", expect: Expect::Failure(Witness::Kernel, &["watchdog"]), seconds: 2, ..BARE };

pub(super) const PAGE_FAULT: Scenario = Scenario {
    name: "rig::page_fault",
    expect: Expect::Failure(Witness::Kernel, &["page fault", "0x7ffffffff123"]),
    ..BARE
};

pub(super) const STACK_OVERFLOW: Scenario =
    Scenario { name: "rig::stack_overflow", expect: Expect::Failure(Witness::Kernel, &["double fault"]), ..BARE };

pub(super) const TRIPLE_FAULT: Scenario =
    Scenario { name: "rig::triple_fault", expect: Expect::Failure(Witness::Qemu, &["without a verdict"]), ..BARE };

/// QEMU's status is that of success.
pub(super) const EARLY_EXIT: Scenario =
    Scenario { name: "rig::early_exit", expect: Expect::Failure(Witness::Events, &["status says passed"]), ..BARE };

/// The driver must turn the silence into an error before its deadline.
pub(super) const DAEMON_CRASH: Scenario = Scenario {
    name: "rig::daemon_crash",
    at: at_kill,
    expect: Expect::Failure(Witness::Kernel, &["the daemon is gone"]),
    ..PLAIN
};

fn at_here(_: &mut Stage, name: &str) -> Result<()> {
    ensure!(name == "here", "the kernel waits for `{name}`, not `here`");
    Ok(())
}

fn at_kill(stage: &mut Stage, name: &str) -> Result<()> {
    ensure!(name == "kill-daemon", "the kernel waits for `{name}`, not `kill-daemon`");
    stage.kill_daemon();
    Ok(())
}
