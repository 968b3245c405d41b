//! The scenarios. Each is one name in two halves, in files of the same name: `GROUP::NAME` is the function `NAME` in the
//! module `GROUP` of the kernel's scenarios, and in that of the rig's.

use crate::machines;

/// A scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// `GROUP::NAME`.
    pub name: &'static str,
    /// The names of the machines that it runs on.
    pub machines: &'static [&'static str],
}

/// Calls the macro of the given name with all scenarios, as `GROUP { NAME: MACHINES; ... } ...`. A half that has no function
/// for one of them does not compile.
#[macro_export]
macro_rules! for_each_scenario {
    ($callback:ident) => {
        $callback! {
            rig {
                pass: BARE;
                sync: BARE;
                panic: BARE;
                hang: BARE;
                spin: BARE;
                page_fault: BARE;
                stack_overflow: BARE;
                triple_fault: BARE;
                early_exit: BARE;
                daemon_crash: WITH_WINDOW;
            }
            machine {
                copy: BARE;
                faults_resume: BARE;
                x2apic: X2APIC;
            }
            discovery {
                pci_window_found: WITH_WINDOW;
                no_window_is_normal: WITHOUT_WINDOW;
                window_sizes: WINDOWS;
                second_device: GPU;
                region_over_4g: LARGE_GPU;
            }
            session {
                init: EVERYWHERE;
                interrupts: WITH_INTERRUPTS;
            }
            dirs {
                listing_matches_host: EVERYWHERE;
            }
            files {
                read_matches_host: EVERYWHERE;
            }
            dax {
                read_matches_host: WITH_WINDOW;
                no_read_requests: WITH_WINDOW;
                write_visible_on_host: WITH_WINDOW;
                host_write_visible: WITH_WINDOW;
                map_zero_copy: WITH_WINDOW;
                tail_of_odd_file: WITH_WINDOW;
                extending_write: WITH_WINDOW;
                upgrade: WITH_WINDOW;
                truncate_under_map: WITH_WINDOW;
                inode_mode: WITH_WINDOW;
                partition: SMALL_WINDOWS;
            }
            reclaim {
                small_window: SMALL_WINDOW;
                guard: SMALL_WINDOW;
                read_ahead: SMALL_WINDOW;
                background: SMALL_WINDOW;
            }
            ops {
                create_write_truncate: OPERATIONS;
                fallocate_holes: OPERATIONS;
                copy_range: OPERATIONS;
                lseek_sparse: OPERATIONS;
                tmpfile: OPERATIONS;
                names: OPERATIONS;
                readdirplus: OPERATIONS;
                paths: OPERATIONS;
                errors: OPERATIONS;
                read_only: OPERATIONS;
                attributes: OPERATIONS;
                xattrs: OPERATIONS;
                statfs_sync: OPERATIONS;
                full_disk: SMALL_DISK;
                locks: OPERATIONS;
                forget_balance: RECORDED;
                unmount_with_open_files: RECORDED;
                pipelined: OPERATIONS;
            }
            robust {
                daemon_stops: BOTH_DAEMONS;
                daemon_killed: WITH_WINDOW;
                daemon_slow: WITH_WINDOW;
                daemon_lies: WITH_WINDOW;
                interrupts_lost: WITH_MESSAGES;
                reset_under_load: BOTH_DAEMONS;
                host_replaces: WITH_WINDOW;
                host_cuts: WITH_WINDOW;
                two_guests: WITH_WINDOW;
            }
            mmap {
                read_fault_4k: WITH_WINDOW;
                huge_fault_2m: WITH_WINDOW;
                write_fault_marks_dirty: WITH_WINDOW;
                private_cow: WITH_WINDOW;
                tail_page: WITH_WINDOW;
                past_eof_is_bus_error: WITH_WINDOW;
                truncate_unmaps: WITH_WINDOW;
                punch_unmaps: WITH_WINDOW;
                reclaim_unmaps: SMALL_WINDOW;
                pinned_range_is_skipped: SMALL_WINDOW;
                all_pinned_times_out: SMALL_WINDOW;
                pinned_by_a_program: SMALL_WINDOWS;
                damaged_page: WITH_WINDOW;
                failed_file: WITH_WINDOW;
                failure_is_everywhere: SMALL_WINDOWS;
                failure_under_load: SMALL_WINDOWS;
            }
            sync {
                refused_by_default: WITH_WINDOW;
                fsync_before_writable: WITH_WINDOW;
                truth_table: WITH_WINDOW;
                fsync_error_is_bus_error: WITH_WINDOW;
                cut_meanwhile: TWO_PROCESSORS;
            }
            writeback {
                only_dirty: WITH_WINDOW;
                store_during: TWO_PROCESSORS;
                fsync_fails: WITH_WINDOW;
            }
            smp {
                coherence: SMALL_WINDOWS;
                stress: SMALL_WINDOWS;
            }
            famfs {
                golden_image: SHARED_MEMORIES;
                format_by_us_read_by_us: SHARED_MEMORIES;
                interleaved: SHARED_MEMORY;
                two_guests_share: SHARED_MEMORIES;
                log_follow: SHARED_MEMORY;
                follow_while_appending: SHARED_MEMORY;
                late_client: SHARED_MEMORY;
                torn_entry_refused: SHARED_MEMORY;
                interrupted_append_settled: SHARED_MEMORY;
                reformat_makes_stale: SHARED_MEMORY;
                second_master_refused: SHARED_MEMORY;
                full_log: SHARED_MEMORY;
                full_device: SHARED_MEMORY;
                read_only_client_cannot_write: SHARED_MEMORY;
                isolation: SHARED_MEMORY;
                fault_counts: SHARED_MEMORY;
                failed_range: SHARED_MEMORY;
                failed_device: SHARED_MEMORY;
                second_mount_busy: SHARED_MEMORY;
            }
            fallback {
                unmodified_virtiofsd: WITHOUT_WINDOW;
            }
        }
    };
}

macro_rules! table {
    ($($group:ident { $($name:ident: $machines:ident;)* })*) => {
        /// All of them, in the order in which they run.
        pub const ALL: &[Scenario] = &[$($(Scenario {
            name: concat!(stringify!($group), "::", stringify!($name)),
            machines: machines::$machines,
        },)*)*];
    };
}

for_each_scenario!(table);

/// The scenario of this name.
pub fn named(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_is_named_once_and_has_machines() {
        for scenario in ALL {
            assert_eq!(ALL.iter().filter(|other| other.name == scenario.name).count(), 1, "{}", scenario.name);
            assert!(!scenario.machines.is_empty(), "{}", scenario.name);
        }
        assert_eq!(named("rig::pass").map(|scenario| scenario.machines), Some(machines::BARE));
        assert_eq!(named("rig::none"), None);
    }
}
