//! A queue with its table of requests in flight.
//!
//! Each slot of the ring has a request and a reply buffer of its own, large enough for every request that carries no bulk
//! data; bulk data comes from a [`DataPool`] shared by all queues. A slot is given out again only after the device has
//! returned its chain, so a caller that gives up waiting costs a slot for as long as the device keeps it, never memory
//! that the device might still write.
//!
//! A reply that comes when nobody waits for it any more can still leave something to be given back: a look-up, an open
//! handle. Such replies are kept until [`Channel::take_orphan`].

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::Waker;
use core::time::Duration;

use fuse_proto::{NodeId, Opcode, ReplyHeader};
use lock_api::{Mutex, RawMutex};
use virtio_transport::{DmaDirection, PhysAddr};

use super::dma::{BUFFER_ALIGN, DmaBuf, DmaRegion};
use super::ring::{MAX_SEGMENTS, Ring, RingAddresses, Segment};
use crate::RingError;
use crate::dma_memory::Memory;

/// Bytes of a slot's request buffer: a header, the largest fixed body and two names fit.
/// With them a queue of 8 takes whole pages: its ring needs 672 bytes.
pub(crate) const REQUEST_BYTES: usize = 1440;
/// Bytes of a slot's reply buffer: a header and the largest fixed body fit.
/// With them a queue of 8 takes a whole page: its ring needs 70 bytes.
pub(crate) const REPLY_BYTES: usize = 496;

/// Buffers for one request: for data that is sent, for data that comes back.
pub(crate) type Buffers = heapless::Vec<DmaBuf, 2>;

/// Buffers for bulk data, shared by all queues of a device.
pub(crate) struct DataPool<R> {
    free: Mutex<R, Vec<DmaBuf>>,
    regions: Vec<DmaRegion>,
}

impl<R: RawMutex> DataPool<R> {
    /// Allocates `count` buffers of `len` bytes each. `None` when there is no DMA memory.
    pub(crate) fn new(memory: &Memory, count: usize, len: usize) -> Option<Self> {
        let mut free = Vec::with_capacity(count);
        let mut regions = Vec::with_capacity(count);
        for _ in 0..count {
            let (buffer, region) = DmaRegion::single(memory, len, DmaDirection::Both)?;
            free.push(buffer);
            regions.push(region);
        }
        Some(Self { free: Mutex::new(free), regions })
    }

    /// Takes `count` buffers, all or nothing, which avoids deadlock: nobody holds one buffer while it waits for another.
    pub(crate) fn take(&self, count: usize) -> Option<Buffers> {
        let mut free = self.free.lock();
        let rest = free.len().checked_sub(count)?;
        Some(free.drain(rest..).collect())
    }

    /// How many buffers there are, free or not.
    pub(crate) fn len(&self) -> usize {
        self.regions.len()
    }

    pub(crate) fn give(&self, buffer: DmaBuf) {
        self.free.lock().push(buffer);
    }
}

/// Which request it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestMeta {
    pub(crate) opcode: Opcode,
    pub(crate) node: NodeId,
    /// Its number, unique among all requests in flight.
    pub(crate) unique: u64,
}

impl RequestMeta {
    const NOTHING: Self = Self { opcode: Opcode(0), node: NodeId(0), unique: 0 };

    /// Whether a reply has side effects that need undoing, or says what became of mappings, sizes or names.
    fn has_side_effects(&self) -> bool {
        matches!(
            self.opcode,
            Opcode::LOOKUP
                | Opcode::MKNOD
                | Opcode::MKDIR
                | Opcode::SYMLINK
                | Opcode::LINK
                | Opcode::CREATE
                | Opcode::TMPFILE
                | Opcode::OPEN
                | Opcode::OPENDIR
                | Opcode::READDIRPLUS
                | Opcode::SETUPMAPPING
                | Opcode::REMOVEMAPPING
                | Opcode::SETATTR
                | Opcode::FALLOCATE
                | Opcode::WRITE
                | Opcode::COPY_FILE_RANGE
                | Opcode::UNLINK
                | Opcode::RMDIR
                | Opcode::RENAME
                | Opcode::RENAME2
        )
    }
}

/// A reply that nobody waited for any more.
#[derive(Debug)]
pub(crate) struct OrphanReply {
    pub(crate) meta: RequestMeta,
    /// Bytes that the device says it wrote.
    pub(crate) written: usize,
    /// Those of them that there was room for.
    pub(crate) bytes: Vec<u8>,
}

/// A request, ready to be sent.
pub(crate) struct Message<'a> {
    pub(crate) meta: RequestMeta,
    /// Header and body, and as much of the rest as is small, in this order.
    pub(crate) parts: &'a [&'a [u8]],
    /// Data after the parts: a buffer and how many of its bytes count.
    pub(crate) data_out: Option<(DmaBuf, usize)>,
    /// How many bytes of the reply go into the slot's own buffer: 0 for a request without a reply, no more than a header
    /// with `data_in`.
    pub(crate) reply_len: usize,
    /// Where the reply continues: a buffer and how many of its bytes count.
    pub(crate) data_in: Option<(DmaBuf, usize)>,
    /// When its caller gives it up, by the platform's clock.
    pub(crate) deadline: Duration,
    /// Whether it may take long without that being a sign of anything.
    pub(crate) long: bool,
}

/// Names a request in flight.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct SlotId {
    slot: u16,
    unique: u64,
}

/// Why a request could not be submitted. The buffers of its message went back to the pool.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SubmitError {
    /// Every slot is in flight; try again after a completion.
    Full,
    /// The device broke the rules of the queue earlier.
    Broken(RingError),
    /// The session is about to end.
    Closed,
}

/// What came back for a request, but for its first bytes.
#[derive(Debug)]
pub(crate) struct Reply {
    /// Bytes that the device says it wrote, over both buffers.
    pub(crate) written: usize,
    /// How many of the reply's first bytes there are.
    pub(crate) head_len: usize,
    /// The buffer in which the reply continues, and how many bytes of it count. Goes back to the pool after use.
    pub(crate) data: Option<(DmaBuf, usize)>,
}

/// What [`Channel::look`] found.
pub(crate) struct Looked {
    /// How many requests the device has returned since somebody looked last.
    pub(crate) completions: usize,
    /// The reply looked for, if it is there.
    pub(crate) reply: Result<Option<Reply>, RingError>,
}

enum Phase {
    Free,
    InFlight,
    /// In flight with nobody waiting: no reply is expected, or the caller gave up.
    Detached,
    /// In flight with nobody waiting for it but whoever must not overtake it.
    DetachedOrdered,
    Done {
        written: u32,
    },
    /// Back, with nobody waiting; side effects need undoing.
    OrphanReply {
        written: u32,
    },
}

struct Slot {
    phase: Phase,
    meta: RequestMeta,
    deadline: Duration,
    long: bool,
    /// Whether nobody waits for it: its answer stays until it is polled.
    polled: bool,
    request: DmaBuf,
    reply: DmaBuf,
    reply_len: usize,
    data_out: Option<DmaBuf>,
    data_in: Option<(DmaBuf, usize)>,
    waker: Option<Waker>,
}

struct State {
    ring: Ring,
    slots: Box<[Slot]>,
    free: Vec<u16>,
    broken: Option<RingError>,
    /// Nothing but the end of the session is sent any more.
    closed: bool,
    _regions: [DmaRegion; 2],
}

/// A virtqueue and the requests in flight on it.
pub(crate) struct Channel<R> {
    index: u16,
    state: Mutex<R, State>,
    /// Slots with an orphaned reply.
    orphans: AtomicUsize,
}

impl<R: RawMutex> Channel<R> {
    /// Allocates the queue numbered `index` with `size` descriptors. `None` when there is no DMA memory or the queue is
    /// too small for one chain.
    pub(crate) fn new(memory: &Memory, index: u16, size: u16, indirect: bool, event_idx: bool) -> Option<Self> {
        // One piece of memory for each direction: a page apiece for ring, requests and replies is too much for little kernels.
        let [to_device, from_device] = Ring::lens(size, indirect)?;
        let count = usize::from(if indirect { size } else { size / MAX_SEGMENTS as u16 });
        let room = |ring: usize, each: usize| ring.next_multiple_of(BUFFER_ALIGN) + count * each;
        let mut sent = DmaRegion::new(memory, room(to_device, REQUEST_BYTES), DmaDirection::DriverToDevice)?;
        let mut received = DmaRegion::new(memory, room(from_device, REPLY_BYTES), DmaDirection::DeviceToDriver)?;
        let ring = Ring::inside(&mut sent, &mut received, size, indirect, event_idx)?;
        let requests = (0..count).map(|_| sent.take(REQUEST_BYTES)).collect::<Option<Vec<_>>>()?;
        let replies = (0..count).map(|_| received.take(REPLY_BYTES)).collect::<Option<Vec<_>>>()?;
        let slots = requests
            .into_iter()
            .zip(replies)
            .map(|(request, reply)| Slot {
                phase: Phase::Free,
                meta: RequestMeta::NOTHING,
                deadline: Duration::ZERO,
                long: false,
                polled: false,
                request,
                reply,
                reply_len: 0,
                data_out: None,
                data_in: None,
                waker: None,
            })
            .collect();
        let state = State {
            ring,
            slots,
            free: (0..count as u16).rev().collect(),
            broken: None,
            closed: false,
            _regions: [sent, received],
        };
        Some(Self { index, state: Mutex::new(state), orphans: AtomicUsize::new(0) })
    }

    /// The queue's number.
    pub(crate) fn index(&self) -> u16 {
        self.index
    }

    /// The queue's size in descriptors and its addresses, for the transport.
    pub(crate) fn layout(&self) -> (u16, RingAddresses) {
        let state = self.state.lock();
        (state.ring.size(), state.ring.addresses())
    }

    /// Puts a request into the queue; `publish`: and makes it visible to the device, which [`Channel::publish`] does otherwise.
    /// Returns whether the device wants to be notified too.
    pub(crate) fn submit(
        &self,
        message: &mut Message<'_>,
        pool: &DataPool<R>,
        publish: bool,
    ) -> Result<(SlotId, bool), SubmitError> {
        let mut state = self.state.lock();
        let state = &mut *state;
        if state.broken.is_none()
            && !state.closed
            && let Some(index) = state.free.pop()
        {
            return Ok(state.submit_in(index, message, publish));
        }
        state.submit_last(message, pool, publish)
    }

    /// Makes the submitted requests visible to the device. Returns whether the device wants to be notified.
    pub(crate) fn publish(&self) -> bool {
        self.state.lock().ring.publish()
    }

    /// Takes whatever the device has returned, wakes who waits for it, and returns the number of completions.
    pub(crate) fn process(&self, pool: &DataPool<R>) -> usize {
        let mut returned = Returned::none();
        loop {
            self.state.lock().process(pool, &self.orphans, &mut returned);
            if !returned.act() {
                return returned.count;
            }
        }
    }

    /// Takes whatever the device has returned, and the reply to a request if it is among that: its first bytes to `head`, which
    /// has room for as many as the request said; the slot is free again then.
    pub(crate) fn look(&self, id: SlotId, head: &mut [u8], pool: &DataPool<R>) -> Looked {
        let mut returned = Returned::none();
        let (reply, waker) = {
            let mut state = self.state.lock();
            if !state.has_news(id) {
                return Looked { completions: 0, reply: Ok(None) };
            }
            state.process(pool, &self.orphans, &mut returned);
            state.take(id, head)
        };
        // Dropping it runs the embedder's code: not under the lock.
        drop(waker);
        let more = returned.act();
        let others = if more { self.process(pool) } else { 0 };
        // It may be among the others.
        let reply = if more && matches!(reply, Ok(None)) { self.take(id, head) } else { reply };
        Looked { completions: returned.count + others, reply }
    }

    /// Takes the reply to a request if [`Channel::process`] has found it.
    #[cold]
    fn take(&self, id: SlotId, head: &mut [u8]) -> Result<Option<Reply>, RingError> {
        let (reply, waker) = self.state.lock().take(id, head);
        // Dropping it runs the embedder's code: not under the lock.
        drop(waker);
        reply
    }

    /// Registers who to wake when the request comes back. Poll once more afterwards.
    pub(crate) fn set_waker(&self, id: SlotId, waker: &Waker) {
        // Cloning and dropping one runs the embedder's code: not under the lock.
        let mut waker = Some(waker.clone());
        {
            let mut state = self.state.lock();
            let slot = &mut state.slots[usize::from(id.slot)];
            if slot.meta.unique == id.unique {
                core::mem::swap(&mut slot.waker, &mut waker);
            }
        }
        drop(waker);
    }

    /// Gives a request up. Its slot and buffers stay out of use until the device returns them.
    pub(crate) fn abandon(&self, id: SlotId, pool: &DataPool<R>) {
        let waker = {
            let mut state = self.state.lock();
            let state = &mut *state;
            let slot = &mut state.slots[usize::from(id.slot)];
            if slot.meta.unique != id.unique {
                return;
            }
            match slot.phase {
                Phase::InFlight => slot.phase = Phase::Detached,
                Phase::Done { written } if slot.meta.has_side_effects() => slot.set_orphan(written, &self.orphans),
                Phase::Done { .. } => {
                    slot.recycle(pool);
                    state.free.push(id.slot);
                }
                Phase::Free | Phase::Detached | Phase::DetachedOrdered | Phase::OrphanReply { .. } => {}
            }
            slot.waker.take()
        };
        // Dropping it runs the embedder's code: not under the lock.
        drop(waker);
    }

    /// Refuses all requests from now on but the one that ends the session.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
    }

    /// Adds the nodes that the server may yet open, or has opened, for somebody who gave up, and those that are not closed yet.
    pub(crate) fn abandoned_opens(&self, nodes: &mut Vec<NodeId>) {
        let state = self.state.lock();
        let open = |slot: &&Slot| match slot.phase {
            Phase::Detached | Phase::OrphanReply { .. } => {
                matches!(slot.meta.opcode, Opcode::OPEN | Opcode::OPENDIR)
            }
            Phase::DetachedOrdered => true,
            _ => false,
        };
        nodes.extend(state.slots.iter().filter(open).map(|slot| slot.meta.node));
    }

    /// An orphaned reply with side effects that need undoing; its slot is free again.
    pub(crate) fn take_orphan(&self, pool: &DataPool<R>) -> Option<OrphanReply> {
        if self.orphans.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.take_first_orphan(pool)
    }

    #[cold]
    #[inline(never)]
    fn take_first_orphan(&self, pool: &DataPool<R>) -> Option<OrphanReply> {
        // Not on the stack: whoever sends a request may get here.
        let mut bytes = vec![0; REPLY_BYTES];
        let (meta, reply) = {
            let mut state = self.state.lock();
            let state = &mut *state;
            let late = |slot: &Slot| if let Phase::OrphanReply { written } = slot.phase { Some(written) } else { None };
            let (index, written) = (0..).zip(&*state.slots).find_map(|(index, slot)| Some((index, late(slot)?)))?;
            let slot = &mut state.slots[usize::from(index)];
            let taken = (slot.meta, slot.take_reply(written, &mut bytes));
            state.free.push(index);
            self.orphans.fetch_sub(1, Ordering::Release);
            taken
        };
        bytes.truncate(reply.head_len);
        if let Some((buffer, len)) = reply.data {
            bytes.resize(reply.head_len + len, 0);
            buffer.read(0, &mut bytes[reply.head_len..]);
            pool.give(buffer);
        }
        Some(OrphanReply { meta, written: reply.written, bytes })
    }

    /// As [`Channel::abandon`], but it counts in [`Channel::ordered_until`] until the device returns it.
    pub(crate) fn detach_ordered(&self, id: SlotId, pool: &DataPool<R>) {
        {
            let mut state = self.state.lock();
            let slot = &mut state.slots[usize::from(id.slot)];
            if slot.meta.unique == id.unique && matches!(slot.phase, Phase::InFlight) {
                slot.phase = Phase::DetachedOrdered;
                return;
            }
        }
        self.abandon(id, pool);
    }

    /// The last deadline of the requests in flight that were left by [`Channel::detach_ordered`].
    pub(crate) fn ordered_until(&self) -> Option<Duration> {
        self.last_deadline(|slot| matches!(slot.phase, Phase::DetachedOrdered))
    }

    /// Whether a request that was left by [`Channel::detach_ordered`] is in flight with a deadline after `now`.
    pub(crate) fn has_ordered_after(&self, now: Duration) -> bool {
        self.ordered_until().is_some_and(|until| until > now)
    }

    /// The last deadline of the requests in flight that somebody awaits.
    pub(crate) fn live_until(&self) -> Option<Duration> {
        self.last_deadline(|slot| matches!(slot.phase, Phase::InFlight))
    }

    /// Whether a long request is in flight that was not given up by `now`.
    pub(crate) fn has_long_request(&self, now: Duration) -> bool {
        let long = |slot: &Slot| matches!(slot.phase, Phase::InFlight) && slot.long;
        self.last_deadline(long).is_some_and(|until| until > now)
    }

    /// Nobody waits for a request: it is polled some time.
    pub(crate) fn leave_to_polling(&self, id: SlotId) {
        let mut state = self.state.lock();
        let slot = &mut state.slots[usize::from(id.slot)];
        slot.polled |= slot.meta.unique == id.unique;
    }

    /// Whether the device has answered a request that nobody waits for and nobody has polled since.
    pub(crate) fn has_unpolled(&self) -> bool {
        self.state.lock().slots.iter().any(|slot| slot.polled && matches!(slot.phase, Phase::Done { .. }))
    }

    fn last_deadline(&self, of: impl Fn(&Slot) -> bool) -> Option<Duration> {
        self.state.lock().slots.iter().filter(|slot| of(slot)).map(|slot| slot.deadline).max()
    }

    /// Requests that the device holds, given-up ones among them; not those that it has answered and nobody has looked at.
    pub(crate) fn held(&self) -> usize {
        let held = |slot: &&Slot| matches!(slot.phase, Phase::InFlight | Phase::Detached | Phase::DetachedOrdered);
        self.state.lock().slots.iter().filter(held).count()
    }

    /// Requests in flight, given-up ones among them, and answers that nobody has looked at.
    #[cfg(test)]
    pub(crate) fn in_flight(&self) -> usize {
        let state = self.state.lock();
        state.slots.len() - state.free.len()
    }

    /// Whether a request can be submitted.
    pub(crate) fn has_free(&self) -> bool {
        !self.state.lock().free.is_empty()
    }

    /// Asks the device for interrupts, or not.
    pub(crate) fn set_interrupts(&self, on: bool) {
        self.state.lock().ring.set_interrupts(on);
    }
}

// Apart: what a message is made of takes more stack than the rest.
#[cold]
#[inline(never)]
fn report_broken(error: RingError) {
    log::error!("virtio-fs: a queue is unusable from here on: {error}");
}

/// Wakers collected under the lock, woken after it is released.
type Wakers = heapless::Vec<Waker, 8>;

/// What the device has returned, and who is to know of it once the lock is released.
struct Returned {
    count: usize,
    wakers: Wakers,
    /// Why the queue is unusable from now on.
    broken: Option<RingError>,
    /// Whether there may be more: there are as many wakers as there is room for.
    more: bool,
}

impl Returned {
    fn none() -> Self {
        Self { count: 0, wakers: Wakers::new(), broken: None, more: false }
    }

    /// Wakes who waits. Returns whether there may be more.
    fn act(&mut self) -> bool {
        if let Some(error) = self.broken.take() {
            report_broken(error);
        }
        // Waking runs the embedder's code: not under the lock.
        while let Some(waker) = self.wakers.pop() {
            waker.wake();
        }
        self.more
    }
}

impl State {
    /// As [`Channel::submit`], where there is no room, or the queue takes no more than the end of the session.
    #[cold]
    fn submit_last<R: RawMutex>(
        &mut self,
        message: &mut Message<'_>,
        pool: &DataPool<R>,
        publish: bool,
    ) -> Result<(SlotId, bool), SubmitError> {
        let refused = match self.broken {
            Some(error) => SubmitError::Broken(error),
            None if self.closed && message.meta.opcode != Opcode::DESTROY => SubmitError::Closed,
            None => match self.free.pop() {
                Some(index) => return Ok(self.submit_in(index, message, publish)),
                None => SubmitError::Full,
            },
        };
        for (buffer, _) in message.data_out.take().into_iter().chain(message.data_in.take()) {
            pool.give(buffer);
        }
        Err(refused)
    }

    fn submit_in(&mut self, index: u16, message: &mut Message<'_>, publish: bool) -> (SlotId, bool) {
        let slot = &mut self.slots[usize::from(index)];
        let head = message.parts.iter().fold(0, |head, part| head + slot.request.write(head, part));
        slot.reply_len = message.reply_len.min(REPLY_BYTES);
        let mut segments = Segments::new();
        segments.add(slot.request.paddr(), head, false);
        if let Some((buffer, len)) = &message.data_out {
            segments.add(buffer.paddr(), (*len).min(buffer.len()), false);
        }
        // The header has a descriptor of its own, as Linux lays replies out: servers exist that cannot split one.
        let header = slot.reply_len.min(ReplyHeader::LEN);
        segments.add(slot.reply.paddr(), header, true);
        segments.add(slot.reply.paddr() + header as u64, slot.reply_len - header, true);
        if let Some((buffer, len)) = &message.data_in {
            segments.add(buffer.paddr(), (*len).min(buffer.len()), true);
        }
        slot.meta = message.meta;
        (slot.deadline, slot.long, slot.polled) = (message.deadline, message.long, false);
        slot.phase = if slot.reply_len > 0 { Phase::InFlight } else { Phase::Detached };
        slot.data_out = message.data_out.take().map(|(buffer, _)| buffer);
        slot.data_in = message.data_in.take();
        self.ring.push(index, segments.as_slice());
        let notify = publish && self.ring.publish();
        (SlotId { slot: index, unique: message.meta.unique }, notify)
    }

    /// Whether there is anything to take, or to say, for who waits for a request.
    fn has_news(&self, id: SlotId) -> bool {
        self.broken.is_some()
            || self.ring.can_pop()
            || matches!(self.slots[usize::from(id.slot)].phase, Phase::Done { .. })
    }

    /// Takes the reply to a request if it has come, and its waker, to be dropped without the lock.
    fn take(&mut self, id: SlotId, head: &mut [u8]) -> (Result<Option<Reply>, RingError>, Option<Waker>) {
        let slot = &mut self.slots[usize::from(id.slot)];
        match slot.phase {
            Phase::Done { written } if slot.meta.unique == id.unique => {
                let waker = slot.waker.take();
                self.free.push(id.slot);
                (Ok(Some(slot.take_reply(written, head))), waker)
            }
            _ => (self.broken.map_or(Ok(None), Err), None),
        }
    }

    /// Takes what the device has returned.
    fn process<R: RawMutex>(&mut self, pool: &DataPool<R>, orphans: &AtomicUsize, returned: &mut Returned) {
        returned.more = false;
        while self.broken.is_none() && self.ring.can_pop() {
            if returned.wakers.is_full() {
                returned.more = true;
                return;
            }
            match self.ring.pop() {
                Ok(None) => break,
                Ok(Some((index, written))) => {
                    returned.count += 1;
                    if let Some(waker) = self.complete(index, written, pool, orphans) {
                        // There is room: checked above.
                        let _ = returned.wakers.push(waker);
                    }
                }
                Err(error) => {
                    self.broken = Some(error);
                    returned.broken = Some(error);
                }
            }
        }
        if self.broken.is_some() {
            self.take_wakers(returned);
        }
    }

    /// Nobody is to wait for what will never come.
    #[cold]
    fn take_wakers(&mut self, returned: &mut Returned) {
        for slot in &mut self.slots {
            if returned.wakers.is_full() {
                returned.more = true;
                return;
            }
            if let Some(waker) = slot.waker.take() {
                let _ = returned.wakers.push(waker);
            }
        }
    }

    /// Takes a request back that the device has returned. Returns who waits for it.
    fn complete<R: RawMutex>(
        &mut self,
        index: u16,
        written: u32,
        pool: &DataPool<R>,
        orphans: &AtomicUsize,
    ) -> Option<Waker> {
        let slot = &mut self.slots[usize::from(index)];
        if let Some(buffer) = slot.data_out.take() {
            pool.give(buffer);
        }
        if matches!(slot.phase, Phase::Detached) && slot.meta.has_side_effects() {
            slot.set_orphan(written, orphans);
        } else if matches!(slot.phase, Phase::Detached | Phase::DetachedOrdered) {
            slot.recycle(pool);
            self.free.push(index);
        } else {
            slot.phase = Phase::Done { written };
            return slot.waker.take();
        }
        None
    }
}

/// The segments of a chain, those that the device reads first.
struct Segments {
    segments: [Segment; MAX_SEGMENTS],
    count: usize,
}

impl Segments {
    fn new() -> Self {
        Self { segments: [Segment { paddr: 0, len: 0, device_writes: false }; MAX_SEGMENTS], count: 0 }
    }

    /// Adds a segment, unless it has no bytes. A chain has no more than there is room for.
    fn add(&mut self, paddr: PhysAddr, len: usize, device_writes: bool) {
        if len > 0
            && let Some(place) = self.segments.get_mut(self.count)
        {
            *place = Segment { paddr, len: len as u32, device_writes };
            self.count += 1;
        }
    }

    fn as_slice(&self) -> &[Segment] {
        &self.segments[..self.count]
    }
}

impl Slot {
    /// The reply that has come; the slot is free then, and its number to be noted as such.
    fn take_reply(&mut self, written: u32, head: &mut [u8]) -> Reply {
        let written = written as usize;
        let head_len = written.min(self.reply_len).min(head.len());
        self.reply.read(0, &mut head[..head_len]);
        let rest = written - head_len;
        let data = self.data_in.take().map(|(buffer, len)| (buffer, rest.min(len)));
        self.phase = Phase::Free;
        Reply { written, head_len, data }
    }

    fn set_orphan(&mut self, written: u32, orphans: &AtomicUsize) {
        self.phase = Phase::OrphanReply { written };
        orphans.fetch_add(1, Ordering::Release);
    }

    fn recycle<R: RawMutex>(&mut self, pool: &DataPool<R>) {
        self.phase = Phase::Free;
        for buffer in self.data_out.take().into_iter().chain(self.data_in.take().map(|(buffer, _)| buffer)) {
            pool.give(buffer);
        }
    }
}
