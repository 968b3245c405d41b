//! What is booted.

use super::machine::{Machine, SharedMemory};
use std::{path::Path, time::Duration};

/// How long each part of a boot may take, on the host's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    /// From QEMU's start to the kernel's first word.
    pub(crate) boot: Duration,
    /// From there to its verdict.
    pub(crate) test: Duration,
    /// From there to the end of QEMU, and then to that of the daemon.
    pub(crate) end: Duration,
}

/// How long a kernel may take to its first word, where the machine is emulated.
const BOOT: Duration = Duration::from_secs(60);
/// How long QEMU and the daemon may take to end.
const END: Duration = Duration::from_secs(15);

impl Deadlines {
    /// For a test that may take so long where the machine is emulated, on an accelerator. KVM may be one that emulates every
    /// privileged instruction, ten times slower than emulating all of them.
    pub(crate) fn on(accelerator: &str, test: Duration) -> Self {
        let slower = Self::slower(accelerator);
        Self { boot: BOOT * slower, test: test * slower, end: END }
    }

    /// How many times longer things may take than where the machine is emulated.
    pub(crate) fn slower(accelerator: &str) -> u32 {
        if accelerator == "kvm" { 10 } else { 1 }
    }
}

/// What is booted.
#[derive(Clone, Debug)]
pub(crate) struct Plan<'a> {
    /// The machine.
    pub(crate) machine: Machine,
    /// QEMU's accelerator.
    pub(crate) accelerator: &'a str,
    /// Bytes of RAM.
    pub(crate) memory: u64,
    /// The folder that is shared.
    pub(crate) share: &'a Path,
    /// The memory that the machine shares with others, if it does.
    pub(crate) memory_shared: Option<SharedMemory<'a>>,
    /// Bytes of a file system of its own that the daemon has mounted in the share, if any ([`SMALL_DISK`](testkernel_protocol::share::SMALL_DISK)).
    pub(crate) small_disk: Option<u64>,
    /// Further arguments of the daemon.
    pub(crate) daemon: &'a [&'a str],
    /// Further arguments of ours, which an unmodified daemon does not know.
    pub(crate) our_daemon: &'a [&'a str],
    /// Whether the daemon keeps a record, if it can: it takes time.
    pub(crate) record: bool,
    /// Where the logs go.
    pub(crate) folder: &'a Path,
    /// The words of the kernel's command line.
    pub(crate) words: Vec<String>,
    /// What our daemon is to do wrong, as its `--fault` wants it.
    pub(crate) faults: &'a [&'a str],
    /// How long it may take.
    pub(crate) deadlines: Deadlines,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_follow_the_accelerator() {
        let [emulated, kvm] = ["tcg", "kvm"].map(|accelerator| Deadlines::on(accelerator, Duration::from_secs(9)));
        assert_eq!((emulated.boot, emulated.test), (BOOT, Duration::from_secs(9)));
        assert_eq!((kvm.boot, kvm.test), (BOOT * 10, Duration::from_secs(90)));
    }
}
