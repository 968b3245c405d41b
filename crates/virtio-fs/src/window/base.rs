//! The struct of this layer, and what every part of it needs: the allocator under its lock, the status, how long to wait.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

use dax_window::{Events, Hits, Window};
use fs_dax::{FileKey, Mappings};
use fuse_proto::Errno;
use lock_api::Mutex;
use virtio_shm::ShmRegion;

use super::counters::Counters;
use super::late::LateMappings;
use super::memory::WindowMemory;
use super::pending::SetUp;
use super::views::Views;
use crate::nanos::nanos;
use crate::rpc::Rpc;
use crate::{DaxStatus, Error, Lock, Platform, WindowAccess};

/// What becomes of a cut, a punch or a removal of bytes that the embedder keeps pinned.
pub(super) const PINNED: Error = Error::refused(Errno::EBUSY, "pages stayed pinned until the deadline");

/// The embedder's page-table callbacks.
pub type PageTables = Arc<dyn Mappings + Send + Sync>;

/// What the host does with the page that holds the end of a file whose size is no multiple of the page.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TailMapping {
    /// It may not be mapped (stock QEMU): only whole pages are, and the rest is read and written by requests.
    #[default]
    WholePages,
    /// It can be mapped, with zeros after the end of the file (libkrun, crosvm).
    PartialPage,
}

/// How the window is used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Size of a range in bytes.
    pub(crate) range_size: u64,
    pub(crate) tail: TailMapping,
    /// What mappings begin and end at multiples of, in bytes: a page, or more where the server has larger ones.
    pub(crate) alignment: u64,
    /// How long to wait for others to let go of ranges.
    pub(crate) timeout: Duration,
}

/// How long to wait for references and requests of others: at least, and at most while a request is in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) least: Duration,
    pub(super) most: Duration,
}

/// See [`crate::window`].
pub(crate) struct DaxWindow<R: Lock> {
    pub(super) rpc: Arc<Rpc<R>>,
    /// That of `rpc`, a step nearer.
    platform: Arc<dyn Platform>,
    /// Apart, so that the whole is small enough for little stacks while it is made.
    pub(super) window: Mutex<R, Box<Window>>,
    /// What it has mapped, for those who copy without its lock.
    pub(super) hits: Hits,
    /// Locked under `window`, or alone. Noted after a view's reference is taken, forgotten before it is given back.
    pub(super) views: Mutex<R, Views>,
    pub(super) events: Events,
    pub(super) memory: WindowMemory,
    pub(super) settings: Settings,
    pub(super) status: Mutex<R, DaxStatus>,
    /// Whether the status is [`DaxStatus::Active`], for those who need not know why not.
    pub(super) active: AtomicBool,
    /// Whether a set-up has succeeded: only then is it proven that the server maps at all.
    pub(super) proven: AtomicBool,
    /// Set-ups that nobody waits for any more.
    pub(super) detached: Mutex<R, Vec<SetUp<R>>>,
    /// None until the embedder registers them.
    pub(super) page_tables: Mutex<R, Option<PageTables>>,
    pub(super) late: Box<LateMappings<R>>,
    pub(crate) counters: Counters,
}

impl<R: Lock> DaxWindow<R> {
    /// A window whose memory is mapped, with nothing in it.
    pub(crate) fn new(rpc: Arc<Rpc<R>>, window: Box<Window>, memory: WindowMemory, settings: Settings) -> Self {
        let events = window.events();
        Self {
            platform: rpc.connection().shared_platform(),
            rpc,
            events,
            hits: window.hits(),
            window: Mutex::new(window),
            views: Mutex::new(Views::default()),
            memory,
            settings,
            status: Mutex::new(DaxStatus::Active),
            active: AtomicBool::new(true),
            proven: AtomicBool::new(false),
            detached: Mutex::new(Vec::new()),
            page_tables: Mutex::new(None),
            late: Box::new(LateMappings::new()),
            counters: Counters::default(),
        }
    }

    /// Runs `decide` on the allocator, under its lock.
    pub(super) fn with<T>(&self, decide: impl FnOnce(&mut Window) -> T) -> T {
        decide(&mut self.window.lock())
    }

    /// Whether files go through the window.
    pub(crate) fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire)
    }

    /// Whether files go through the window, and if not, why.
    pub(crate) fn status(&self) -> DaxStatus {
        self.status.lock().clone()
    }

    /// Records why the window is not used any more, once.
    pub(super) fn turn_off(&self, why: DaxStatus) {
        let mut status = self.status.lock();
        self.active.store(false, Ordering::Release);
        if matches!(*status, DaxStatus::Active) {
            *status = why;
        }
    }

    /// Registers page-table callbacks. Returns those before.
    pub(crate) fn set_page_tables(&self, page_tables: Option<PageTables>) -> Option<PageTables> {
        core::mem::replace(&mut self.page_tables.lock(), page_tables)
    }

    pub(super) fn page_tables(&self) -> Option<PageTables> {
        self.page_tables.lock().clone()
    }

    /// Where the window, or the part of it that the driver uses, lies in guest-physical memory.
    pub(crate) fn region(&self) -> ShmRegion {
        self.memory.region()
    }

    /// Whether loads and stores reach the window's memory.
    pub(crate) fn can_be_viewed(&self) -> bool {
        self.memory.access() == WindowAccess::LoadsAndStores
    }

    /// The size of a range in bytes.
    pub(crate) fn range_size(&self) -> u64 {
        self.settings.range_size
    }

    /// How many ranges there are.
    pub(crate) fn ranges(&self) -> u32 {
        self.with(|window| window.ranges())
    }

    /// The allocator's own statistics.
    pub(crate) fn stats(&self) -> dax_window::Stats {
        self.with(|window| window.stats())
    }

    /// The end of what the host can map of a file of `size` bytes.
    #[inline]
    pub(crate) fn mappable_end(&self, size: u64) -> u64 {
        // A power of two.
        let within = self.settings.alignment - 1;
        match self.settings.tail {
            TailMapping::WholePages => size & !within,
            TailMapping::PartialPage => size.saturating_add(within) & !within,
        }
    }

    /// Forgets that the host refused to map a file: it is asked anew.
    pub(crate) fn forget_refusals(&self, file: FileKey) {
        self.with(|window| window.forget_refusals(file));
    }

    /// Takes note of what requests cost that took the place of a mapping, so that the guard weighs them against each other.
    pub(crate) fn note_request_cost(&self, took: Duration) {
        self.with(|window| window.note_cost(false, nanos(took)));
    }

    #[inline]
    pub(crate) fn platform(&self) -> &dyn Platform {
        &*self.platform
    }

    /// How long to wait for others, from now on.
    pub(super) fn patience(&self) -> Patience {
        let now = self.rpc.now();
        let least = now.saturating_add(self.settings.timeout);
        // Zero: nobody waits.
        let longest =
            if self.settings.timeout.is_zero() { now } else { now.saturating_add(self.rpc.connection().patience()) };
        Patience { least, most: longest.max(least) }
    }
}
