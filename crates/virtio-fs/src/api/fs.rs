//! A mounted file system.

use alloc::sync::Arc;

use fuse_proto::{NodeId, Protocol, ops};
use virtio_shm::ShmRegion;

use super::mounted::Mounted;
use crate::rpc::space;
use crate::{Credentials, DaxStatus, DefaultLock, Error, Lock, PageTables, Stats, Tag};

/// A mounted virtio file system. Clones are handles to the same one; operations can be called from several threads.
///
/// `R` is the kind of lock inside: [`DefaultLock`] unless another one is chosen. Choose one that disables interrupts if
/// interrupt handlers enter the driver ([`crate::Interrupts::InHandler`]).
pub struct VirtioFs<R: Lock = DefaultLock> {
    pub(crate) mounted: Arc<Mounted<R>>,
    who: Credentials,
}

impl<R: Lock> Clone for VirtioFs<R> {
    fn clone(&self) -> Self {
        Self { mounted: self.mounted.clone(), who: self.who }
    }
}

impl<R: Lock> core::fmt::Debug for VirtioFs<R> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("VirtioFs").field("tag", &self.tag()).field("dax", &self.dax_status()).finish_non_exhaustive()
    }
}

impl<R: Lock> VirtioFs<R> {
    pub(crate) fn new(mounted: Arc<Mounted<R>>, who: Credentials) -> Self {
        Self { mounted, who }
    }

    /// Returns the same file system with other credentials; see [`Credentials`] for what servers make of them.
    #[must_use]
    pub fn as_user(&self, who: Credentials) -> Self {
        Self { mounted: self.mounted.clone(), who }
    }

    /// Returns the credentials of this handle's requests.
    pub fn credentials(&self) -> Credentials {
        self.who
    }

    /// Returns the tag by which the host names the file system.
    pub fn tag(&self) -> Tag {
        self.mounted.tag
    }

    /// Returns whether files go through the window, and if not, why.
    pub fn dax_status(&self) -> DaxStatus {
        self.mounted.io.dax_status()
    }

    /// Returns where the window, or the part of it that the driver uses, lies in guest-physical memory.
    pub fn window_region(&self) -> Option<ShmRegion> {
        self.mounted.io.window().map(|window| window.region())
    }

    /// Returns what was negotiated with the server.
    pub fn protocol(&self) -> &Protocol {
        self.mounted.rpc().protocol()
    }

    /// Returns the virtio features in force.
    pub fn features(&self) -> u64 {
        self.mounted.features
    }

    /// Returns how many request queues are used.
    pub fn request_queues(&self) -> usize {
        self.mounted.rpc().connection().request_queues()
    }

    /// Returns counters of what happened since the mount.
    pub fn stats(&self) -> Stats {
        Stats::of(&self.mounted.io)
    }

    /// Switches the device's interrupts on or off. Requests that came back without one are completed.
    ///
    /// What an interrupt handler or [`Platform::wait`](crate::Platform::wait) may do stays as
    /// [`Config::interrupts`](crate::Config::interrupts) says.
    pub fn set_interrupts(&self, on: bool) {
        self.mounted.rpc().connection().set_interrupts(on);
    }

    /// To be called when the device interrupts: acknowledges it and completes requests. Returns how many.
    /// [`InterruptHandle`](crate::InterruptHandle) does the same before there is a file system.
    pub fn handle_interrupt(&self) -> usize {
        self.mounted.rpc().connection().handle_interrupt()
    }

    /// Completes requests that the device has answered and acts upon its notifications, for embedders that poll. Returns how
    /// many. Not for interrupt handlers: what a notification says can take a request.
    pub fn poll(&self) -> usize {
        let count = self.mounted.rpc().connection().process() + self.mounted.volume().take_notifications();
        self.mounted.volume().settle_orphans();
        if let Some(window) = self.mounted.io.window() {
            window.settle_detached();
        }
        count
    }

    /// Registers page-table callbacks: needed before any page of the window is installed in a page table. Returns those
    /// before.
    pub fn set_mappings(&self, mappings: Option<PageTables>) -> Option<PageTables> {
        self.mounted.io.window().and_then(|window| window.set_page_tables(mappings))
    }

    /// Marks the whole file system as failed, for good: reads and writes give EIO and faults bus errors from now on, on every
    /// processor, and pages that are mapped are taken out of the page tables.
    pub fn mark_failed(&self) {
        self.mounted.volume().mark_all_failed();
    }

    /// One step of background reclaim: frees a batch of ranges that are not in use, if fewer are free than a busy moment
    /// needs. For an idle loop; costs at most one round trip. Returns whether there was something to do.
    ///
    /// # Errors
    ///
    /// [`Error::Unmounted`].
    pub fn reclaim_step(&self) -> Result<bool, Error> {
        let _call = self.mounted.check()?;
        self.mounted.io.window().map_or(Ok(false), |window| window.reclaim_step())
    }

    /// Returns sizes and free space of the file system on the host.
    ///
    /// # Errors
    ///
    /// The server's own.
    pub fn statfs(&self) -> Result<ops::StatfsReply, Error> {
        let _call = self.mounted.check()?;
        space::statfs(self.mounted.rpc(), self.who, NodeId::ROOT)
    }

    /// Makes everything written durable on the host: SYNCFS.
    ///
    /// # Errors
    ///
    /// EOPNOTSUPP if the server does not know SYNCFS.
    pub fn sync(&self) -> Result<(), Error> {
        let _call = self.mounted.check()?;
        space::syncfs(self.mounted.rpc(), self.who)
    }

    /// Ends the session: removes all mappings, waits for requests in flight, gives all inodes back, sends DESTROY and
    /// resets the device.
    ///
    /// Files and nodes that are still open get [`Error::Unmounted`] from then on. Mapped views and pins must be gone:
    /// their memory would vanish under them. What the server says to DESTROY changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] while views are alive; EBUSY while pages are pinned through the embedder's page tables, while an access
    /// is under way until [`window_timeout`](struct@crate::Config#structfield.window_timeout) has passed, and while another
    /// thread unmounts. Everything goes on as before then, but that pages have to be faulted in again.
    ///
    /// [`Error::Dead`] of a device that was given up: the file system is unmounted all the same.
    pub fn unmount(&self) -> Result<(), Error> {
        let _call = self.mounted.check()?;
        self.mounted.volume().unmount()
    }

    /// Ends the file system although it is in use, as far as that can be done without taking memory from anybody:
    ///
    /// - All calls get [`Error::Unmounted`] from now on, those that wait for something among them as soon as they are served.
    /// - All pages are taken out of the page tables ([`fs_dax::UnmapCause::Failure`]), and faults are bus errors.
    /// - If no view, no pin and no fault under way is left, the session is ended as by [`VirtioFs::unmount`].
    /// - Else the device and the mappings stay as they are until the last handle is dropped, which ends the session then. Pages
    ///   that are pinned even then keep the device, its window and its memory for good, and that is logged.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] and EBUSY if something is in use: the session ends later. [`Error::Dead`] as for [`VirtioFs::unmount`].
    pub fn force_unmount(&self) -> Result<(), Error> {
        let _call = self.mounted.check()?;
        self.mounted.volume().detach()
    }
}
