//! Files on memory that several machines share.

mod failures;
mod faults;
mod full;
mod images;
mod log;
mod masters;
mod sharing;

pub(crate) use failures::{failed_device, failed_range, second_mount_busy};
pub(crate) use faults::{fault_counts, isolation};
pub(crate) use full::{full_device, full_log};
pub(crate) use images::{format_by_us_read_by_us, golden_image, interleaved};
pub(crate) use log::{follow_while_appending, late_client, log_follow, torn_entry_refused};
pub(crate) use masters::{interrupted_append_settled, reformat_makes_stale, second_master_refused};
pub(crate) use sharing::{read_only_client_cannot_write, two_guests_share};
