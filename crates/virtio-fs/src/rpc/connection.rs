//! Requests to the device and their replies: submission, waiting with a deadline, and what happens when the device does
//! not answer.

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use core::task::Waker;
use core::time::Duration;

use fuse_proto::{Errno, NodeId, Opcode};
use lock_api::Mutex;

use super::budget::{Budgets, Call};
use super::deadlines::{Class, Deadlines};
use super::reply::Received;
use super::request::Request;
use crate::port::{Completion, DevicePort};
use crate::queue::channel::{
    Buffers, Channel, DataPool, Message, OrphanReply, REQUEST_BYTES, Reply, SlotId, SubmitError,
};
use crate::queue::notifications::NotificationQueue;
use crate::wait::wait_for;
use crate::{Error, Lock, Platform, RingError};

/// The hiprio queue's place among the channels (virtio 1.3, 5.11.2).
pub(crate) const HIPRIO: usize = 0;

/// A request that is in a queue, or with the device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Submitted {
    channel: usize,
    slot: SlotId,
    pub(crate) opcode: Opcode,
    /// Its number, unique among all requests in flight.
    pub(crate) unique: u64,
    /// When it is given up.
    pub(crate) deadline: Duration,
    /// Whether that is before its class has it given up, since its call has no more time.
    pub(crate) hurried: bool,
    /// Whether it is no later than the end of the call that sent it.
    pub(crate) in_time: bool,
}

/// What a connection is set up with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The largest bulk data of one request, in bytes.
    pub(crate) data_buffer_size: usize,
    pub(crate) deadlines: Deadlines,
    /// How many short requests in a row may time out before the device is given up.
    pub(crate) max_timeouts: u32,
}

/// The memory that the device reaches.
struct Queues<R> {
    /// The hiprio queue, then the request queues.
    channels: Box<[Channel<R>]>,
    notifications: Option<NotificationQueue<R>>,
    pool: DataPool<R>,
    /// Requests that timed out since the device last returned one.
    timeouts_in_a_row: AtomicU32,
}

/// Who acts upon orphaned replies.
pub(crate) trait SettleOrphans: Send + Sync {
    /// Takes them and acts upon them. May send requests.
    fn settle_orphans(&self);
}

/// How long a request may take.
struct Given {
    /// When it is given up.
    deadline: Duration,
    /// How long its caller waits for room for it.
    until: Duration,
    /// Whether it gets less than its class has.
    hurried: bool,
    /// Whether the call's own end was looked at for its deadline.
    in_time: bool,
}

/// Whether somebody waits for the answers to such requests, if there are any.
fn is_awaited(opcode: Opcode) -> bool {
    !matches!(opcode, Opcode::RELEASE | Opcode::RELEASEDIR | Opcode::FORGET | Opcode::BATCH_FORGET | Opcode::INTERRUPT)
}

/// The parts of a request that stay in a slot, header and body among them, and those that go to a data buffer: whole parts from
/// the first that does not fit.
fn split<'p, 'm>(parts: &'p [&'m [u8]]) -> (&'p [&'m [u8]], &'p [&'m [u8]]) {
    let mut len = 0;
    let fits = parts.iter().take_while(|part| {
        len += part.len();
        len <= REQUEST_BYTES
    });
    parts.split_at(fits.count())
}

/// Replies that nobody waited for any more, until somebody settles them.
struct Orphans<R> {
    replies: Mutex<R, Vec<OrphanReply>>,
    any: AtomicBool,
}

impl<R: Lock> Orphans<R> {
    fn new() -> Self {
        Self { replies: Mutex::new(Vec::new()), any: AtomicBool::new(false) }
    }

    fn push(&self, reply: OrphanReply) {
        self.replies.lock().push(reply);
        self.any.store(true, Ordering::Release);
    }

    fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    fn take(&self) -> Vec<OrphanReply> {
        if !self.any() || !self.any.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        core::mem::take(&mut *self.replies.lock())
    }
}

/// What comes when nobody waits for it any more, and who acts upon it.
struct Late<R: Lock> {
    /// For [`Connection::take_orphans`].
    orphans: Orphans<R>,
    /// Those that are about the window, for [`Connection::take_late_mappings`].
    mappings: Orphans<R>,
    settler: Mutex<R, Option<Weak<dyn SettleOrphans>>>,
}

/// Everything needed to talk to a running device.
pub(crate) struct Connection<R: Lock> {
    platform: Arc<dyn Platform>,
    port: Arc<dyn DevicePort>,
    /// Counted so that it can be leaked: memory of a device that did not stop is never freed.
    queues: Arc<Queues<R>>,
    stopped: AtomicBool,
    data_buffer_size: usize,
    /// Apart, so that the whole is small enough for little stacks while it is made.
    late: Box<Late<R>>,
    next_unique: AtomicU64,
    next_channel: AtomicU32,
    deadlines: Deadlines,
    budgets: Budgets,
    max_timeouts: u32,
    dead: AtomicBool,
    requests: AtomicU64,
    timeouts: AtomicU64,
}

impl<R: Lock> Drop for Connection<R> {
    fn drop(&mut self) {
        self.port.detach();
        self.port.close();
        if !*self.stopped.get_mut() {
            log::error!("virtio-fs: the device did not stop; its queues and buffers stay allocated for good");
            core::mem::forget(self.queues.clone());
        }
    }
}

impl<R: Lock> Queues<R> {
    fn complete(&self) -> usize {
        self.channels.iter().map(|channel| self.complete_one(channel)).sum()
    }
}

impl<R: Lock> Queues<R> {
    /// Takes what the device has returned on a queue; any answer, wanted or not, is a sign of life.
    fn complete_one(&self, channel: &Channel<R>) -> usize {
        let completions = channel.process(&self.pool);
        self.note_completions(completions);
        completions
    }

    fn note_completions(&self, completions: usize) {
        if completions > 0 && self.timeouts_in_a_row.load(Ordering::Relaxed) > 0 {
            self.timeouts_in_a_row.store(0, Ordering::Relaxed);
        }
    }
}

impl<R: Lock> Completion for Queues<R> {
    fn complete(&self) -> usize {
        Self::complete(self)
    }
}

impl<R: Lock> Connection<R> {
    /// A connection by queues that the device has; interrupts complete what comes back on them from now on.
    pub(crate) fn new(
        platform: Arc<dyn Platform>,
        port: Arc<dyn DevicePort>,
        channels: Box<[Channel<R>]>,
        notifications: Option<NotificationQueue<R>>,
        pool: DataPool<R>,
        limits: Limits,
    ) -> Self {
        let queues = Arc::new(Queues { channels, notifications, pool, timeouts_in_a_row: AtomicU32::new(0) });
        port.attach(queues.clone());
        let budgets = Budgets::new(limits.deadlines.short, platform.task().is_some());
        Self {
            platform,
            port,
            queues,
            stopped: AtomicBool::new(false),
            data_buffer_size: limits.data_buffer_size,
            late: Box::new(Late { orphans: Orphans::new(), mappings: Orphans::new(), settler: Mutex::new(None) }),
            next_unique: AtomicU64::new(2),
            next_channel: AtomicU32::new(0),
            deadlines: limits.deadlines,
            budgets,
            max_timeouts: limits.max_timeouts.max(1),
            dead: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            timeouts: AtomicU64::new(0),
        }
    }
}

impl<R: Lock> Connection<R> {
    /// The embedder's platform.
    pub(crate) fn platform(&self) -> &dyn Platform {
        &*self.platform
    }

    /// The same, to keep.
    pub(crate) fn shared_platform(&self) -> Arc<dyn Platform> {
        self.platform.clone()
    }

    /// How many requests were sent.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// How many were not answered in time.
    pub(crate) fn timeouts(&self) -> u64 {
        self.timeouts.load(Ordering::Relaxed)
    }

    /// The notification queue, where the device has one.
    pub(crate) fn notifications(&self) -> Option<&NotificationQueue<R>> {
        self.queues.notifications.as_ref()
    }

    /// Makes the notification queue's buffers visible to the device.
    pub(crate) fn kick_notifications(&self) {
        if let Some(queue) = &self.queues.notifications
            && queue.publish()
        {
            self.port.notify(queue.index());
        }
    }

    /// A number for the next request. Even: odd ones mark interrupts of requests.
    pub(crate) fn next_unique(&self) -> u64 {
        self.next_unique.fetch_add(2, Ordering::Relaxed)
    }

    /// The largest bulk data of one request in bytes.
    pub(crate) fn data_buffer_size(&self) -> usize {
        self.data_buffer_size
    }

    /// How many request queues there are.
    pub(crate) fn request_queues(&self) -> usize {
        self.queues.channels.len() - 1
    }

    /// Whether the device was given up.
    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// How long a call may take that another one waits for. Whoever asks begins to wait, which counts for its own time.
    pub(crate) fn patience(&self) -> Duration {
        let _ = self.budgets.end(self.platform.task(), self.platform.now(), self.deadlines.short);
        self.deadlines.of_a_call()
    }

    /// When the last of the requests is given up that somebody awaits, if there are any.
    pub(crate) fn live_until(&self) -> Option<Duration> {
        self.queues.channels.iter().filter_map(Channel::live_until).max()
    }

    /// Whether a long request is in flight that was not given up.
    pub(crate) fn has_long_request(&self) -> bool {
        let now = self.platform.now();
        self.queues.channels.iter().any(|channel| channel.has_long_request(now))
    }

    /// Waits until the device holds no request any more, given-up ones and those without a reply among them.
    pub(crate) fn quiesce(&self) {
        let deadline = self.platform.now().saturating_add(self.deadlines.short);
        let deadline = self.in_time(self.live_until().map_or(deadline, |live| live.max(deadline)));
        let quiet = self.platform.wait(deadline, &mut || {
            self.process();
            self.queues.channels.iter().all(|channel| channel.held() == 0)
        });
        if !quiet {
            log::warn!("virtio-fs: the device still holds requests at the end of the session");
        }
    }

    /// Waits until the device has answered all requests that were left to it by [`Connection::detach_ordered`], but for those
    /// past their deadline: nobody waits for them a second time.
    pub(crate) fn drain_detached(&self) {
        let now = self.platform.now();
        let ordered = |channel: &Channel<R>| channel.ordered_until().filter(|&until| until > now);
        let Some(deadline) = self.queues.channels.iter().filter_map(ordered).max() else { return };
        let settled = self.platform.wait(self.in_time(deadline), &mut || {
            self.process();
            self.is_dead() || !self.queues.channels.iter().any(|channel| channel.has_ordered_after(now))
        });
        if !settled {
            log::warn!("virtio-fs: the device has not answered a RELEASE in {:?}", self.deadlines.short);
        }
    }

    /// The request queue for the next request: one after the other.
    pub(crate) fn pick_channel(&self) -> usize {
        let queues = self.request_queues() as u32;
        if queues <= 1 { 1 } else { 1 + (self.next_channel.fetch_add(1, Ordering::Relaxed) % queues) as usize }
    }

    /// Sends a request by the next queue, waiting for room.
    pub(crate) fn send(&self, request: &Request<'_>) -> Result<Submitted, Error> {
        // Patience ends with a request or an error.
        self.submit(self.pick_channel(), request, true, true)?.ok_or(Error::Dead)
    }

    /// Puts a request into a queue; `kick`: the device gets to know of it, which [`Connection::kick`] does otherwise.
    ///
    /// Waits, up to the request's deadline, for a free slot and for data buffers; returns `None` instead if the caller is not
    /// `patient`. A caller must not block while it holds requests that nobody awaits.
    #[inline(never)]
    pub(crate) fn submit(
        &self,
        index: usize,
        request: &Request<'_>,
        patient: bool,
        kick: bool,
    ) -> Result<Option<Submitted>, Error> {
        let now = self.platform.now();
        let opcode = request.meta.opcode;
        let given = self.given(opcode, now, patient);
        if given.hurried && given.deadline <= now {
            // The device is not asked, and not blamed.
            return Err(Error::TimedOut { opcode, after: Duration::ZERO });
        }
        let channel = &self.queues.channels[index];
        let (parts, tail) = split(&request.parts);
        let (meta, reply_len, deadline) = (request.meta, request.reply_len, given.deadline);
        let long = Class::of(opcode) == Class::Long;
        let mut message = Message { meta, parts, data_out: None, reply_len, data_in: None, deadline, long };
        let needs_buffers = !tail.is_empty() || request.reply_data > 0;
        loop {
            if self.is_dead() {
                return Err(Error::Dead);
            }
            let data = (tail, request.reply_data);
            if needs_buffers && !self.lend_buffers(index, &mut message, data, given.until)? {
                return self.no_room(opcode, &given, patient);
            }
            match channel.submit(&mut message, &self.queues.pool, kick) {
                Ok((slot, notify)) => {
                    if notify {
                        self.port.notify(channel.index());
                    }
                    self.requests.fetch_add(1, Ordering::Relaxed);
                    let Given { deadline, hurried, in_time, .. } = given;
                    let unique = request.meta.unique;
                    return Ok(Some(Submitted { channel: index, slot, opcode, unique, deadline, hurried, in_time }));
                }
                Err(SubmitError::Broken(error)) => return Err(Error::Queue(error)),
                Err(SubmitError::Closed) => return Err(Error::Unmounted),
                Err(SubmitError::Full) if self.wait_for_slot(index, patient.then_some(given.until)) => {}
                Err(SubmitError::Full) => return self.no_room(opcode, &given, patient),
            }
        }
    }

    /// Waits for a free slot `until` then, or only looks for one. Returns whether there is one.
    #[cold]
    fn wait_for_slot(&self, index: usize, until: Option<Duration>) -> bool {
        self.kick(index);
        let channel = &self.queues.channels[index];
        let mut room = || {
            self.queues.complete_one(channel);
            self.collect_orphans(channel);
            channel.has_free()
        };
        match until {
            Some(until) => self.platform.wait(until, &mut room),
            None => room(),
        }
    }

    /// Begins a call, which has a time of its own.
    pub(crate) fn begin_call(&self) -> Call<'_> {
        self.budgets.begin(self.platform.task())
    }

    /// Notes that a call has moved so many bytes, and may take longer for it.
    pub(crate) fn moved(&self, call: &Call<'_>, bytes: usize) {
        self.budgets.moved(self.platform.task(), call, bytes as u64);
    }

    /// How long a request that is sent now may take, and its caller wait for room.
    fn given(&self, opcode: Opcode, now: Duration, patient: bool) -> Given {
        let time = self.deadlines.of(opcode);
        let full = now.saturating_add(time);
        if !patient {
            // It outlives the call.
            return Given { deadline: full, until: now, hurried: false, in_time: false };
        }
        if is_awaited(opcode) {
            let deadline = self.budgets.deadline(self.platform.task(), now, time);
            return Given { deadline, until: deadline, hurried: deadline < full, in_time: true };
        }
        let end = self.budgets.end(self.platform.task(), now, self.deadlines.short).map_or(full, |end| end.max(now));
        Given { deadline: full, until: full.min(end), hurried: false, in_time: false }
    }

    /// The end of a wait of the driver's own until `deadline`: no later than the call's.
    pub(crate) fn in_time(&self, deadline: Duration) -> Duration {
        let end = self.budgets.end(self.platform.task(), self.platform.now(), self.deadlines.short);
        end.map_or(deadline, |end| deadline.min(end))
    }

    /// There was no room for a request: an error for who waited for it.
    #[cold]
    fn no_room(&self, opcode: Opcode, given: &Given, patient: bool) -> Result<Option<Submitted>, Error> {
        if !patient {
            return Ok(None);
        }
        if self.queues.channels.iter().any(Channel::has_unpolled) {
            // The device has done its part.
            return Err(Error::refused(Errno::EAGAIN, "answers that nobody has polled fill the queue"));
        }
        Err(self.given_up(opcode, given.until, given.hurried))
    }

    /// Makes submitted requests visible to the device and notifies it if it wants that.
    pub(crate) fn kick(&self, channel: usize) {
        let channel = &self.queues.channels[channel];
        if channel.publish() {
            self.port.notify(channel.index());
        }
    }

    /// Takes the reply to a request if it has come, its first bytes to `head`.
    pub(crate) fn look(&self, request: &Submitted, head: &mut [u8]) -> Result<Option<Reply>, RingError> {
        let looked = self.queues.channels[request.channel].look(request.slot, head, &self.queues.pool);
        self.queues.note_completions(looked.completions);
        looked.reply
    }

    /// Nobody waits for a request: it is polled some time.
    pub(crate) fn leave_to_polling(&self, request: &Submitted) {
        self.queues.channels[request.channel].leave_to_polling(request.slot);
    }

    /// Registers who to wake when the reply comes. Look once more afterwards.
    pub(crate) fn set_waker(&self, request: &Submitted, waker: &Waker) {
        self.queues.channels[request.channel].set_waker(request.slot, waker);
    }

    /// Gives a request up: the device keeps its buffers until it returns them.
    pub(crate) fn abandon(&self, request: &Submitted) {
        self.queues.channels[request.channel].abandon(request.slot, &self.queues.pool);
    }

    /// Gives a request up that later ones must not overtake; [`Connection::drain_detached`] waits for it.
    pub(crate) fn detach_ordered(&self, request: &Submitted) {
        self.queues.channels[request.channel].detach_ordered(request.slot, &self.queues.pool);
    }

    /// Whether nothing is in flight and all of so many data buffers are free. Takes them.
    #[cfg(test)]
    pub(crate) fn is_idle(&self, buffers: usize) -> bool {
        let idle = self.queues.channels.iter().all(|channel| channel.in_flight() == 0);
        idle && (0..buffers).all(|_| self.queues.pool.take(1).is_some())
    }

    /// Takes what the device has returned on any queue; returns the number of completions.
    pub(crate) fn process(&self) -> usize {
        let completions = self.complete();
        self.queues.channels.iter().for_each(|channel| self.collect_orphans(channel));
        completions
    }

    /// As [`Connection::process`], without anything that allocates.
    fn complete(&self) -> usize {
        self.queues.complete()
    }

    /// Copies orphaned replies out of the slots and buffers that they keep from others.
    fn collect_orphans(&self, channel: &Channel<R>) {
        while let Some(orphan) = channel.take_orphan(&self.queues.pool) {
            match orphan.meta.opcode {
                Opcode::SETUPMAPPING | Opcode::REMOVEMAPPING => self.late.mappings.push(orphan),
                _ => self.late.orphans.push(orphan),
            }
        }
    }

    /// The nodes that the server may yet open, or has opened, for somebody who gave up, and those that are not closed yet.
    pub(crate) fn abandoned_opens(&self) -> Vec<NodeId> {
        let mut nodes = Vec::new();
        self.queues.channels.iter().for_each(|channel| channel.abandoned_opens(&mut nodes));
        nodes
    }

    /// Takes the replies that nobody waited for any more; side effects of their requests need undoing.
    pub(crate) fn take_orphans(&self) -> Vec<OrphanReply> {
        self.late.orphans.take()
    }

    /// Takes the late answers to SETUPMAPPING and REMOVEMAPPING.
    pub(crate) fn take_late_mappings(&self) -> Vec<OrphanReply> {
        self.late.mappings.take()
    }

    /// Whether there are any.
    #[inline]
    pub(crate) fn has_late_mappings(&self) -> bool {
        self.late.mappings.any()
    }

    /// Who acts upon orphaned replies from now on.
    pub(crate) fn set_settler(&self, settler: Weak<dyn SettleOrphans>) {
        let before = self.late.settler.lock().replace(settler);
        drop(before);
    }

    /// Has the orphaned replies acted upon, if there are any. Not from within a wait: that may send requests.
    pub(crate) fn settle(&self) {
        if !self.has_orphans() {
            return;
        }
        let settler = self.late.settler.lock().clone();
        match settler.and_then(|settler| settler.upgrade()) {
            Some(settler) => settler.settle_orphans(),
            None => drop((self.take_orphans(), self.take_late_mappings())),
        }
    }

    /// Whether there are orphaned replies of any kind.
    pub(crate) fn has_orphans(&self) -> bool {
        self.late.orphans.any() || self.late.mappings.any()
    }

    /// Acknowledges an interrupt and takes what the device has returned.
    pub(crate) fn handle_interrupt(&self) -> usize {
        let status = self.port.ack_interrupt();
        log::trace!("virtio-fs: interrupt {:#x}", status.bits());
        self.complete()
    }

    /// Asks the device for interrupts, or not. Takes what came back without one.
    pub(crate) fn set_interrupts(&self, on: bool) {
        self.queues.channels.iter().for_each(|channel| channel.set_interrupts(on));
        if let Some(notifications) = &self.queues.notifications {
            notifications.set_interrupts(on);
        }
        self.process();
    }

    /// Refuses all requests from now on but DESTROY: a call that began before the unmount must not reach a server whose session
    /// has ended.
    pub(crate) fn close(&self) {
        self.queues.channels.iter().for_each(Channel::close);
    }

    /// Resets the device, unless it was given up: a device that answers nothing any more is left alone, since touching it
    /// takes some hosts down.
    pub(crate) fn stop(&self) {
        if !self.is_dead() && self.port.reset(&*self.platform).is_ok() {
            self.stopped.store(true, Ordering::Release);
        }
    }

    /// Copies bulk data of a reply out of memory that the device can reach. `head` has its first bytes already.
    pub(crate) fn receive<'h>(&self, reply: Reply, head: &'h [u8], data: &mut [u8]) -> Received<'h> {
        let mut data_len = 0;
        if let Some((buffer, len)) = reply.data {
            let len = len.min(data.len());
            data_len = buffer.read(0, &mut data[..len]);
            self.queues.pool.give(buffer);
        }
        Received { written: reply.written, head: &head[..reply.head_len], data_len }
    }

    /// What becomes of a request after a wait without an answer: at its deadline, or before, if the embedder ended it.
    pub(crate) fn given_up(&self, opcode: Opcode, deadline: Duration, hurried: bool) -> Error {
        if self.is_stopped() {
            Error::Unmounted
        } else if self.platform.now() < deadline {
            Error::Cancelled
        } else if hurried {
            // Slow is not dead: with all of its time it might have been answered.
            self.timeouts.fetch_add(1, Ordering::Relaxed);
            Error::TimedOut { opcode, after: self.deadlines.of(opcode) }
        } else {
            self.timed_out(opcode)
        }
    }

    /// Counts a request that was not answered in time, and gives the device up after too many. Returns the error.
    pub(crate) fn timed_out(&self, opcode: Opcode) -> Error {
        self.timeouts.fetch_add(1, Ordering::Relaxed);
        let error = Error::TimedOut { opcode, after: self.deadlines.of(opcode) };
        // A server may do one thing at a time: what waits behind a long request says nothing about it.
        if Class::of(opcode) == Class::Long || self.has_long_request() {
            return error;
        }
        let in_a_row = self.queues.timeouts_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
        if in_a_row >= self.max_timeouts && self.give_up() {
            log::error!("virtio-fs: {in_a_row} requests in a row got no answer; leaving the device alone from here on");
        }
        error
    }

    /// Whether the device was reset at the end of the session: nothing is answered any more.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Leaves the device alone for good; returns whether that is new.
    pub(crate) fn give_up(&self) -> bool {
        let new = !self.dead.swap(true, Ordering::Relaxed);
        if new {
            self.port.abandon();
        }
        new
    }

    /// Gives a message the buffers that its data and its reply's need. `false` if there are none until the deadline.
    #[inline(never)]
    fn lend_buffers(
        &self,
        channel: usize,
        message: &mut Message<'_>,
        (tail, reply_data): (&[&[u8]], usize),
        until: Duration,
    ) -> Result<bool, Error> {
        let tail_len = tail.iter().map(|part| part.len()).sum();
        if tail_len > self.data_buffer_size {
            return Err(Error::TooLarge { len: tail_len, limit: self.data_buffer_size });
        }
        let count = usize::from(tail_len > 0) + usize::from(reply_data > 0);
        if count > self.queues.pool.len() {
            return Err(Error::refused(Errno::ENOBUFS, "data both ways takes two data buffers"));
        }
        let Some(mut buffers) = self.data_buffers(channel, count, until) else { return Ok(false) };
        let data_in = (reply_data > 0).then(|| buffers.pop()).flatten();
        message.data_in = data_in.map(|buffer| (buffer, reply_data.min(self.data_buffer_size)));
        message.data_out = buffers.pop().map(|mut buffer| {
            let written = tail.iter().fold(0, |offset, part| offset + buffer.write(offset, part));
            (buffer, written)
        });
        Ok(true)
    }

    /// Takes data buffers for a request, all at once, waiting for them. `None` at the deadline.
    fn data_buffers(&self, channel: usize, count: usize, deadline: Duration) -> Option<Buffers> {
        if count == 0 {
            return Some(Buffers::new());
        }
        self.queues.pool.take(count).or_else(|| {
            self.kick(channel);
            wait_for(&*self.platform, deadline, || {
                self.process();
                self.queues.pool.take(count)
            })
        })
    }
}
