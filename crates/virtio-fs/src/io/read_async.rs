//! Reading without blocking.

use alloc::boxed::Box;
use core::task::Waker;

use fuse_proto::ops;

use super::ask_size::{AskSize, is_needed};
use super::open_file::OpenFile;
use super::read::read_request;
use super::{FileIo, bypass_len};
use crate::rpc::data::{io_size, read_op, readable_len};
use crate::rpc::in_flight::InFlight;
use crate::window::background::Begun;
use crate::window::counters::Reason;
use crate::window::pending::SetUp;
use crate::window::range_ref::RangeRef;
use crate::{Error, Lock};

/// A read under way. It goes on each time it is polled.
pub(crate) struct Read<'f, R: Lock> {
    io: &'f FileIo<R>,
    file: &'f OpenFile<R>,
    offset: u64,
    /// Bytes read so far.
    done: usize,
    /// Whether the size was asked for.
    sized: bool,
    /// The host has cut the file: the rest goes by requests.
    was_cut: bool,
    step: Step<'f, R>,
}

/// What a read waits for.
enum Step<'f, R: Lock> {
    /// Nothing: it goes on at once.
    Next,
    /// The file's size.
    Size(AskSize<'f, R>),
    /// The wanted bytes are being mapped.
    SetUp(Box<SetUp<R>>),
    /// So many bytes by a READ.
    Request(InFlight<'f, R>, ops::Read, usize),
}

impl<R: Lock> Drop for Read<'_, R> {
    fn drop(&mut self) {
        if let (Step::SetUp(set_up), Some(window)) = (core::mem::replace(&mut self.step, Step::Next), self.io.window())
        {
            window.detach(*set_up);
        }
    }
}

impl<'f, R: Lock> Read<'f, R> {
    /// A read of bytes at `offset`, which begins when it is polled.
    pub(crate) fn new(io: &'f FileIo<R>, file: &'f OpenFile<R>, offset: u64) -> Self {
        Self { io, file, offset, done: 0, sized: false, was_cut: false, step: Step::Next }
    }

    /// Goes on as far as that is possible without waiting. Returns how many bytes were read once the buffer is full or the
    /// file has ended; `None`: not yet, and `waker` is woken when there is something to do.
    pub(crate) fn poll(&mut self, buffer: &mut [u8], waker: &Waker) -> Result<Option<usize>, Error> {
        self.io.volume.check_mounted()?;
        self.io.volume.check_alive(&self.file.inode)?;
        let len = readable_len(self.offset, buffer.len());
        let buffer = &mut buffer[..len];
        while self.done < buffer.len() {
            let more = match core::mem::replace(&mut self.step, Step::Next) {
                Step::Next => self.next(&mut buffer[self.done..], waker),
                Step::Size(asked) => self.poll_size(asked, waker),
                Step::SetUp(set_up) => self.poll_set_up(set_up, &mut buffer[self.done..], waker),
                Step::Request(in_flight, op, len) => {
                    let rest = &mut buffer[self.done..][..len];
                    self.poll_request(in_flight, op, rest, waker)
                }
            };
            match more {
                Ok(More::Now) => {}
                Ok(More::Later) => return Ok(None),
                Ok(More::Never) => break,
                Err(error) if self.done == 0 => return Err(error),
                // The caller asks again from there on.
                Err(_) => break,
            }
        }
        Ok(Some(self.done))
    }

    fn at(&self) -> u64 {
        self.offset.saturating_add(self.done as u64)
    }

    /// Begins the next piece of the read.
    fn next(&mut self, rest: &mut [u8], waker: &Waker) -> Result<More, Error> {
        let (io, file) = (self.io, self.file);
        let whole = io.undamaged(&file.inode, self.at(), rest.len())?;
        let rest = &mut rest[..whole];
        let Some(window) = io.window_for(file).filter(|_| !self.was_cut) else {
            return self.request(rest.len(), waker);
        };
        let inode = &file.inode;
        let end = self.at().saturating_add(rest.len() as u64);
        if !self.sized && is_needed(io, file, end) {
            return self.ask_size(waker);
        }
        let size = inode.size();
        let mappable = window.mappable_end(size);
        let len = usize::try_from(size.saturating_sub(self.at())).unwrap_or(usize::MAX).min(rest.len());
        if size == 0 {
            // Files that the host makes up while they are read say so, whatever they hold.
            return self.request(rest.len(), waker);
        }
        if len == 0 {
            return Ok(More::Never);
        }
        if self.at() >= mappable {
            window.counters.bypass(Reason::Tail);
            return self.request(len, waker);
        }
        let rest = &mut rest[..len];
        let request = read_request(file, self.at(), len, mappable);
        let mut stream = file.stream();
        let begun = match window.hit(&mut stream, &request) {
            Some(range) => Begun::Range(range),
            None => window.begin(&file.id(), &mut stream, &request),
        };
        file.keep_stream(stream);
        match begun {
            Begun::Range(range) => Ok(self.copy(range, rest)),
            Begun::SetUp(set_up) => {
                self.step = Step::SetUp(set_up);
                Ok(More::Now)
            }
            Begun::Bypass(why) => {
                window.counters.bypass(Reason::Window(why));
                self.request(bypass_len(window.range_size(), self.at(), len, mappable), waker)
            }
        }
    }

    /// Copies out of the window, unless the file was cut meanwhile.
    fn copy(&mut self, range: RangeRef, rest: &mut [u8]) -> More {
        let Some(window) = self.io.window() else { return More::Now };
        let inside = usize::try_from(self.file.inode.size().saturating_sub(self.at())).unwrap_or(usize::MAX);
        let len = inside.min(rest.len());
        let count = window.read(&range, 0, &mut rest[..len]);
        window.release(range);
        window.counters.read_bytes.add(count as u64);
        self.done += count;
        if count == 0 { More::Never } else { More::Now }
    }

    fn ask_size(&mut self, waker: &Waker) -> Result<More, Error> {
        let Some(asked) = AskSize::new(self.io, self.file)? else { return Ok(no_room(waker)) };
        self.sized = true;
        self.step = Step::Size(asked);
        Ok(More::Now)
    }

    fn poll_size(&mut self, mut asked: AskSize<'f, R>, waker: &Waker) -> Result<More, Error> {
        match asked.poll(self.io, self.file, waker)? {
            None => {
                self.step = Step::Size(asked);
                Ok(More::Later)
            }
            Some(usable) => {
                self.was_cut = !usable;
                Ok(More::Now)
            }
        }
    }

    fn poll_set_up(&mut self, mut set_up: Box<SetUp<R>>, rest: &mut [u8], waker: &Waker) -> Result<More, Error> {
        let Some(window) = self.io.window() else { return Ok(More::Now) };
        match window.poll_set_up(&mut set_up, Some(waker)) {
            None => {
                self.step = Step::SetUp(set_up);
                Ok(More::Later)
            }
            Some(Some(range)) => Ok(self.copy(range, rest)),
            Some(None) => self.request(rest.len().min(io_size(self.io.rpc())), waker),
        }
    }

    /// Sends a READ of up to `len` bytes.
    fn request(&mut self, len: usize, waker: &Waker) -> Result<More, Error> {
        let rpc = self.io.rpc();
        let len = len.min(io_size(rpc));
        let op = read_op(&self.file.handle, self.at(), len);
        let channel = rpc.connection().pick_channel();
        let Some(in_flight) = rpc.submit(channel, self.file.handle.who, &op, false)? else {
            return Ok(no_room(waker));
        };
        rpc.connection().kick(channel);
        self.step = Step::Request(in_flight, op, len);
        Ok(More::Now)
    }

    fn poll_request(
        &mut self,
        mut in_flight: InFlight<'f, R>,
        op: ops::Read,
        rest: &mut [u8],
        waker: &Waker,
    ) -> Result<More, Error> {
        let rpc = self.io.rpc();
        let wanted = rest.len();
        let answer = rpc.poll_answer(&op, &mut in_flight, Some(waker), rest, |bytes: &[u8]| bytes.len())?;
        let Some(count) = answer else {
            self.step = Step::Request(in_flight, op, wanted);
            return Ok(More::Later);
        };
        rpc.counters.read_bytes.add(count as u64);
        self.done += count;
        Ok(if count < wanted { More::Never } else { More::Now })
    }
}

/// When a transfer goes on.
pub(super) enum More {
    Now,
    Later,
    /// The file has ended.
    Never,
}

/// Nothing can be sent at this moment. Nothing wakes for that, so the transfer is polled again.
pub(super) fn no_room(waker: &Waker) -> More {
    waker.wake_by_ref();
    More::Later
}
