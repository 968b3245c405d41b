//! Decides which part of which file is where in a DAX window, and what to do next; it never does it.
//!
//! A DAX window is guest-physical memory into which a host maps pieces of files. It is smaller than the files, so someone
//! must know what is mapped where, who uses it, what to throw out, and what state a range is in when a request fails half
//! way. This crate is that someone: a state machine without a device, a lock, a clock or a kernel. A driver asks, gets an
//! answer that says what to do next, does it with no lock held, and reports how it went.
//!
//! ```
//! # #[cfg(feature = "alloc")] {
//! use dax_window::{Access, Config, FileKey, Outcome, Request, Stream, Window};
//!
//! let mut window = Window::on_heap(Config::new(64 << 20))?;
//! let mut stream = Stream::new(); // one for each open file
//! let request = Request::read(FileKey(7), 5 << 20, 4096, 1 << 30);
//!
//! let hold = loop {
//!     match window.access(&mut stream, &request) {
//!         Access::Hit(hold) => break hold,
//!         Access::Setup(ticket) => {
//!             // Drop the lock, send one SETUPMAPPING for each entry, take the lock again, and report.
//!             let outcomes = window.setup_entries(&ticket).map(|_entry| Outcome::Done).collect::<Vec<_>>();
//!             match window.complete_setup(ticket, &outcomes) {
//!                 Ok(Some(hold)) => break hold,
//!                 _ => continue, // ask again: the window knows what became of it
//!             }
//!         }
//!         Access::Evict(ticket) => {
//!             // Unmap and write back what the entries say, send one REMOVEMAPPING with all of them.
//!             window.complete_remove(ticket, Outcome::Done);
//!         }
//!         Access::Wait(_wait) => { /* until window.events().seq() is no longer _wait.seq */ }
//!         Access::Bypass(_why) => panic!("use READ and WRITE requests instead"),
//!     }
//! };
//! assert_eq!(hold.file_offset().0, 5 << 20);
//! assert_eq!(hold.window_offset().0 % (2 << 20), 1 << 20);
//! // ... copy `hold.len()` bytes ...
//! window.release(hold);
//! # }
//! # Ok::<(), dax_window::ConfigError>(())
//! ```
//!
//! # What it needs
//! Memory: a [`Descriptor`] and a [`RangeEntry`] of 32 bytes each for each range, [`Tickets`] of 2.5 KiB and [`Shared`] of 1.2 KiB, which
//! the embedder gives ([`Storage::from_static`]) or which come from the heap (`Storage::heap`); and 2 KiB for [`Window`] itself. After that
//! nothing is allocated, by no call. A lock around it, from the embedder; 32-bit atomics with read-modify-write.
//!
//! # Features
//! - `alloc`: `Storage::heap` and `Window::on_heap`.
//!
//! # Terms
//! - *Chunk*: a piece of a file, as large as a range and aligned to that size. A chunk is mapped as a whole, or up to
//!   where the host can map ([`Request::mappable_end`]), so a mapping can be shorter than its range.
//! - *Range*: a piece of the window. At any time it is free, being set up, mapped (perhaps being upgraded), being removed,
//!   suspect or retired; [`Stats`] counts each.
//! - *RangeRef*: a reference. While there is one, its mapping stays.
//! - *Ticket*: work for the caller, move-only. Its ranges belong to it until the outcome is reported.
//!
//! # How to use it
//! - Keep [`Window`] under a lock. Every call is short: a hit is a look-up and a reference; nothing waits, and what could
//!   be long (a sweep, a large fsync) comes in pieces. Where hits are the rule, ask [`Window::hit`] first.
//! - **Do no I/O under the lock.** That is what tickets are for.
//! - Report a removal and ask again under *one* lock hold: then what you freed cannot be taken by another.
//! - [`Access::Wait`]: wait until [`Events::seq`] differs, or your deadline passes. The counter moves on everything that can
//!   unblock anyone; asking again in vain is harmless.
//! - When there is time (after a set-up, or in a worker) call [`Window::reclaim_step`] until it gives nothing.
//! - A hit that [`RangeRef::wants_read_ahead`]: call [`Window::read_ahead`], submit, do not wait, report when the replies come.
//!
//! - Copies need no lock at all where bytes are mapped: [`Window::hits`] gives what [`Hits::enter`] and [`Hits::leave`] work on, from any
//!   thread. The window counts such a use as a reference that ends soon.
//!
//! # Contract: which races are allowed
//! - *Two want the same chunk*: the first gets the set-up, the others [`WaitReason::Setup`]; there is no second SETUPMAPPING.
//!   If the first fails, the others ask again and one of them tries.
//! - *Upgrade*: the range keeps its window offset. On a host that replaces atomically readers go on undisturbed; otherwise
//!   ([`Upgrade::Quiesce`], [`Upgrade::Remove`]) it happens only when nobody uses the range; a copy gets a bypass
//!   meanwhile. For a map or fault the range steps aside ([`Stats::aside`]): whoever holds it keeps it, the chunk is mapped
//!   anew in another range, and the old one goes with its last reference. Only where no range can be had do they wait.
//! - *Eviction and reclaim* take only ranges without reference, pin, write-back or ticket. A chunk that is being removed
//!   is waited for. A range in page tables may be evicted; its entry says `installed`.
//! - *Truncation, hole punching, forgetting* ([`Window::begin_invalidate`]): newcomers wait, holders finish, mappings go. An
//!   embedder who knows which bytes long references are for passes by those of other bytes
//!   ([`Window::invalidate_step_past`]), and by pages that it has pinned itself ([`Window::abort_pinned`]).
//! - *Write-back* ([`Window::begin_writeback`]): dirty ranges stay in the window and usable while it runs; what is stored
//!   meanwhile is dirty again.
//! - *Teardown* ([`Window::begin_drain`]): newcomers go round, holders finish, mappings go.
//! - *A ticket is dropped*: its ranges count as [`Outcome::Unknown`] at the window's next look, waiters hear of it at once.
//!   That is right when the request is not in the device's hands any more. When it may be, report [`Outcome::Lost`]: such a
//!   range is never used again, since a late execution would change what is in it.
//!   When its answer may come after all, give it up by [`Window::give_up_setup`] or [`Window::give_up_remove`]: the
//!   range is used again once [`Window::late`] is given the answer.
//! - *A hold is dropped* without [`Window::release`]: its range stays for good (a [`RangeRef`] cannot reach the lock); wrap it.
//!
//! # When the state of a range is not known
//! On a host that replaces ([`Overlap::Replace`]) the next mapping simply goes over it. On others it becomes *suspect*: it
//! is removed once more, alone and exactly, by whoever next needs room or reclaims; if that fails too it is retired. If
//! it still had page-table entries or unwritten stores, its chunk stays closed until a ticket has seen to them.
//!
//! # How chunks are found
//! By a hash of (file, chunk) with its buckets in the ranges' entries themselves: a hit costs two cache lines however large
//! the window is, and a [`Stream`] remembers its last range, which makes it one. By an ordered tree (AVL) over (file,
//! chunk), for questions about byte ranges: the first range that touches `[a, b)` in O(log n), each further one in O(1)
//! amortised. The chunks of a file are neighbours in that order, so one tree is every file's ordered set of disjoint
//! intervals at once, and there is no root to find, store or allocate for each file.
//!
//! Both are linked by range number, not by pointer. That needs no unsafe code at all (the crate forbids it), takes half the
//! space of pointers, which is what makes tree, chain, list, counters and guard fit into 64 bytes, and lets the memory be
//! an ordinary slice that may move. Intrusive collections of pointers would have needed all of that argued.
//!
//! # Eviction
//! A clock with counted visits. Many small accesses of one stream to one range are one visit. Two miniature windows,
//! simulated on a sample of the chunks, tell whether new ranges should go to the end of the queue or go first (a loop
//! larger than the window). What is referenced when the hand meets it leaves the queue until its last release, so each
//! reference costs the hand at most one step. Traces and numbers: `POLICIES.md`, printed by the example `eviction`.
//!
//! Nothing is kept free while there are enough ranges: a working set as large as the window stays in it. Once
//! callers had to wait for a removal, [`Window::reclaim_step`] keeps as many ranges free as were taken during the last
//! removals' round trips, and stops when demand does.
//!
//! # The thrash guard
//! Bringing a range in under pressure costs as much as several READ requests ([`GuardConfig::ratio`], or measured:
//! [`Window::note_cost`]). While the guard is on, small random accesses to chunks that are not mapped go round the window when
//! nothing is free ([`Bypass::Guard`]), unless the chunk has lately been asked for so often that a mapping would have paid,
//! and more often than the one it would push out. It is on from the start: what a chunk costs until it has earned a range is
//! what the range costs, so being wrong costs at most twice as much as having known. The window counts how many accesses each
//! range served that such an access brought in, until it was evicted. When the average is well above the price the guard goes
//! off, and on again when it falls below. Hits, free ranges, large and sequential accesses, maps and faults are never affected.
//!
//! **Why both paths see the same bytes.** A READ request and a load through a mapping are both answered from the host's page
//! cache of that file; a WRITE request and a store through a mapping both change that page cache, at once, and the guest has
//! no cache in between. There is one copy, so neither path can be stale with regard to the other, in any order. What is
//! *not* given is atomicity of a write with regard to a concurrent reader, by either path: a load may see half of a WRITE
//! that is being copied, as it may see half of a store of many bytes. Truncation is kept in order by freezing the bytes.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

#[cfg(all(test, feature = "alloc"))]
extern crate self as dax_window;
#[cfg(all(test, feature = "alloc"))]
extern crate std;

mod access;
mod config;
mod descriptor;
mod entry;
mod guard;
mod hits;
mod index;
mod list;
mod marks;
mod placement;
mod refusals;
mod shared;
mod slots;
mod stats;
mod stream;
mod sync;
mod ticket;
mod tickets;
mod tree;
mod units;
mod wide;
mod window;

pub use access::{Access, Bypass, Intent, Pin, Purpose, RangeRef, Request, Wait, WaitReason};
pub use config::{
    Config, ConfigError, GuardConfig, HostRules, MIN_RANGE_SHIFT, Overlap, ReadAheadConfig, ReclaimConfig, Upgrade,
};
pub use descriptor::Descriptor;
pub use entry::RangeEntry;
pub use fs_dax::{FileKey, FileRange, PAGE_SIZE, RANGE_SIZE};
pub use hits::{Hits, Use};
pub use shared::{EventSeq, Events, Shared, Storage};
pub use stats::Stats;
pub use stream::{Run, Stream};
pub use ticket::{
    Cursor, Frozen, Late, Outcome, RemoveEntry, RemoveTicket, SetupEntry, SetupKind, SetupTicket, WritebackEntry,
    WritebackTicket,
};
pub use tickets::{MAX_TICKETS, Tickets};
pub use units::{FileOffset, MAX_AHEAD, MAX_BATCH, RangeIndex, WindowOffset};
pub use window::{InvalidateKind, Step, Violation, Window, Writeback};
