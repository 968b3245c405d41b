//! What the back end asked for, and what became of it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::table::Refusal;

/// The most events that are kept; older ones go first.
const KEPT: usize = 1 << 16;

/// What the back end asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Asked {
    /// SHMEM_MAP. Everything is in bytes.
    Map {
        /// Where in the window.
        window_offset: u64,
        /// How many bytes.
        len: u64,
        /// The number of the file's inode on the host; 0 if the host does not say.
        inode: u64,
        /// Where in the file.
        file_offset: u64,
    },
    /// SHMEM_UNMAP. Everything is in bytes.
    Unmap {
        /// Where in the window.
        window_offset: u64,
        /// How many bytes.
        len: u64,
    },
    /// A request that is answered after all earlier ones have come into effect: SHARED_OBJECT_REMOVE.
    Barrier,
    /// The configuration changed: CONFIG_CHANGE_MSG.
    ConfigChange,
}

/// A request of the back end, and the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// What it asked.
    pub asked: Asked,
    /// What it got. Barriers are always answered with "no such object", which is no refusal.
    pub outcome: Result<(), Refusal>,
}

/// How often things happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Mappings made.
    pub maps: u64,
    /// Mappings removed by the back end.
    pub unmaps: u64,
    /// Barriers.
    pub barriers: u64,
    /// Requests refused.
    pub refused: u64,
}

#[derive(Debug, Default)]
struct State {
    counts: Counts,
    events: VecDeque<Event>,
}

/// Counts, and keeps events if that is wanted.
#[derive(Debug)]
pub(crate) struct Record {
    keeps: bool,
    state: Mutex<State>,
}

impl Record {
    pub(crate) fn new(keeps: bool) -> Self {
        Self { keeps, state: Mutex::default() }
    }

    pub(crate) fn note(&self, event: Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = &mut state.counts;
        match (event.asked, event.outcome) {
            (_, Err(refusal)) => {
                log::debug!("refused {:?}: {refusal}", event.asked);
                counts.refused += 1;
            }
            (Asked::Map { .. }, Ok(())) => counts.maps += 1,
            (Asked::Unmap { .. }, Ok(())) => counts.unmaps += 1,
            (Asked::Barrier, Ok(())) => counts.barriers += 1,
            (Asked::ConfigChange, Ok(())) => {}
        }
        if self.keeps {
            if state.events.len() == KEPT {
                state.events.pop_front();
            }
            state.events.push_back(event);
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).counts
    }

    pub(crate) fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner).events).into()
    }
}
