//! What a mounted file system did.

use fs_dax::PageSizes;

use crate::io::FileIo;
use crate::rpc::counters::Counter;
use crate::window::counters::Counters;
use crate::{BypassStats, DaxStatus, Lock};

/// Counters of a mounted file system, at one moment. All grow from 0 at the mount.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Whether DAX is active, and why not.
    pub dax: DaxStatus,
    /// Requests sent.
    pub requests: u64,
    /// Requests that were not answered in time.
    pub timeouts: u64,
    /// Replies that came after their request was given up; their look-ups and handles were given back.
    pub late_replies: u64,
    /// Look-ups answered by the entry cache.
    pub entry_hits: u64,
    /// Look-ups of names that the entry cache knew not to exist.
    pub negative_hits: u64,
    /// Inodes forgotten.
    pub forgets: u64,
    /// Bytes copied out of the window.
    pub dax_read_bytes: u64,
    /// Bytes copied into the window.
    pub dax_write_bytes: u64,
    /// Bytes read by READ requests.
    pub request_read_bytes: u64,
    /// Bytes written by WRITE requests.
    pub request_write_bytes: u64,
    /// SETUPMAPPING requests.
    pub setup_mappings: u64,
    /// Those of them that failed.
    pub setup_refused: u64,
    /// REMOVEMAPPING requests.
    pub remove_requests: u64,
    /// Mappings in them.
    pub removed_mappings: u64,
    /// Waits for ranges that others use.
    pub window_waits: u64,
    /// Notifications acted upon.
    pub notifications: u64,
    /// Page faults answered.
    pub faults: u64,
    /// Of them, 2 MiB pages installed.
    pub faults_huge: u64,
    /// Of them, 4 KiB pages installed.
    pub faults_base: u64,
    /// Synchronous faults that sent FSYNC.
    pub sync_faults: u64,
    /// FSYNC requests.
    pub fsyncs: u64,
    /// Pages write-protected and cleaned by write-backs.
    pub protected_pages: u64,
    /// Pages stored to with what was there, to have the host write them: before a synchronous fault is answered, and after an
    /// FSYNC that failed.
    pub touched_pages: u64,
    /// Accesses that bypassed the window, by reason.
    pub bypass: BypassStats,
    /// The window's own statistics; `None` without a window.
    pub window: Option<dax_window::Stats>,
}

impl Stats {
    pub(crate) fn of<R: Lock>(io: &FileIo<R>) -> Self {
        let volume = io.volume();
        let rpc = &volume.rpc;
        let window = io.window();
        let faults = &io.counters.faults;
        let (dax_read_bytes, dax_write_bytes) = window.map_or((0, 0), |window| window.copied());
        let counted = |counter: fn(&Counters) -> &Counter| window.map_or(0, |window| counter(&window.counters).get());
        Self {
            dax: io.dax_status(),
            requests: rpc.connection().requests(),
            timeouts: rpc.connection().timeouts(),
            late_replies: rpc.counters.orphaned_replies.get(),
            entry_hits: volume.counters.entry_hits.get(),
            negative_hits: volume.counters.negative_hits.get(),
            forgets: rpc.counters.forgets.get(),
            dax_read_bytes,
            dax_write_bytes,
            request_read_bytes: rpc.counters.read_bytes.get(),
            request_write_bytes: rpc.counters.write_bytes.get(),
            setup_mappings: counted(|window| &window.setup_mappings),
            setup_refused: counted(|window| &window.setup_refused),
            remove_requests: counted(|window| &window.remove_requests),
            removed_mappings: counted(|window| &window.removed_mappings),
            window_waits: counted(|window| &window.waits),
            notifications: volume.counters.notifications.get(),
            faults: faults.faults() as u64,
            faults_huge: faults.pages_of(PageSizes::SMALL_4K.huge()) as u64,
            faults_base: faults.pages_of(PageSizes::SMALL_4K.base()) as u64,
            sync_faults: io.counters.sync_faults.get(),
            fsyncs: rpc.counters.fsyncs.get(),
            protected_pages: counted(|window| &window.protected_pages),
            touched_pages: counted(|window| &window.touched_pages),
            bypass: window.map(|window| window.counters.bypass_stats()).unwrap_or_default(),
            window: window.map(|window| window.stats()),
        }
    }
}
