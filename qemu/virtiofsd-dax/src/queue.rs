//! One virtqueue: requests are taken from it, and given back, each time under its lock and never longer.
//!
//! What the guest writes into the ring is not trusted: a queue with an available index more than its size ahead is
//! left alone until it is set up anew, and so is one that lies outside the guest's memory.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use vhost_user_backend::{VringMutex, VringState, VringT as _};
use virtio_queue::{QueueOwnedT as _, QueueT as _};
use vm_memory::GuestAddressSpace as _;

use crate::chain::{self, ReplyRoom, Request};
use crate::memory::{Chain, SharedMemory};
use crate::opcode;
use crate::scratch::Scratch;

/// A queue's state as the crates keep it.
pub type Vring = VringMutex<SharedMemory>;

/// How many set-ups are carried out together at most: the guest waits for the first until the last is done.
const BATCH: usize = 64;

/// How often a reply looks whether its queue runs again.
const PAUSE: Duration = Duration::from_millis(5);

/// Where a queue stood when we last had to do with it.
#[derive(Debug, Default)]
struct Seen {
    avail: u16,
    used: u16,
    /// How often it was set up anew meanwhile: then requests taken before are another guest's.
    generation: u64,
    /// Whether the guest has written what cannot be.
    dead: bool,
}

/// One queue.
#[derive(Debug)]
pub struct Queue {
    index: usize,
    seen: Mutex<Seen>,
}

/// A place in a queue at which a request was taken.
#[derive(Debug)]
pub struct Slot {
    head: u16,
    generation: u64,
    room: ReplyRoom,
}

impl Slot {
    /// How many bytes of reply fit.
    pub fn room(&self) -> usize {
        self.room.len()
    }
}

/// What was taken.
#[derive(Debug)]
pub enum Taken {
    /// A request, which lies in the scratch.
    One(Slot, Request),
    /// Set-ups that came together.
    SetUps(Vec<(Slot, Request)>),
    /// What is no request and can only be given back.
    Nonsense(Slot),
    /// A request of which the header lies about its length.
    Dishonest(Slot, Request),
}

impl Queue {
    /// The queue of this number.
    pub fn new(index: usize) -> Self {
        Queue { index, seen: Mutex::default() }
    }

    /// The queue's number.
    pub fn index(&self) -> usize {
        self.index
    }

    fn seen(&self, state: &VringState<SharedMemory>) -> MutexGuard<'_, Seen> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = state.get_queue();
        // With requests in flight the two differ, and where a guest has just set the queue up they do not.
        if (seen.avail, seen.used) != (queue.next_avail(), queue.next_used()) {
            *seen = Seen {
                avail: queue.next_avail(),
                used: queue.next_used(),
                generation: seen.generation + 1,
                dead: false,
            };
        }
        seen
    }

    /// Takes the next request, or the next set-ups; and whether there is more to take now. With nothing more the guest
    /// will notify us.
    pub fn take(&self, vring: &Vring, memory: &SharedMemory, scratch: &mut Scratch) -> (Option<Taken>, bool) {
        let mut state = vring.get_mut();
        if !state.is_enabled() || !state.get_queue().ready() {
            return (None, false);
        }
        let mut seen = self.seen(&state);
        if seen.dead {
            return (None, false);
        }
        let taken = self.next(&mut state, &mut seen, memory, scratch);
        seen.avail = state.get_queue().next_avail();
        match taken.and_then(|taken| Ok((taken, has_more(&mut state)?))) {
            Ok(result) => result,
            Err(error) => {
                log::warn!("queue {}: left alone until it is set up anew: {error}", self.index);
                seen.dead = true;
                (None, false)
            }
        }
    }

    fn next(
        &self,
        state: &mut VringState<SharedMemory>,
        seen: &mut Seen,
        memory: &SharedMemory,
        scratch: &mut Scratch,
    ) -> io::Result<Option<Taken>> {
        state.disable_notification().map_err(io::Error::other)?;
        let mut setups = Vec::new();
        while setups.len() < BATCH {
            let loaded = memory.memory();
            let Some(chain) = state.get_queue_mut().iter(loaded.clone()).map_err(io::Error::other)?.next() else {
                break;
            };
            if !setups.is_empty() && chain::peek_opcode(chain.clone()) != Some(opcode::SETUPMAPPING) {
                state.get_queue_mut().go_to_previous_position();
                break;
            }
            match self.read(seen, chain, memory, scratch) {
                Taken::One(slot, request) if request.header.opcode == opcode::SETUPMAPPING => {
                    setups.push((slot, request));
                }
                // What was no set-up after all: it is taken again, alone.
                _ if !setups.is_empty() => {
                    state.get_queue_mut().go_to_previous_position();
                    break;
                }
                other => return Ok(Some(other)),
            }
        }
        Ok(if setups.is_empty() { None } else { Some(Taken::SetUps(setups)) })
    }

    fn read(&self, seen: &Seen, chain: Chain, memory: &SharedMemory, scratch: &mut Scratch) -> Taken {
        let head = chain.head_index();
        let loaded = memory.memory();
        let slot = |room| Slot { head, generation: seen.generation, room };
        match chain::take(&loaded, chain, scratch) {
            Err(error) => {
                log::warn!("queue {}: a request that cannot be read: {error}", self.index);
                Taken::Nonsense(slot(ReplyRoom::none(&loaded)))
            }
            Ok(room) => match Request::read(scratch) {
                None => {
                    log::warn!("queue {}: a request without a header", self.index);
                    Taken::Nonsense(slot(room))
                }
                Some(request) if !request.is_honest(scratch.len()) => Taken::Dishonest(slot(room), request),
                Some(request) => Taken::One(slot(room), request),
            },
        }
    }

    /// Gives a request back with the first `len` bytes of the scratch's reply. While the device is stopped it waits: if
    /// it goes on, the guest gets its reply, and if it was set up anew, nobody does.
    pub fn give(&self, vring: &Vring, slot: &Slot, scratch: &Scratch, len: usize) {
        loop {
            let mut state = vring.get_mut();
            if !state.get_queue().ready() {
                drop(state);
                std::thread::park_timeout(PAUSE);
                continue;
            }
            let mut seen = self.seen(&state);
            if seen.generation != slot.generation {
                log::debug!("queue {}: a reply is dropped, the device was set up anew", self.index);
                return;
            }
            let written = if len == 0 { Ok(()) } else { slot.room.write(scratch, len) };
            let len = if written.is_ok() { u32::try_from(len).unwrap_or(0) } else { 0 };
            let done = written.and_then(|()| state.add_used(slot.head, len).map_err(io::Error::other));
            seen.used = state.get_queue().next_used();
            if let Err(error) = done.and_then(|()| signal(&mut state)) {
                log::warn!("queue {}: a request cannot be given back: {error}", self.index);
            }
            return;
        }
    }
}

/// Tells the guest of what was given back, if it wants to know.
fn signal(state: &mut VringState<SharedMemory>) -> io::Result<()> {
    if state.needs_notification().unwrap_or(true) { state.signal_used_queue() } else { Ok(()) }
}

/// Whether there is more in the ring; if not, the guest is asked to notify us of the next.
fn has_more(state: &mut VringState<SharedMemory>) -> io::Result<bool> {
    state.enable_notification().map_err(io::Error::other)
}
