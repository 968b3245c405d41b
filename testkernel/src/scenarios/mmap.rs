//! Files in the address spaces of programs.

mod damaged;
mod failed;
mod failure;
mod faults;
mod pinned;
mod program_pins;
mod stores;
mod unmaps;

pub(crate) use damaged::damaged_page;
pub(crate) use failed::failed_file;
pub(crate) use failure::{failure_is_everywhere, failure_under_load};
pub(crate) use faults::{huge_fault_2m, past_eof_is_bus_error, read_fault_4k, tail_page};
pub(crate) use pinned::{all_pinned_times_out, pinned_range_is_skipped};
pub(crate) use program_pins::pinned_by_a_program;
pub(crate) use stores::{private_cow, write_fault_marks_dirty};
pub(crate) use unmaps::{punch_unmaps, reclaim_unmaps, truncate_unmaps};
