//! Requests to the device and their replies: submission, waiting with a deadline, and what happens when the device does
//! not answer.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use core::time::Duration;

use fuse_proto::{Errno, NodeId, Opcode};
use lock_api::{Mutex, RawMutex};

use crate::device::port::{Completion, Port};
use crate::queue::channel::{
    Buffers, Channel, DataPool, Message, OrphanReply, REPLY_BYTES, REQUEST_BYTES, Reply, RequestMeta, SubmitError,
    Token,
};
use crate::queue::notices::NoticeQueue;
use crate::wait::wait_for;
use crate::{Error, Platform};

/// The hiprio queue's place among the channels (virtio 1.3, 5.11.2).
pub(crate) const HIPRIO: usize = 0;

/// A request as bytes.
pub(crate) struct Outgoing<'a> {
    pub(crate) about: RequestMeta,
    /// Header, body, names, data, in this order.
    pub(crate) parts: &'a [&'a [u8]],
    /// Bytes of the reply that go to the slot's own buffer; 0 if there is no reply.
    pub(crate) reply_len: usize,
    /// Room for bulk data after them.
    pub(crate) reply_data: usize,
}

/// Names a request in flight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    channel: usize,
    token: Token,
    pub(crate) opcode: Opcode,
    pub(crate) unique: u64,
    deadline: Duration,
}

/// A request in flight. Dropped without being waited for, it is abandoned: the device keeps its buffers until it
/// returns them.
pub(crate) struct Pending<'c, R: RawMutex> {
    connection: &'c Connection<R>,
    ticket: Ticket,
    finished: bool,
}

impl<R: RawMutex> Pending<'_, R> {
    pub(crate) fn unique(&self) -> u64 {
        self.ticket.unique
    }

    /// Leaves the request to the device; [`Connection::drain_detached`] waits for it.
    pub(crate) fn detach_ordered(mut self) {
        self.finished = true;
        self.connection.queues.channels[self.ticket.channel]
            .detach_ordered(self.ticket.token, &self.connection.queues.pool);
    }

    /// Leaves it to the caller to wait for the request or to abandon it.
    pub(crate) fn into_ticket(mut self) -> Ticket {
        self.finished = true;
        self.ticket
    }
}

impl<R: RawMutex> Drop for Pending<'_, R> {
    fn drop(&mut self) {
        if !self.finished {
            self.connection.abandon(self.ticket);
        }
    }
}

/// A reply as bytes, copied out of memory that the device can reach.
#[derive(Debug)]
pub(crate) struct Received {
    /// Bytes that the device says it wrote.
    pub(crate) written: usize,
    head: [u8; REPLY_BYTES],
    head_len: usize,
    /// Bytes of bulk data copied to the caller's buffer.
    pub(crate) data_len: usize,
}

impl Received {
    /// Header and fixed body.
    pub(crate) fn head(&self) -> &[u8] {
        &self.head[..self.head_len]
    }
}

/// The memory that the device reaches.
struct Queues<R> {
    /// The hiprio queue, then the request queues.
    channels: Box<[Channel<R>]>,
    notices: Option<NoticeQueue<R>>,
    pool: DataPool<R>,
}

/// Everything needed to talk to a running device.
pub(crate) struct Connection<R: RawMutex> {
    pub(crate) platform: Arc<dyn Platform>,
    port: Arc<Port<R>>,
    /// Counted so that it can be leaked: memory of a device that did not stop is never freed.
    queues: Arc<Queues<R>>,
    stopped: AtomicBool,
    data_buffer_size: usize,
    /// Replies that came for nobody, for [`Connection::take_late`].
    late: Mutex<R, Vec<OrphanReply>>,
    has_late: AtomicBool,
    next_unique: AtomicU64,
    next_channel: AtomicU32,
    timeout: Duration,
    max_timeouts: u32,
    timeouts_in_a_row: AtomicU32,
    dead: AtomicBool,
    pub(crate) requests: AtomicU64,
    pub(crate) timeouts: AtomicU64,
}

impl<R: RawMutex> Drop for Connection<R> {
    fn drop(&mut self) {
        self.port.detach();
        self.port.close();
        if !*self.stopped.get_mut() {
            log::error!("virtio-fs: the device did not stop; its queues and buffers stay allocated for good");
            core::mem::forget(self.queues.clone());
        }
    }
}

impl<R: RawMutex> Queues<R> {
    fn complete(&self) -> usize {
        self.channels.iter().map(|channel| channel.process(&self.pool)).sum()
    }
}

impl<R: RawMutex + Send + Sync> Completion for Queues<R> {
    fn complete(&self) -> usize {
        Self::complete(self)
    }
}

impl<R: RawMutex + Send + Sync + 'static> Connection<R> {
    /// A connection by queues that the device has; interrupts complete what comes back on them from now on.
    pub(crate) fn new(
        platform: Arc<dyn Platform>,
        port: Arc<Port<R>>,
        channels: Box<[Channel<R>]>,
        notices: Option<NoticeQueue<R>>,
        pool: DataPool<R>,
        config: &crate::Config,
    ) -> Self {
        let queues = Arc::new(Queues { channels, notices, pool });
        port.attach(queues.clone());
        Self {
            platform,
            port,
            queues,
            stopped: AtomicBool::new(false),
            data_buffer_size: config.data_buffer_size,
            late: Mutex::new(Vec::new()),
            has_late: AtomicBool::new(false),
            next_unique: AtomicU64::new(2),
            next_channel: AtomicU32::new(0),
            timeout: config.request_timeout,
            max_timeouts: config.max_timeouts.max(1),
            timeouts_in_a_row: AtomicU32::new(0),
            dead: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            timeouts: AtomicU64::new(0),
        }
    }
}

impl<R: RawMutex> Connection<R> {
    /// The notification queue, where the device has one.
    pub(crate) fn notices(&self) -> Option<&NoticeQueue<R>> {
        self.queues.notices.as_ref()
    }

    /// Makes the notification queue's buffers visible to the device.
    pub(crate) fn kick_notices(&self) {
        if let Some(queue) = &self.queues.notices
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

    /// Waits until the device holds no request any more, given-up ones and those without a reply among them.
    pub(crate) fn quiesce(&self) {
        let deadline = self.platform.now().saturating_add(self.timeout);
        let quiet = self.platform.wait(deadline, &mut || {
            self.process();
            self.queues.channels.iter().all(|channel| channel.in_flight() == 0)
        });
        if !quiet {
            log::warn!("virtio-fs: the device still holds requests at the end of the session");
        }
    }

    /// Waits until the device has answered all requests that were left to it by [`Pending::detach_ordered`].
    pub(crate) fn drain_detached(&self) {
        let deadline = self.platform.now().saturating_add(self.timeout);
        let settled = self.platform.wait(deadline, &mut || {
            self.process();
            self.is_dead() || !self.queues.channels.iter().any(Channel::has_trailing)
        });
        if !settled {
            log::warn!("virtio-fs: the device has not answered a RELEASE in {:?}", self.timeout);
        }
    }

    /// The request queue for the next request: one after the other.
    pub(crate) fn pick_channel(&self) -> usize {
        let queues = self.request_queues() as u32;
        if queues <= 1 { 1 } else { 1 + (self.next_channel.fetch_add(1, Ordering::Relaxed) % queues) as usize }
    }

    /// Puts a request into a queue without telling the device yet; [`Connection::kick`] does.
    ///
    /// Waits, up to the request's deadline, for a free slot and for data buffers; `None` instead if the caller is not
    /// `patient`. Whoever holds requests that he has not waited for must not be: he might wait for himself.
    pub(crate) fn submit_or(
        &self,
        channel: usize,
        request: &Outgoing<'_>,
        patient: bool,
    ) -> Result<Option<Pending<'_, R>>, Error> {
        let now = self.platform.now();
        let deadline = now.saturating_add(self.timeout);
        let until = if patient { deadline } else { now };
        loop {
            if self.is_dead() {
                return Err(Error::Dead);
            }
            let no_room = || if patient { Err(self.timed_out(request.about.opcode)) } else { Ok(None) };
            let Some(message) = self.message(channel, request, until)? else { return no_room() };
            match self.queues.channels[channel].submit(message, &self.queues.pool) {
                Ok(token) => {
                    self.requests.fetch_add(1, Ordering::Relaxed);
                    let RequestMeta { opcode, unique, .. } = request.about;
                    let ticket = Ticket { channel, token, opcode, unique, deadline };
                    return Ok(Some(Pending { connection: self, ticket, finished: false }));
                }
                Err(SubmitError::Broken(error)) => return Err(Error::Queue(error)),
                Err(SubmitError::Full) => {
                    self.kick(channel);
                    let channel = &self.queues.channels[channel];
                    let mut room = || {
                        channel.process(&self.queues.pool);
                        self.collect_late(channel);
                        channel.has_free()
                    };
                    let found = if patient { self.platform.wait(until, &mut room) } else { room() };
                    if !found {
                        return no_room();
                    }
                }
            }
        }
    }

    /// Makes submitted requests visible to the device and notifies it if it wants that.
    pub(crate) fn kick(&self, channel: usize) {
        let channel = &self.queues.channels[channel];
        if channel.publish() {
            self.port.notify(channel.index());
        }
    }

    /// Waits for the reply; bulk data is copied to `data`.
    pub(crate) fn wait(&self, pending: Pending<'_, R>, data: &mut [u8]) -> Result<Received, Error> {
        let ticket = pending.ticket;
        let channel = &self.queues.channels[ticket.channel];
        let come = || channel.poll(ticket.token, &self.queues.pool).transpose();
        match wait_for(&*self.platform, ticket.deadline, come) {
            Some(Ok(reply)) => {
                pending.into_ticket();
                Ok(self.receive(reply, data))
            }
            None => Err(self.timed_out(ticket.opcode)),
            Some(Err(error)) => {
                self.give_up();
                Err(Error::Queue(error))
            }
        }
    }

    /// Looks whether the reply has come; registers `waker` if not. After a reply or an error the ticket is spent.
    pub(crate) fn poll(
        &self,
        ticket: Ticket,
        waker: Option<&core::task::Waker>,
        data: &mut [u8],
    ) -> Result<Option<Received>, Error> {
        let channel = &self.queues.channels[ticket.channel];
        let mut reply = channel.poll(ticket.token, &self.queues.pool).map_err(Error::Queue)?;
        if let (None, Some(waker)) = (&reply, waker) {
            channel.set_waker(ticket.token, waker);
            // It may have come before the waker was there.
            reply = channel.poll(ticket.token, &self.queues.pool).map_err(Error::Queue)?;
        }
        match reply {
            Some(reply) => Ok(Some(self.receive(reply, data))),
            None if self.is_dead() => Err(Error::Dead),
            None if self.platform.now() >= ticket.deadline => {
                self.abandon(ticket);
                Err(self.timed_out(ticket.opcode))
            }
            None => Ok(None),
        }
    }

    /// Gives a request up.
    pub(crate) fn abandon(&self, ticket: Ticket) {
        self.queues.channels[ticket.channel].abandon(ticket.token, &self.queues.pool);
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
        self.queues.channels.iter().for_each(|channel| self.collect_late(channel));
        completions
    }

    /// As [`Connection::process`], without anything that allocates.
    fn complete(&self) -> usize {
        self.queues.complete()
    }

    /// Copies late replies out of the slots and buffers that they keep from others.
    fn collect_late(&self, channel: &Channel<R>) {
        while let Some(late) = channel.take_late(&self.queues.pool) {
            self.late.lock().push(late);
            self.has_late.store(true, Ordering::Release);
        }
    }

    /// The nodes that the server may yet open, or has opened, for somebody who gave up.
    pub(crate) fn abandoned_opens(&self) -> Vec<NodeId> {
        let mut nodes = Vec::new();
        self.queues.channels.iter().for_each(|channel| channel.abandoned_opens(&mut nodes));
        nodes
    }

    /// Replies that came when nobody waited for them any more, to be made good.
    pub(crate) fn take_late(&self) -> Vec<OrphanReply> {
        if !self.has_late.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        core::mem::take(&mut *self.late.lock())
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
        if let Some(notices) = &self.queues.notices {
            notices.set_interrupts(on);
        }
        self.process();
    }

    /// Resets the device, unless it was given up: a device that answers nothing any more is left alone, since touching it
    /// takes some hosts down.
    pub(crate) fn stop(&self) {
        if !self.is_dead() && self.port.reset(&*self.platform).is_ok() {
            self.stopped.store(true, Ordering::Release);
        }
    }

    fn receive(&self, reply: Reply, data: &mut [u8]) -> Received {
        self.timeouts_in_a_row.store(0, Ordering::Relaxed);
        let mut data_len = 0;
        if let Some((buffer, len)) = reply.data {
            let len = len.min(data.len());
            data_len = buffer.read(0, &mut data[..len]);
            self.queues.pool.give(buffer);
        }
        Received { written: reply.written, head: reply.head, head_len: reply.head_len, data_len }
    }

    fn timed_out(&self, opcode: Opcode) -> Error {
        self.timeouts.fetch_add(1, Ordering::Relaxed);
        let in_a_row = self.timeouts_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
        if in_a_row >= self.max_timeouts && self.give_up() {
            log::error!("virtio-fs: {in_a_row} requests in a row got no answer; leaving the device alone from here on");
        }
        Error::TimedOut { opcode, after: self.timeout }
    }

    /// Leaves the device alone for good; returns whether that is new.
    fn give_up(&self) -> bool {
        let new = !self.dead.swap(true, Ordering::Relaxed);
        if new {
            self.port.abandon();
        }
        new
    }

    /// Lays a request out over the slot's buffers and data buffers. `None` when no data buffer became free in time.
    fn message<'m>(
        &self,
        channel: usize,
        request: &'m Outgoing<'m>,
        until: Duration,
    ) -> Result<Option<Message<'m>>, Error> {
        let total: usize = request.parts.iter().map(|part| part.len()).sum();
        // The header and body stay in the slot, whole parts from the first that does not fit go to a data buffer.
        let mut inline = 0;
        let fits = request.parts.iter().take_while(|part| {
            inline += part.len();
            inline <= REQUEST_BYTES
        });
        let (parts, tail) =
            request.parts.split_at(if total > REQUEST_BYTES { fits.count() } else { request.parts.len() });
        let tail_len = tail.iter().map(|part| part.len()).sum();
        if tail_len > self.data_buffer_size {
            return Err(Error::TooLarge { len: tail_len, limit: self.data_buffer_size });
        }
        let count = usize::from(tail_len > 0) + usize::from(request.reply_data > 0);
        if count > self.queues.pool.len() {
            return Err(Error::refused(Errno::ENOBUFS, "data both ways takes two data buffers"));
        }
        let Some(mut buffers) = self.data_buffers(channel, count, until) else { return Ok(None) };
        let data_in = (request.reply_data > 0).then(|| buffers.pop()).flatten();
        let data_in = data_in.map(|buffer| (buffer, request.reply_data.min(self.data_buffer_size)));
        let data_out = buffers.pop().map(|mut buffer| {
            let written = tail.iter().fold(0, |offset, part| offset + buffer.write(offset, part));
            (buffer, written)
        });
        Ok(Some(Message { about: request.about, parts, data_out, reply_len: request.reply_len, data_in }))
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
