//! Writing without blocking.

use alloc::boxed::Box;
use core::task::Waker;

use dax_window::Request;
use fs_dax::{ChangeGuard, MetadataChange};

use super::ask_room::{AskRoom, Asking};
use super::ask_size::{AskSize, is_needed};
use super::clear_set_id::ClearSetId;
use super::open_file::OpenFile;
use super::read_async::{More, no_room};
use super::write::write_end;
use super::{FileIo, bypass_len};
use crate::rpc::data::{io_size, write_op, written};
use crate::rpc::in_flight::InFlight;
use crate::window::background::Begun;
use crate::window::counters::Reason;
use crate::window::pending::SetUp;
use crate::window::range_ref::RangeRef;
use crate::{Error, Lock};

/// A write under way. It goes on each time it is polled.
pub(crate) struct Write<'f, R: Lock> {
    io: &'f FileIo<R>,
    file: &'f OpenFile<R>,
    offset: u64,
    /// Bytes written so far.
    done: usize,
    /// Whether the bits are gone by which programs run as the file's owner.
    cleared: bool,
    /// Whether the size was asked for.
    sized: bool,
    /// The host has cut the file: the rest goes by requests.
    was_cut: bool,
    /// How many bytes come before a damaged page of which they are only a part.
    most: usize,
    /// It takes the place of damaged pages, and goes by requests.
    replaces: bool,
    step: Step<'f, R>,
}

/// What a write waits for.
enum Step<'f, R: Lock> {
    /// Nothing: it goes on at once.
    Next,
    /// The bits to go by which programs run as the file's owner.
    SetId(ClearSetId<'f, R>),
    /// The file's size.
    Size(AskSize<'f, R>),
    /// The file's first hole.
    Room(AskRoom<'f, R>),
    /// The wanted bytes are being mapped.
    SetUp(Box<SetUp<R>>),
    /// So many bytes by a WRITE.
    Request(InFlight<'f, R>, Noted<'f, R>, usize),
}

/// A WRITE that is under way, for the inode: it ends when this is dropped, whether its answer was seen or not.
struct Noted<'f, R: Lock> {
    file: &'f OpenFile<R>,
    offset: u64,
    /// [`Inode::truncate_seq`](crate::volume::inode::Inode::truncate_seq) before it.
    cuts: u64,
    _change: ChangeGuard<'f>,
}

impl<'f, R: Lock> Noted<'f, R> {
    fn new(file: &'f OpenFile<R>, offset: u64, len: usize) -> Self {
        let inode = &file.inode;
        let cuts = inode.truncate_seq();
        inode.note_change();
        let extends = offset.saturating_add(len as u64) > inode.size();
        // Inside the file the host may find a block for a hole, or convert one that was only allocated.
        let change = if extends { MetadataChange::ExtendingWrite } else { MetadataChange::Allocate };
        let change = inode.epoch.change(change);
        Self { file, offset, cuts, _change: change }
    }

    fn wrote(&self, count: usize) {
        self.file.inode.grow_to(self.offset, self.offset.saturating_add(count as u64), self.cuts);
    }
}

impl<R: Lock> Drop for Noted<'_, R> {
    fn drop(&mut self) {
        self.file.inode.note_change();
        self.file.inode.expire_attr();
    }
}

impl<R: Lock> Drop for Write<'_, R> {
    fn drop(&mut self) {
        if let (Step::SetUp(set_up), Some(window)) = (core::mem::replace(&mut self.step, Step::Next), self.io.window())
        {
            window.detach(*set_up);
        }
    }
}

impl<'f, R: Lock> Write<'f, R> {
    /// A write of bytes at `offset`, or at the end of a file that is open for appending, which begins when it is polled.
    pub(crate) fn new(io: &'f FileIo<R>, file: &'f OpenFile<R>, offset: u64) -> Self {
        let (most, replaces, step) = (usize::MAX, false, Step::Next);
        Self { io, file, offset, done: 0, cleared: false, sized: false, was_cut: false, most, replaces, step }
    }

    /// Goes on as far as that is possible without waiting. Returns how many bytes were written once all were, or the server
    /// took fewer; `None`: not yet, and `waker` is woken when there is something to do. An error after the first bytes is
    /// returned as the number of those.
    pub(crate) fn poll(&mut self, buffer: &[u8], waker: &Waker) -> Result<Option<usize>, Error> {
        let result = match self.go_on(buffer, waker) {
            Err(_) if self.done > 0 => Ok(Some(self.done)),
            result => result,
        };
        if self.replaces && matches!(result, Ok(Some(_))) {
            self.file.inode.note_overwritten(self.offset, self.at());
        }
        result
    }

    fn go_on(&mut self, buffer: &[u8], waker: &Waker) -> Result<Option<usize>, Error> {
        self.io.volume.check_mounted()?;
        self.io.volume.check_alive(&self.file.inode)?;
        write_end(buffer.len(), self.offset)?;
        while self.done < buffer.len().min(self.most) {
            let rest = &buffer[self.done..];
            let more = match core::mem::replace(&mut self.step, Step::Next) {
                Step::Next => self.next(rest, waker)?,
                Step::SetId(clearing) => self.poll_set_id(clearing, waker)?,
                Step::Size(asked) => self.poll_size(asked, waker)?,
                Step::Room(asked) => match asked.poll(self.io, self.file, waker)? {
                    None => More::Now,
                    Some(asked) => {
                        self.step = Step::Room(asked);
                        More::Later
                    }
                },
                Step::SetUp(set_up) => self.poll_set_up(set_up, rest, waker)?,
                Step::Request(in_flight, noted, len) => self.poll_request(in_flight, noted, &rest[..len], waker)?,
            };
            match more {
                More::Now => {}
                More::Later => return Ok(None),
                More::Never => break,
            }
        }
        Ok(Some(self.done))
    }

    fn at(&self) -> u64 {
        self.offset.saturating_add(self.done as u64)
    }

    /// Begins the next piece of the write.
    fn next(&mut self, rest: &[u8], waker: &Waker) -> Result<More, Error> {
        let (io, file) = (self.io, self.file);
        if !self.cleared {
            return self.clear_set_id(waker);
        }
        if !self.replaces {
            let at = if file.options.is_append() { file.inode.size() } else { self.at() };
            let (whole, replaces) = io.past_damage(&file.inode, at, rest.len())?;
            (self.most, self.replaces) = (self.done + whole, replaces);
        }
        let rest = &rest[..rest.len().min(self.most - self.done)];
        // What is to be durable when it is written goes by WRITE, which the server makes so.
        if file.options.is_append() || file.options.is_dsync() {
            return self.request(rest, waker);
        }
        let Some(window) = io.window_for(file).filter(|_| !self.was_cut) else { return self.request(rest, waker) };
        // A write past the end goes to the host anyway.
        if !self.sized && is_needed(io, file, 0) {
            return self.ask_size(waker);
        }
        let size = file.inode.size();
        let mappable = window.mappable_end(size);
        let end = self.at().saturating_add(rest.len() as u64);
        let why = match io.cannot_store(file, end, size) {
            _ if self.replaces => Some(Reason::Damaged),
            None if self.at() >= mappable => Some(Reason::Tail),
            None if io.may_lack_room(&file.inode, end) => {
                if io.may_look(file) {
                    return self.ask_room(waker);
                }
                Some(Reason::Holes)
            }
            why => why,
        };
        if let Some(why) = why {
            window.counters.bypass(why);
            return self.request(rest, waker);
        }
        let request = Request::write(file.inode.key, self.at(), rest.len() as u64, mappable);
        let mut stream = file.stream();
        let begun = match window.hit(&mut stream, &request) {
            Some(range) => Begun::Range(range),
            None => window.begin(&file.id(), &mut stream, &request),
        };
        file.keep_stream(stream);
        match begun {
            Begun::Range(range) => self.copy(range, rest, waker),
            Begun::SetUp(set_up) => {
                self.step = Step::SetUp(set_up);
                Ok(More::Now)
            }
            Begun::Bypass(why) => {
                window.counters.bypass(Reason::Window(why));
                self.request(&rest[..bypass_len(window.range_size(), self.at(), rest.len(), mappable)], waker)
            }
        }
    }

    /// Copies into the window, unless the file was cut meanwhile or has holes now.
    fn copy(&mut self, range: RangeRef, rest: &[u8], waker: &Waker) -> Result<More, Error> {
        let Some(window) = self.io.window() else { return Ok(More::Now) };
        let inode = &self.file.inode;
        if inode.size() < self.at().saturating_add(rest.len() as u64)
            || self.io.may_lack_room(inode, self.at() + rest.len() as u64)
        {
            window.release(range);
            return self.request(rest, waker);
        }
        let count = window.write(&range, 0, rest);
        window.release(range);
        inode.note_stores();
        window.counters.write_bytes.add(count as u64);
        self.done += count;
        Ok(More::Now)
    }

    fn kills_set_id(&self) -> bool {
        self.io.volume.kills_set_id(self.file.handle.who, &self.file.inode)
    }

    fn clear_set_id(&mut self, waker: &Waker) -> Result<More, Error> {
        if let Some(changes) = self.io.volume.set_id_to_clear(self.file.handle.who, &self.file.inode) {
            let Some(clearing) = ClearSetId::new(self.io, self.file, changes)? else { return Ok(no_room(waker)) };
            self.step = Step::SetId(clearing);
        }
        self.cleared = true;
        Ok(More::Now)
    }

    fn poll_set_id(&mut self, mut clearing: ClearSetId<'f, R>, waker: &Waker) -> Result<More, Error> {
        if clearing.poll(self.io, self.file, waker)? {
            return Ok(More::Now);
        }
        self.step = Step::SetId(clearing);
        Ok(More::Later)
    }

    fn ask_room(&mut self, waker: &Waker) -> Result<More, Error> {
        match AskRoom::begin(self.io, self.file)? {
            Asking::Asked(asked) => self.step = Step::Room(asked),
            Asking::Known => {}
            Asking::NoRoom => return Ok(no_room(waker)),
        }
        Ok(More::Now)
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

    fn poll_set_up(&mut self, mut set_up: Box<SetUp<R>>, rest: &[u8], waker: &Waker) -> Result<More, Error> {
        let Some(window) = self.io.window() else { return Ok(More::Now) };
        match window.poll_set_up(&mut set_up, Some(waker)) {
            None => {
                self.step = Step::SetUp(set_up);
                Ok(More::Later)
            }
            Some(Some(range)) => self.copy(range, rest, waker),
            Some(None) => self.request(rest, waker),
        }
    }

    /// Sends a WRITE of the first bytes of `rest`.
    fn request(&mut self, rest: &[u8], waker: &Waker) -> Result<More, Error> {
        let rpc = self.io.rpc();
        let data = &rest[..rest.len().min(io_size(rpc))];
        let handle = &self.file.handle;
        // The host appends by itself; the offset matters only to what is remembered here until the attributes are fetched.
        let offset = if self.file.options.is_append() { self.file.inode.size() } else { self.at() };
        let noted = Noted::new(self.file, offset, data.len());
        let channel = rpc.connection().pick_channel();
        let op = write_op(handle, offset, data, self.kills_set_id());
        let Some(in_flight) = rpc.submit(channel, handle.who, &op, false)? else {
            return Ok(no_room(waker));
        };
        rpc.connection().kick(channel);
        self.step = Step::Request(in_flight, noted, data.len());
        Ok(More::Now)
    }

    fn poll_request(
        &mut self,
        mut in_flight: InFlight<'f, R>,
        noted: Noted<'f, R>,
        data: &[u8],
        waker: &Waker,
    ) -> Result<More, Error> {
        let rpc = self.io.rpc();
        let op = write_op(&self.file.handle, noted.offset, data, self.kills_set_id());
        let answer = rpc.poll_answer(&op, &mut in_flight, Some(waker), &mut [], |written| written.size as usize)?;
        let Some(size) = answer else {
            self.step = Step::Request(in_flight, noted, data.len());
            return Ok(More::Later);
        };
        let count = written(size, data.len())?;
        noted.wrote(count);
        self.io.volume.inodes.note_changed(&self.file.inode);
        rpc.counters.write_bytes.add(count as u64);
        self.done += count;
        Ok(if count < data.len() { More::Never } else { More::Now })
    }
}
