//! What an embedder can tune, with defaults that suit a small kernel.

use alloc::sync::Arc;
use core::time::Duration;

use dax_window::HostRules;

use crate::io::{self, DaxMode, HoleStores};
use crate::rpc::connection;
use crate::rpc::credentials::Credentials;
use crate::rpc::deadlines::Deadlines;
use crate::volume::inodes;
use crate::window::part::WindowPart;
use crate::window::{self, TailMapping};

/// Settings of a file system; `Config::default()` is a sane start, [`Config::small`] one for little kernels. Fields are set by
/// the methods of the same names, or assigned.
///
/// ```
/// use virtio_fs::Config;
///
/// let mut config = Config::small().max_inodes(32).data_buffers(2);
/// config.read_ahead = false;
/// assert!(config.dax);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Use the DAX window if there is one.
    pub dax: bool,
    /// Without a usable window the mount is refused ([`crate::MountError::NoDax`]) instead of going by requests.
    pub require_dax: bool,
    /// Which files go through the window.
    pub dax_mode: DaxMode,
    /// The part of the window to use, which leaves the rest to others; `None` for all of it.
    pub window_part: Option<Arc<WindowPart>>,
    /// Bytes of the window to use at most. What a device has beyond that is neither mapped nor described in memory: a
    /// window of 1 TiB takes tens of MiB of descriptors.
    pub max_window: u64,
    /// Size of a range of the window in bytes: a power of two of at least 2 MiB.
    pub range_size: u64,
    /// Whether the host maps the last, partial page of a file.
    pub tail: TailMapping,
    /// What becomes of stores where a file has a hole.
    pub holes: HoleStores,
    /// Most mappings that may live at once, for hosts that limit them; `None` for no limit.
    pub max_mappings: Option<u32>,
    /// What the host does with a mapping over another one. The default assumes nothing and costs a REMOVEMAPPING before a
    /// range is used again.
    pub host: HostRules,
    /// Set up the mappings that a sequential reader will need next.
    pub read_ahead: bool,
    /// Serve small random accesses by READ and WRITE when remapping costs more than it brings.
    pub thrash_guard: bool,
    /// Descriptors of each queue; rounded down to a power of two and to what the device offers.
    pub queue_size: u16,
    /// Request queues to use, of those the device offers.
    pub max_request_queues: u16,
    /// Whether the device interrupts, and what becomes of that.
    pub interrupts: Interrupts,
    /// Buffers for bulk data of READ, WRITE and READDIR.
    pub data_buffers: usize,
    /// Size of each such buffer in bytes, contiguous guest RAM; also the largest READ or WRITE.
    pub data_buffer_size: usize,
    /// How long a request may take before its caller gets an error, but for those of
    /// [`long_request_timeout`](struct@Config#structfield.long_request_timeout).
    pub request_timeout: Duration,
    /// How long FSYNC, FSYNCDIR, FLUSH, FALLOCATE, COPY_FILE_RANGE, SYNCFS and waiting for a lock may take: as long as the
    /// host needs for all that it has in memory of a file, which is no sign of a dead device. Less than `request_timeout`
    /// counts as that.
    pub long_request_timeout: Duration,
    /// How long to wait for others to let go of the window: for a free range when all are in use, for views of bytes that are
    /// to be cut. A wait for a request that is under way lasts as long as the request. Zero: nobody waits.
    pub window_timeout: Duration,
    /// How many requests in a row may time out, with nothing answered between them, before the device is taken for dead and
    /// left alone for good. Long requests do not count, nor does what times out while one is under way.
    pub max_timeouts: u32,
    /// Inodes to keep although nobody holds them, so that their mappings and attributes survive a close.
    pub max_inodes: usize,
    /// Names to keep in the entry cache.
    pub max_entries: usize,
    /// User and group that the requests name unless a handle says otherwise.
    pub credentials: Credentials,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            dax: true,
            require_dax: false,
            dax_mode: DaxMode::Always,
            window_part: None,
            max_window: 1 << 40,
            range_size: 2 << 20,
            tail: TailMapping::WholePages,
            holes: HoleStores::AskHost,
            max_mappings: None,
            host: HostRules::STRICT,
            read_ahead: true,
            thrash_guard: true,
            queue_size: 128,
            max_request_queues: 8,
            interrupts: Interrupts::Off,
            data_buffers: 8,
            data_buffer_size: 128 << 10,
            request_timeout: Duration::from_secs(30),
            long_request_timeout: Duration::from_secs(10 * 60),
            window_timeout: Duration::from_secs(10),
            max_timeouts: 2,
            max_inodes: 1024,
            max_entries: 4096,
            credentials: Credentials::default(),
        }
    }
}

impl Config {
    /// For kernels with little memory: one request queue, queues of 8 descriptors, one data buffer of 4 KiB, small caches.
    /// With a window of 256 MiB a file system takes at most 64 KiB of memory after the mount, DMA memory included.
    pub fn small() -> Self {
        Self {
            queue_size: 8,
            max_request_queues: 1,
            data_buffers: 1,
            data_buffer_size: 4096,
            max_inodes: 64,
            max_entries: 128,
            ..Self::default()
        }
    }

    pub(crate) fn connection(&self) -> connection::Limits {
        connection::Limits {
            data_buffer_size: self.data_buffer_size,
            deadlines: Deadlines { short: self.request_timeout, long: self.long_request_timeout },
            max_timeouts: self.max_timeouts,
        }
    }

    pub(crate) fn volume(&self) -> inodes::Limits {
        inodes::Limits { max_inodes: self.max_inodes, max_names: self.max_entries }
    }

    pub(crate) fn window(&self, alignment: u64) -> window::Settings {
        window::Settings { range_size: self.range_size, tail: self.tail, alignment, timeout: self.window_timeout }
    }

    pub(crate) fn io(&self) -> io::Settings {
        io::Settings { dax_mode: self.dax_mode, holes: self.holes, timeout: self.window_timeout }
    }

    /// The settings of the allocator of a window of `len` bytes on a server that aligns mappings to `map_alignment` bytes.
    pub(crate) fn allocator(&self, len: u64, map_alignment: Option<u64>) -> dax_window::Config {
        let defaults = dax_window::Config::new(len);
        dax_window::Config {
            // What is no power of two becomes a shift that the window refuses by name.
            range_shift: if self.range_size.is_power_of_two() { self.range_size.trailing_zeros() } else { 0 },
            map_alignment: map_alignment.unwrap_or(defaults.map_alignment),
            max_live: self.max_mappings,
            host: self.host,
            read_ahead: dax_window::ReadAheadConfig {
                max_ranges: if self.read_ahead { defaults.read_ahead.max_ranges } else { 0 },
                ..defaults.read_ahead
            },
            guard: if self.thrash_guard { defaults.guard } else { None },
            ..defaults
        }
    }
}

/// Makes a method of each field that sets it.
macro_rules! setters {
    ($($field:ident: $type:ty,)*) => {
        /// One for each field.
        impl Config {
            $(
                #[doc = concat!("With [`Config::", stringify!($field), "`](struct@Config#structfield.", stringify!($field), ").")]
                #[must_use]
                pub fn $field(mut self, $field: $type) -> Self {
                    self.$field = $field;
                    self
                }
            )*
        }
    };
}

setters! {
    dax: bool,
    require_dax: bool,
    dax_mode: DaxMode,
    window_part: Option<Arc<WindowPart>>,
    max_window: u64,
    range_size: u64,
    tail: TailMapping,
    holes: HoleStores,
    max_mappings: Option<u32>,
    host: HostRules,
    read_ahead: bool,
    thrash_guard: bool,
    queue_size: u16,
    max_request_queues: u16,
    interrupts: Interrupts,
    data_buffers: usize,
    data_buffer_size: usize,
    request_timeout: Duration,
    long_request_timeout: Duration,
    window_timeout: Duration,
    max_timeouts: u32,
    max_inodes: usize,
    max_entries: usize,
    credentials: Credentials,
}

/// Whether the device interrupts when requests are done, and what becomes of that.
///
/// [`VirtioFs::set_interrupts`](crate::VirtioFs::set_interrupts) switches them off and on later.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Interrupts {
    /// It does not: whoever waits looks again and again.
    #[default]
    Off,
    /// It does. No interrupt handler enters the driver: interrupts end the processor's sleep in [`crate::Platform::wait`], or
    /// a thread calls [`crate::InterruptHandle::handle`].
    Deferred,
    /// It does, and interrupt handlers call [`crate::InterruptHandle::handle`]. The lock has to disable interrupts
    /// ([`crate::Lock::DISABLES_INTERRUPTS`]).
    InHandler,
}
