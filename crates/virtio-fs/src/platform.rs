//! What the embedder brings besides memory for the device: a clock, a way to wait, and a way to map the window.
#![expect(unsafe_code, reason = "the trait is unsafe to implement and its copies go through raw pointers")]

use core::hint::spin_loop;
use core::num::NonZeroU64;
use core::ptr::NonNull;
use core::time::Duration;

use virtio_shm::ShmRegion;

/// How the window can be accessed and what its pages are good for; a property of the machine, known at run time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum WindowAccess {
    /// Loads and stores work: mapped views, faults, reads and writes.
    LoadsAndStores,
    /// Only [`Platform::copy_from_window`] and [`Platform::copy_to_window`] reach the window (a machine that accesses PCI
    /// memory by instructions of its own): reads and writes work, mapped views and faults are refused.
    CopiesOnly,
}

/// The embedder's clock, its way to wait, and its mapping of the window.
///
/// Only [`Platform::now`] has no default. The default [`Platform::map_window`] maps nothing, which leaves the file system
/// working by READ and WRITE requests.
///
/// # Safety
///
/// Who implements this guarantees that the memory that [`Platform::map_window`] returns is valid for reads and writes of
/// the whole region, mapped write-back cached (virtio 1.3, 5.11.6.4), until [`Platform::unmap_window`], and is used for
/// nothing else; and that the copies copy exactly the bytes that they are given.
pub unsafe trait Platform: Send + Sync {
    /// Time since any fixed point; never goes back. Read once or twice an operation, so it should be cheap.
    fn now(&self) -> Duration;

    /// The same time as [`Platform::now`], perhaps some milliseconds late, for what need not be exact: whether attributes are
    /// fresh enough. Read once in each read and write of bytes that are mapped; worth having where it is cheaper than
    /// [`Platform::now`].
    fn coarse_now(&self) -> Duration {
        self.now()
    }

    /// Returns the number of the processor that calls, or `None`, the default, where that costs more than reading memory.
    ///
    /// Reads and writes of mapped bytes then write no cache line that another processor writes too. Being interrupted, and going on
    /// elsewhere, does no harm; nor does a number that is not the processor's, a thread's say, but those that call at the same
    /// time should have different ones, from 0 up. Without it a number is made of where the caller's stack is.
    fn cpu(&self) -> Option<usize> {
        None
    }

    /// Waits until `ready` returns true or the clock reaches `deadline`; returns the last answer of `ready`.
    ///
    /// `ready` looks at the device's queues and takes no long time. It may be called from this method only, as often as it
    /// takes; once it has said yes, the wait is over. The default spins. A platform with interrupts
    /// disables them, asks `ready`, and sleeps with interrupts enabled in one step (`sti; hlt`) when the answer is no.
    ///
    /// Returning false before the deadline cancels the wait, on behalf of a task that was killed, say: the call ends with
    /// [`Error::Cancelled`](crate::Error::Cancelled) (EINTR), a fault is to be tried again. What the call had sent is given up as
    /// at its deadline; nothing is lost by that, and the device is not blamed.
    fn wait(&self, deadline: Duration, ready: &mut dyn FnMut() -> bool) -> bool {
        loop {
            if ready() {
                return true;
            }
            if self.now() >= deadline {
                return ready();
            }
            spin_loop();
        }
    }

    /// Returns a number of the task, thread or processor that calls, another one for each that may call at the same time.
    /// `None`, the default: that is not known.
    ///
    /// The driver holds each call to a time of its own, whatever the device does: the deadline of its longest class of
    /// request, and one [`request_timeout`](struct@crate::Config#structfield.request_timeout) for all other requests together;
    /// calls that move all bytes that they are asked to have one more for each MiB moved. Without this number, calls
    /// that overlap share the time of the one that may go on for longest: a call with none beside it keeps its own, one that
    /// is never alone may take longer. Asked once a call and once a request, so it should be cheap; a kernel with one thread
    /// returns a constant.
    fn task(&self) -> Option<NonZeroU64> {
        None
    }

    /// Maps a region of guest-physical memory, write-back cached, and returns where. `None` when that is impossible: the
    /// file system then works without the window and says so.
    fn map_window(&self, region: &ShmRegion) -> Option<NonNull<u8>> {
        let _ = region;
        None
    }

    /// Takes back what [`Platform::map_window`] mapped. Called once, when nothing uses the window any more.
    fn unmap_window(&self, region: &ShmRegion, mapped: NonNull<u8>) {
        let _ = (region, mapped);
    }

    /// How the window can be accessed.
    fn window_access(&self) -> WindowAccess {
        WindowAccess::LoadsAndStores
    }

    /// Copies `to.len()` bytes out of the window.
    ///
    /// The host may change the source at the same time; any mixture of old and new bytes is a right answer.
    ///
    /// # Safety
    ///
    /// `from` must point at `to.len()` bytes of the mapped window that a SETUPMAPPING covers.
    unsafe fn copy_from_window(&self, from: *const u8, to: &mut [u8]) {
        // SAFETY: the caller guarantees the source; a private slice does not overlap the window.
        unsafe { from.copy_to_nonoverlapping(to.as_mut_ptr(), to.len()) }
    }

    /// Copies `from` into the window.
    ///
    /// # Safety
    ///
    /// `to` must point at `from.len()` bytes of the mapped window that a writable SETUPMAPPING covers.
    unsafe fn copy_to_window(&self, from: &[u8], to: *mut u8) {
        // SAFETY: the caller guarantees the destination; a private slice does not overlap the window.
        unsafe { to.copy_from_nonoverlapping(from.as_ptr(), from.len()) }
    }
}
