//! The host's side of the scenarios: on which machines each one runs, what the host does while it runs, and what the host
//! can see for itself. A scenario that the kernel lists and this table does not name runs on [`DEFAULT_MACHINES`] with the
//! checks that every boot gets.

mod content;
mod dax;
mod dirs;
mod files;
mod mmap;
mod ops;
mod rig;
mod share;
mod stage;
mod window;

use crate::rig::{boot::Report, verdict::Witness};
use anyhow::Result;
pub(crate) use content::Content;
pub(crate) use stage::Stage;
use std::path::Path;

/// A scenario, as the host sees it.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    /// `SUITE::NAME`, as the kernel lists it.
    pub(crate) name: &'static str,
    /// The names of the machines that it runs on.
    pub(crate) machines: &'static [&'static str],
    /// Whether its share has the large file.
    pub(crate) big: bool,
    /// What our daemon is to do wrong, as its `--fault` wants it.
    pub(crate) faults: &'static [&'static str],
    /// Words for the kernel's command line.
    pub(crate) words: &'static [(&'static str, &'static str)],
    /// Bytes of a file system of its own in the share, where the host lets everybody mount one; it is as the folder
    /// [`SMALL_DISK`](crate::rig::daemon::SMALL_DISK) otherwise.
    pub(crate) small_disk: Option<u64>,
    /// Further arguments of the daemon.
    pub(crate) daemon: &'static [&'static str],
    /// What must come of it.
    pub(crate) expect: Expect,
    /// What the host does while the kernel waits at a point of this name.
    pub(crate) at: fn(&mut Stage, &str) -> Result<()>,
    /// What the host checks when everything has ended.
    pub(crate) after: fn(&Stage, &Report) -> Result<()>,
    /// Seconds that the kernel's own watchdog gives it.
    pub(crate) seconds: u64,
    /// Seconds that the host gives it beyond those.
    pub(crate) grace: u64,
}

/// What must come of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// It passes.
    Pass,
    /// The rig calls it a failure: this witness, in words that contain all of these.
    Failure(Witness, &'static [&'static str]),
}

const WITH_WINDOW: &[&str] = &["q35-dax"];
const EVERYWHERE: &[&str] = &["q35-dax", "q35-dax-msix", "q35-dax-line", "q35-plain", "microvm-plain"];
const WITH_INTERRUPTS: &[&str] = &["q35-dax-msix", "q35-dax-line", "q35-plain", "microvm-plain"];
const WITHOUT_WINDOW: &[&str] = &["q35-plain", "microvm-plain"];
const SMALL_WINDOW: &[&str] = &["q35-dax-small"];
/// With one, two and four processors.
const SMALL_WINDOWS: &[&str] = &["q35-dax-small", "q35-dax-small-2cpu", "q35-dax-small-4cpu"];
const BARE: &[&str] = &["q35-bare"];
const DEFAULT_MACHINES: &[&str] = WITH_WINDOW;

const PLAIN: Scenario = Scenario {
    name: "",
    machines: DEFAULT_MACHINES,
    big: false,
    faults: &[],
    words: &[],
    small_disk: None,
    daemon: &[],
    expect: Expect::Pass,
    at: stage::no_such_point,
    after: |_, _| Ok(()),
    seconds: 90,
    grace: 15,
};

const TABLE: &[Scenario] = &[
    rig::PASS,
    rig::SYNC,
    rig::PANIC,
    rig::HANG,
    rig::SPIN,
    rig::PAGE_FAULT,
    rig::STACK_OVERFLOW,
    rig::TRIPLE_FAULT,
    rig::EARLY_EXIT,
    rig::DAEMON_CRASH,
    Scenario { name: "machine::copy", machines: BARE, ..PLAIN },
    Scenario { name: "machine::faults_resume", machines: BARE, ..PLAIN },
    Scenario { name: "discovery::pci_window_found", after: dax::window_is_as_offered, ..PLAIN },
    Scenario { name: "discovery::no_window_is_normal", machines: WITHOUT_WINDOW, ..PLAIN },
    Scenario {
        name: "discovery::window_sizes",
        machines: &["q35-dax-small", "q35-dax", "q35-dax-1g", "q35-dax-4g"],
        after: dax::window_is_as_offered,
        ..PLAIN
    },
    Scenario { name: "discovery::second_device", machines: &["q35-gpu"], after: dax::window_is_as_offered, ..PLAIN },
    Scenario {
        name: "discovery::region_over_4g",
        machines: &["q35-gpu-8g"],
        after: dax::window_is_as_offered,
        ..PLAIN
    },
    Scenario { name: "session::init", machines: EVERYWHERE, after: files::session_is_described, ..PLAIN },
    Scenario { name: "session::interrupts", machines: WITH_INTERRUPTS, ..PLAIN },
    Scenario { name: "dirs::listing_matches_host", machines: EVERYWHERE, after: dirs::listing_is_the_hosts, ..PLAIN },
    Scenario { name: "files::read_matches_host", machines: EVERYWHERE, after: files::hashes_are_the_hosts, ..PLAIN },
    Scenario { name: "dax::read_matches_host", after: dax::hashes_through_window, ..PLAIN },
    dax::NO_READ_REQUESTS,
    dax::WRITE_VISIBLE_ON_HOST,
    dax::HOST_WRITE_VISIBLE,
    dax::MAP_ZERO_COPY,
    Scenario { name: "dax::tail_of_odd_file", after: dax::tail_hash_is_the_hosts, ..PLAIN },
    dax::EXTENDING_WRITE,
    Scenario {
        name: "reclaim::small_window",
        machines: SMALL_WINDOW,
        big: true,
        after: dax::reclaim_is_balanced,
        ..PLAIN
    },
    files::UNMODIFIED_VIRTIOFSD,
    dax::PARTITION,
    mmap::PINNED_BY_A_PROGRAM,
    Scenario { name: "mmap::failure_is_everywhere", machines: SMALL_WINDOWS, big: true, seconds: 180, ..PLAIN },
    Scenario { name: "mmap::failure_under_load", machines: SMALL_WINDOWS, big: true, seconds: 240, ..PLAIN },
    mmap::WRITE_FAULT_MARKS_DIRTY,
    mmap::PRIVATE_COW,
    Scenario { name: "mmap::reclaim_unmaps", machines: SMALL_WINDOW, big: true, ..PLAIN },
    Scenario { name: "mmap::pinned_range_is_skipped", machines: SMALL_WINDOW, big: true, ..PLAIN },
    Scenario { name: "mmap::all_pinned_times_out", machines: SMALL_WINDOW, big: true, ..PLAIN },
    Scenario { name: "sync::fsync_before_writable", after: mmap::metadata_came_first, ..PLAIN },
    Scenario { name: "sync::fsync_error_is_bus_error", faults: &["fsync:EIO@1", "fsync:ENOSYS@2"], ..PLAIN },
    Scenario { name: "sync::cut_meanwhile", machines: &["q35-dax-2cpu"], faults: &["fsync:delay-1500@1"], ..PLAIN },
    Scenario { name: "writeback::store_during", machines: &["q35-dax-2cpu"], faults: &["fsync:delay-3000@1"], ..PLAIN },
    Scenario { name: "writeback::fsync_fails", faults: &["fsync:EIO@1"], ..PLAIN },
    Scenario {
        name: "smp::stress",
        machines: SMALL_WINDOWS,
        big: true,
        words: &[("seconds", "10")],
        seconds: 240,
        after: |stage, report| stage.hash_is_the_hosts(report, "smp-own"),
        ..PLAIN
    },
];

fn table() -> impl Iterator<Item = &'static Scenario> {
    TABLE.iter().chain(&ops::ALL).chain(&window::ALL)
}

/// The host's side of a scenario of the kernel's.
pub(crate) fn named(name: &'static str) -> Scenario {
    table().find(|scenario| scenario.name == name).copied().unwrap_or(Scenario { name, ..PLAIN })
}

/// Makes the share that a scenario finds, with the large file if it needs that.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn make_share(root: &Path, big: bool) -> Result<()> {
    share::make(root, big)
}

/// The names in the table that the kernel doesn't list: a scenario that was lost.
pub(crate) fn lost(listed: &[String]) -> Vec<&'static str> {
    table().map(|scenario| scenario.name).filter(|name| !listed.iter().any(|other| other == name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::machine;

    #[test]
    fn every_scenario_is_named_once_and_has_machines_that_exist() {
        for scenario in table() {
            assert_eq!(table().filter(|other| other.name == scenario.name).count(), 1, "{}", scenario.name);
            assert!(!scenario.machines.is_empty());
            for name in scenario.machines {
                assert!(machine::named(name).is_some(), "{}: {name}", scenario.name);
            }
        }
    }

    #[test]
    fn a_scenario_that_only_the_kernel_knows_has_a_side_too() {
        assert_eq!(named("new::one").machines, DEFAULT_MACHINES);
        assert_eq!(lost(&[]).len(), table().count());
    }
}
