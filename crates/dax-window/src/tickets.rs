//! What a window knows of the tickets that are out.

#[cfg(feature = "alloc")]
use alloc::boxed::Box;
use core::fmt;
use core::ops::{Deref, DerefMut};

use crate::list::List;

/// How many tickets can be out at a time (set-ups, removals, write-backs and frozen byte ranges together).
pub const MAX_TICKETS: usize = 128;

/// What a ticket's slot is in use for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlotUse {
    Unused,
    Setup,
    Remove,
    Writeback,
    Freeze,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) kind: SlotUse,
    /// The ranges that the ticket owns.
    pub(crate) list: List,
    /// Set-ups handed out before this ticket was, to measure the demand during its round trip.
    pub(crate) stamp: u32,
}

impl Slot {
    const UNUSED: Self = Self { kind: SlotUse::Unused, list: List::EMPTY, stamp: 0 };
}

/// Memory for what a window knows of its tickets: 20 bytes each. Apart from the window, which is made on the stack.
pub struct Tickets([Slot; MAX_TICKETS]);

impl Tickets {
    /// Memory for a window that has handed out no ticket yet; usable in a `static`.
    pub const fn new() -> Self {
        Self([Slot::UNUSED; MAX_TICKETS])
    }
}

impl Default for Tickets {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().filter(|slot| slot.kind != SlotUse::Unused)).finish()
    }
}

#[derive(Debug)]
pub(crate) enum TicketsRef {
    Static(&'static mut Tickets),
    #[cfg(feature = "alloc")]
    Heap(Box<[Slot]>),
}

impl TicketsRef {
    /// From the heap; `None` if there is no room.
    #[cfg(feature = "alloc")]
    pub(crate) fn heap() -> Option<Self> {
        let mut memory = alloc::vec::Vec::new();
        memory.try_reserve_exact(MAX_TICKETS).ok()?;
        memory.resize(MAX_TICKETS, Slot::UNUSED);
        Some(Self::Heap(memory.into_boxed_slice()))
    }
}

#[cfg(all(test, feature = "alloc"))]
impl Clone for TicketsRef {
    fn clone(&self) -> Self {
        Self::Heap(self.to_vec().into_boxed_slice())
    }
}

impl Deref for TicketsRef {
    type Target = [Slot];

    #[inline]
    fn deref(&self) -> &[Slot] {
        match self {
            Self::Static(tickets) => &tickets.0,
            #[cfg(feature = "alloc")]
            Self::Heap(tickets) => tickets,
        }
    }
}

impl DerefMut for TicketsRef {
    #[inline]
    fn deref_mut(&mut self) -> &mut [Slot] {
        match self {
            Self::Static(tickets) => &mut tickets.0,
            #[cfg(feature = "alloc")]
            Self::Heap(tickets) => tickets,
        }
    }
}
