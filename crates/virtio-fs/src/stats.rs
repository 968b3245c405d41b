//! What the file system did, and why the window was not used where it was not.

use core::sync::atomic::{AtomicU64, Ordering};

use dax_window::Bypass;

/// Whether files go through the window, and if not, why.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DaxStatus {
    /// They do.
    Active,
    /// [`crate::Config::dax`] is off.
    SwitchedOff,
    /// The device has no window: no shared-memory region with id 0.
    NoWindow,
    /// The device describes its window in a way that cannot be.
    BadWindow(virtio_shm::ShmError),
    /// The window is unusable as configured: smaller than a range, or aligned more coarsely.
    Unusable(dax_window::ConfigError),
    /// [`crate::Config::window_part`] names a part that the window doesn't have.
    BadPart(virtio_shm::ShmError),
    /// The part of the window belongs to somebody else.
    PartTaken {
        /// To whom.
        holder: fs_dax::OwnerId,
    },
    /// The platform could not map the window.
    NotMapped,
    /// The server answers SETUPMAPPING with ENOSYS.
    ServerCannotMap,
}

impl core::fmt::Display for DaxStatus {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Active => f.write_str("active"),
            Self::SwitchedOff => f.write_str("off: switched off by the configuration"),
            Self::NoWindow => f.write_str("off: the device has no DAX window (shared-memory region 0)"),
            Self::BadWindow(error) => write!(f, "off: the device's window is malformed: {error}"),
            Self::Unusable(error) => write!(f, "off: {error}"),
            Self::BadPart(error) => write!(f, "off: the configuration's part of the window cannot be: {error}"),
            Self::PartTaken { holder } => write!(f, "off: the part of the window belongs to {holder}"),
            Self::NotMapped => f.write_str("off: the platform did not map the window"),
            Self::ServerCannotMap => f.write_str("off: the server answers SETUPMAPPING with ENOSYS"),
        }
    }
}

/// Counters of a mounted file system, at one moment. All grow from 0 at the mount.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Whether DAX is active, and why not.
    pub dax: DaxStatus,
    /// Requests sent.
    pub requests: u64,
    /// Requests whose answer did not come in time.
    pub timeouts: u64,
    /// Replies that came after their request was given up, and whose look-ups and handles were given back.
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
    /// Times that somebody waited for somebody else's range.
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
    /// Accesses that went round the window, by reason.
    pub around: BypassStats,
    /// The window's own statistics; `None` without a window.
    pub window: Option<dax_window::Stats>,
}

/// Accesses of files on a file system with a window that used READ or WRITE all the same.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct BypassStats {
    /// The file is not for DAX by [`crate::DaxMode`].
    pub mode: u64,
    /// The server opened it for direct I/O, or it is no regular file.
    pub direct: u64,
    /// The last, partial page of a file on a host that maps whole pages only.
    pub tail: u64,
    /// A write that reaches past the end of the file.
    pub extending: u64,
    /// A write to a file with holes ([`crate::HoleStores`]).
    pub holes: u64,
    /// The host refused to map the file.
    pub refused: u64,
    /// The thrash guard.
    pub guard: u64,
    /// Every range was in use.
    pub busy: u64,
    /// Other reasons of the window's.
    pub other: u64,
}

/// The same while they count.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) late_replies: AtomicU64,
    pub(crate) entry_hits: AtomicU64,
    pub(crate) negative_hits: AtomicU64,
    pub(crate) forgets: AtomicU64,
    pub(crate) dax_read_bytes: AtomicU64,
    pub(crate) dax_write_bytes: AtomicU64,
    pub(crate) request_read_bytes: AtomicU64,
    pub(crate) request_write_bytes: AtomicU64,
    pub(crate) setup_mappings: AtomicU64,
    pub(crate) setup_refused: AtomicU64,
    pub(crate) remove_requests: AtomicU64,
    pub(crate) removed_mappings: AtomicU64,
    pub(crate) window_waits: AtomicU64,
    pub(crate) bypass_mode: AtomicU64,
    pub(crate) bypass_direct: AtomicU64,
    pub(crate) bypass_tail: AtomicU64,
    pub(crate) bypass_extending: AtomicU64,
    pub(crate) bypass_holes: AtomicU64,
    pub(crate) notifications: AtomicU64,
    pub(crate) faults: AtomicU64,
    pub(crate) faults_huge: AtomicU64,
    pub(crate) faults_base: AtomicU64,
    pub(crate) sync_faults: AtomicU64,
    pub(crate) fsyncs: AtomicU64,
    pub(crate) protected_pages: AtomicU64,
    bypass_refused: AtomicU64,
    bypass_guard: AtomicU64,
    bypass_busy: AtomicU64,
    bypass_other: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn around(&self, why: Bypass) {
        let counter = match why {
            Bypass::NotMappable => &self.bypass_tail,
            Bypass::Refused => &self.bypass_refused,
            Bypass::Guard => &self.bypass_guard,
            Bypass::Busy => &self.bypass_busy,
            _ => &self.bypass_other,
        };
        Self::add(counter, 1);
    }

    pub(crate) fn bypass_stats(&self) -> BypassStats {
        BypassStats {
            mode: get(&self.bypass_mode),
            direct: get(&self.bypass_direct),
            tail: get(&self.bypass_tail),
            extending: get(&self.bypass_extending),
            holes: get(&self.bypass_holes),
            refused: get(&self.bypass_refused),
            guard: get(&self.bypass_guard),
            busy: get(&self.bypass_busy),
            other: get(&self.bypass_other),
        }
    }
}

pub(crate) fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
