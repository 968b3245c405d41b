//! How readers without the lock and the window's owner find out about each other.
//!
//! A range has a *word*, which is open while readers may enter. A reader has a *slot*, where it marks the range that it is
//! about to use; then it looks at the word. Whoever wants a range to be unused closes its word, then looks at all slots.
//! Either order of the two pairs is right:
//!
//! - the reader's look comes before the closing: its mark, which is before that, is seen by the look at the slots, which is after;
//! - the closing comes before the reader's look: the reader finds the word closed, takes its mark back and has used nothing.
//!
//! What makes "before" one order for all processors is that the mark, the look at the word, the closing and the look at the
//! slots are all sequentially consistent. The other accesses need less: what is mapped is written before the word is opened
//! (release) and read after it is found open (acquire); what is copied is copied before the mark is taken back (release), and
//! whoever finds no mark (acquire) changes the mapping after that.
//!
//! Depends on `crate::sync` only, so that `tests/marks.rs` can run this very file under loom.

use crate::sync::{AtomicU32, Ordering, full_fence};

/// Of a word: readers may enter.
pub(crate) const OPEN: u32 = 1 << 31;

/// A slot that nobody uses.
pub(crate) const UNUSED: u32 = 0;
/// Of a slot: somebody waits for the mark to go.
pub(crate) const AWAITED: u32 = 1 << 31;
/// Marks that `range` is about to be used. Not if the slot has another mark already.
#[inline]
pub(crate) fn mark(slot: &AtomicU32, range: u32) -> bool {
    let marked = slot.compare_exchange(UNUSED, range + 1, Ordering::SeqCst, Ordering::Relaxed).is_ok();
    full_fence();
    marked
}

/// What the word of a marked range says. If it is open, everything about the range stays as it is until [`unmark`].
#[inline]
pub(crate) fn look(word: &AtomicU32) -> u32 {
    word.load(Ordering::SeqCst)
}

/// Takes a mark back; whether somebody waits for that.
#[inline]
pub(crate) fn unmark(slot: &AtomicU32) -> bool {
    slot.swap(UNUSED, Ordering::AcqRel) & AWAITED != 0
}

/// Lets readers in. Only for the owner, after what they read was written.
#[inline]
pub(crate) fn open(word: &AtomicU32, what: u32) {
    word.store(what | OPEN, Ordering::Release);
}

/// Lets no more readers in. Only for the owner.
#[inline]
pub(crate) fn close(word: &AtomicU32) {
    let what = word.load(Ordering::Relaxed);
    if what & OPEN != 0 {
        word.store(what & !OPEN, Ordering::SeqCst);
    }
    full_fence();
}

/// Whether a range whose word is closed is still used; who uses it is asked to say when that is over.
pub(crate) fn is_used<'s>(slots: impl Iterator<Item = &'s AtomicU32>, range: u32) -> bool {
    let mut used = false;
    for slot in slots {
        let mut mark = slot.load(Ordering::SeqCst);
        while mark & !AWAITED == range + 1 {
            if mark & AWAITED != 0 {
                used = true;
                break;
            }
            match slot.compare_exchange(mark, mark | AWAITED, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => mark |= AWAITED,
                Err(now) => mark = now,
            }
        }
    }
    used
}
