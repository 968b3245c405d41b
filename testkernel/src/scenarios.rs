//! The scenarios: one a boot, chosen by `test=SUITE::NAME` on the command line.
//!
//! Their names also lie, NUL-terminated, in the ELF section `.scenarios`, so that the host lists them without booting.

pub(crate) mod copy;
pub(crate) mod dax;
pub(crate) mod dirs;
pub(crate) mod discovery;
pub(crate) mod failure;
pub(crate) mod fallback;
pub(crate) mod files;
pub(crate) mod machine;
pub(crate) mod mmap;
pub(crate) mod ops;
pub(crate) mod partition;
pub(crate) mod pins;
pub(crate) mod reclaim;
pub(crate) mod rig;
pub(crate) mod robust;
pub(crate) mod session;
pub(crate) mod smp;
pub(crate) mod sync;
pub(crate) mod window;
pub(crate) mod writeback;

use crate::{
    boot::start_info::StartInfo,
    cmdline::CommandLine,
    events::{self, Value},
    exit,
};
use alloc::string::String;
use core::{ops::Range, time::Duration};

/// How long the host may take at a sync.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the machine is and what was asked of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine {
    /// What the boot loader said.
    pub(crate) start_info: &'static StartInfo,
    /// The command line.
    pub(crate) command_line: &'static CommandLine,
}

impl Machine {
    /// The machine's RAM: no window may lie in it.
    pub(crate) fn ram(&self) -> impl Iterator<Item = Range<u64>> + use<> {
        self.start_info.memory().iter().map(|range| range.start..range.end)
    }
}

/// How a scenario ended.
pub(crate) type Outcome = Result<(), Stop>;

/// Why a scenario did not run to its end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It does not apply here.
    Skip(String),
    /// Something is not as it should be.
    Fail(String),
}

/// A scenario.
#[derive(Clone, Copy)]
struct Scenario {
    name: &'static str,
    run: fn(&Machine) -> Outcome,
}

/// Ends a scenario as failed unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::scenarios::Stop::Fail(alloc::format!($($message)+)));
        }
    };
}
pub(crate) use ensure;

/// Makes the table and the section from one list.
macro_rules! scenarios {
    ($($name:literal => $function:path,)*) => {
        static TABLE: &[Scenario] = &[$(Scenario { name: $name, run: $function }),*];

        const NAMES: &str = concat!($($name, "\0"),*);

        #[used]
        #[unsafe(link_section = ".scenarios")]
        static SECTION: [u8; NAMES.len()] = match NAMES.as_bytes().first_chunk() {
            Some(bytes) => *bytes,
            None => panic!("the length is that of the names"),
        };
    };
}

scenarios! {
    "rig::pass" => rig::pass,
    "rig::panic" => rig::panic,
    "rig::hang" => rig::hang,
    "rig::spin" => rig::spin,
    "rig::page_fault" => rig::page_fault,
    "rig::stack_overflow" => rig::stack_overflow,
    "rig::triple_fault" => rig::triple_fault,
    "rig::early_exit" => rig::early_exit,
    "rig::sync" => rig::sync,
    "rig::daemon_crash" => rig::daemon_crash,
    "machine::copy" => copy::ways,
    "machine::faults_resume" => machine::faults_resume,
    "discovery::pci_window_found" => discovery::pci_window_found,
    "discovery::no_window_is_normal" => discovery::no_window_is_normal,
    "discovery::window_sizes" => discovery::window_sizes,
    "discovery::second_device" => discovery::second_device,
    "discovery::region_over_4g" => discovery::region_over_4g,
    "session::init" => session::init,
    "session::interrupts" => session::interrupts,
    "dirs::listing_matches_host" => dirs::listing_matches_host,
    "files::read_matches_host" => files::read_matches_host,
    "dax::read_matches_host" => dax::read_matches_host,
    "dax::no_read_requests" => dax::no_read_requests,
    "dax::write_visible_on_host" => dax::write_visible_on_host,
    "dax::host_write_visible" => dax::host_write_visible,
    "dax::map_zero_copy" => dax::map_zero_copy,
    "dax::tail_of_odd_file" => dax::tail_of_odd_file,
    "dax::extending_write" => dax::extending_write,
    "dax::upgrade" => window::upgrade,
    "dax::truncate_under_map" => window::truncate_under_map,
    "dax::partition" => partition::partition,
    "dax::inode_mode" => window::inode_mode,
    "reclaim::small_window" => reclaim::small_window,
    "reclaim::guard" => window::guard,
    "reclaim::read_ahead" => window::read_ahead,
    "reclaim::background" => window::background,
    "ops::create_write_truncate" => ops::data::create_write_truncate,
    "ops::fallocate_holes" => ops::data::fallocate_holes,
    "ops::copy_range" => ops::data::copy_range,
    "ops::lseek_sparse" => ops::data::lseek_sparse,
    "ops::tmpfile" => ops::data::tmpfile,
    "ops::names" => ops::names::making_and_renaming,
    "ops::readdirplus" => ops::names::readdirplus,
    "ops::paths" => ops::names::paths,
    "ops::errors" => ops::names::errors,
    "ops::read_only" => ops::names::read_only,
    "ops::attributes" => ops::special::attributes,
    "ops::xattrs" => ops::special::xattrs,
    "ops::statfs_sync" => ops::special::statfs_sync,
    "ops::full_disk" => ops::full::full_disk,
    "ops::locks" => ops::special::locks,
    "ops::forget_balance" => ops::session::forget_balance,
    "ops::unmount_with_open_files" => ops::session::unmount_with_open_files,
    "ops::pipelined" => ops::session::pipelined,
    "robust::daemon_stops" => robust::daemon_stops,
    "mmap::read_fault_4k" => mmap::read_fault_4k,
    "mmap::huge_fault_2m" => mmap::huge_fault_2m,
    "mmap::write_fault_marks_dirty" => mmap::write_fault_marks_dirty,
    "mmap::private_cow" => mmap::private_cow,
    "mmap::tail_page" => mmap::tail_page,
    "mmap::past_eof_is_bus_error" => mmap::past_eof_is_bus_error,
    "mmap::truncate_unmaps" => mmap::truncate_unmaps,
    "mmap::punch_unmaps" => mmap::punch_unmaps,
    "mmap::reclaim_unmaps" => mmap::reclaim_unmaps,
    "mmap::pinned_range_is_skipped" => mmap::pinned_range_is_skipped,
    "mmap::all_pinned_times_out" => mmap::all_pinned_times_out,
    "mmap::pinned_by_a_program" => pins::pinned_by_a_program,
    "mmap::failed_file" => mmap::failed_file,
    "mmap::failure_is_everywhere" => failure::failure_is_everywhere,
    "mmap::failure_under_load" => failure::failure_under_load,
    "sync::refused_by_default" => sync::refused_by_default,
    "sync::fsync_before_writable" => sync::fsync_before_writable,
    "sync::truth_table" => sync::truth_table,
    "sync::fsync_error_is_bus_error" => sync::fsync_error_is_bus_error,
    "sync::cut_meanwhile" => sync::cut_meanwhile,
    "writeback::only_dirty" => writeback::only_dirty,
    "writeback::store_during" => writeback::store_during,
    "writeback::fsync_fails" => writeback::fsync_fails,
    "smp::stress" => smp::stress,
    "fallback::unmodified_virtiofsd" => fallback::unmodified_virtiofsd,
}

/// Runs one scenario and ends the machine.
pub(crate) fn run(machine: &Machine, name: &str) -> ! {
    let Some(scenario) = TABLE.iter().find(|scenario| scenario.name == name) else {
        exit::fail(&format_args!("there is no scenario named {name}"));
    };
    events::send("start", &[("test", Value::Text(&name))]);
    log::info!("scenario {name}");
    match (scenario.run)(machine) {
        Ok(()) => {
            log::info!("scenario {name}: passed");
            exit::pass()
        }
        Err(Stop::Skip(reason)) => exit::skip(&reason),
        Err(Stop::Fail(message)) => exit::fail(&message),
    }
}

/// Tells the host that a point is reached and waits for its word.
pub(crate) fn wait_for_host(name: &str) -> Outcome {
    ensure!(events::sync(name, PATIENCE), "the host did not answer `go {name}` in {} s", PATIENCE.as_secs());
    Ok(())
}

impl<E: core::error::Error> From<E> for Stop {
    fn from(error: E) -> Self {
        use core::fmt::Write;
        let mut message = alloc::format!("{error}");
        let mut cause = error.source();
        while let Some(inner) = cause {
            // Writing to a string cannot fail.
            let _ = write!(message, ": {inner}");
            cause = inner.source();
        }
        Self::Fail(message)
    }
}
