//! Reading and writing through the window: carrying out what the window decides.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

use dax_window::{
    Access, Bypass, Cursor, Events, Frozen, InvalidateKind, Outcome, Purpose, RangeRef, RemoveEntry, RemoveTicket,
    Request, SetupTicket, Step, Stream, Wait, Window,
};
use fs_dax::{FileKey, FileRange, Mappings, MetadataChange, UnmapCause};
use fuse_proto::{Errno, FallocateMode, NodeId};
use lock_api::{Mutex, RawMutex};
use virtio_transport::PAGE_SIZE;

use crate::file::File;
use crate::inode::Inode;
use crate::map::Map;
use crate::shared::Shared;
use crate::stats::{Counters, DaxStatus};
use crate::window_memory::{Span, WindowMemory};
use crate::{Credentials, DaxMode, Error, HoleStores, TailMapping, WindowAccess};

/// The window and what is needed to use it.
pub(crate) struct Dax<R> {
    window: Mutex<R, Window>,
    events: Events,
    pub(crate) memory: WindowMemory,
    /// Whether a set-up has succeeded: only then is it proven that the server maps at all.
    proven: AtomicBool,
    /// Who unmaps pages from page tables; none until the embedder says so.
    owner: Mutex<R, Option<Arc<dyn Mappings + Send + Sync>>>,
}

/// What becomes of a cut, a punch or a removal of bytes that the embedder keeps pinned.
pub(crate) const PINNED: Error = Error::refused(Errno::EBUSY, "pages stayed pinned until the deadline");

/// A reference to bytes in the window, or why there is none.
pub(crate) enum Acquired {
    Range(RangeRef),
    Bypass(Bypass),
}

impl<R: RawMutex> Dax<R> {
    pub(crate) fn new(window: Window, memory: WindowMemory) -> Self {
        let events = window.events();
        Self { window: Mutex::new(window), events, memory, proven: AtomicBool::new(false), owner: Mutex::new(None) }
    }

    /// Runs `decide` on the window, under its lock.
    pub(crate) fn with<T>(&self, decide: impl FnOnce(&mut Window) -> T) -> T {
        decide(&mut self.window.lock())
    }

    pub(crate) fn release(&self, hold: RangeRef) {
        self.window.lock().release(hold);
    }

    pub(crate) fn set_owner(
        &self,
        owner: Option<Arc<dyn Mappings + Send + Sync>>,
    ) -> Option<Arc<dyn Mappings + Send + Sync>> {
        core::mem::replace(&mut self.owner.lock(), owner)
    }

    pub(crate) fn owner(&self) -> Option<Arc<dyn Mappings + Send + Sync>> {
        self.owner.lock().clone()
    }
}

/// What a hold gives access to, at most `len` bytes.
pub(crate) fn span(hold: &RangeRef) -> Span {
    Span { window_offset: hold.window_offset().0, len: usize::try_from(hold.len()).unwrap_or(usize::MAX) }
}

impl<R: RawMutex + Send + Sync + 'static> Shared<R> {
    /// The window, if this file may go through it.
    pub(crate) fn dax_for(&self, inode: &Inode<R>, direct: bool) -> Option<&Dax<R>> {
        let dax = self.dax.as_ref()?;
        let counters = &self.counters;
        if !self.is_dax_active() {
            return None;
        }
        let wanted = match self.config.dax_mode {
            DaxMode::Never => false,
            DaxMode::Always => true,
            DaxMode::Inode => inode.has_dax_attr(),
        };
        if !wanted {
            Counters::add(&counters.bypass_mode, 1);
            return None;
        }
        if direct || !inode.is_regular() {
            Counters::add(&counters.bypass_direct, 1);
            return None;
        }
        Some(dax)
    }

    /// The end of what the host can map of a file of `size` bytes.
    pub(crate) fn mappable_end(&self, size: u64) -> u64 {
        let page = PAGE_SIZE as u64;
        match self.config.tail {
            TailMapping::WholePages => size & !(page - 1),
            TailMapping::PartialPage => size.checked_next_multiple_of(page).unwrap_or(size & !(page - 1)),
        }
    }

    /// Gets a reference to the bytes of `request`, carrying out whatever the window wants done for it.
    pub(crate) fn acquire(
        &self,
        dax: &Dax<R>,
        who: Credentials,
        nodeid: NodeId,
        stream: &mut Stream,
        request: &Request,
    ) -> Result<Acquired, Error> {
        match dax.with(|window| window.hit(stream, request)) {
            Some(hold) => Ok(Acquired::Range(hold)),
            None => self.acquire_absent(dax, who, nodeid, stream, request),
        }
    }

    /// The way of those who don't find their bytes mapped, kept out of the others'.
    #[cold]
    fn acquire_absent(
        &self,
        dax: &Dax<R>,
        who: Credentials,
        nodeid: NodeId,
        stream: &mut Stream,
        request: &Request,
    ) -> Result<Acquired, Error> {
        let deadline = self.now().saturating_add(self.config.window_timeout);
        let mut access = dax.with(|window| window.access(stream, request));
        loop {
            access = match access {
                Access::Hit(hold) => return Ok(Acquired::Range(hold)),
                Access::Bypass(why) => return Ok(Acquired::Bypass(why)),
                Access::Setup(ticket) => match self.set_up(dax, who, nodeid, ticket)? {
                    Some(hold) => return Ok(Acquired::Range(hold)),
                    None => dax.with(|window| window.access(stream, request)),
                },
                Access::Evict(ticket) => {
                    if !self.remove(dax, ticket) && self.now() >= deadline {
                        return self.stayed_busy(request);
                    }
                    dax.with(|window| window.access(stream, request))
                }
                Access::Wait(wait) => {
                    if !self.wait_for(dax, wait, deadline) {
                        return self.stayed_busy(request);
                    }
                    dax.with(|window| window.access(stream, request))
                }
            };
        }
    }

    /// What becomes of an access for which no range was to be had until the deadline.
    fn stayed_busy(&self, request: &Request) -> Result<Acquired, Error> {
        match request.purpose {
            Purpose::Copy => Ok(Acquired::Bypass(Bypass::Busy)),
            _ => Err(Error::refused(Errno::EAGAIN, "the range stayed busy until the deadline")),
        }
    }

    /// Waits until something happened in the window; false at the deadline.
    pub(crate) fn wait_for(&self, dax: &Dax<R>, wait: Wait, deadline: Duration) -> bool {
        Counters::add(&self.counters.window_waits, 1);
        self.connection.platform.wait(deadline, &mut || {
            self.connection.process();
            dax.events.seq() != wait.seq
        })
    }

    /// Sends the set-ups of a ticket in one submission and reports each outcome. Returns the hold on the wanted bytes;
    /// `None` if the window is to be asked again.
    fn set_up(
        &self,
        dax: &Dax<R>,
        who: Credentials,
        nodeid: NodeId,
        mut ticket: SetupTicket,
    ) -> Result<Option<RangeRef>, Error> {
        let started = self.now();
        let entries: heapless::Vec<_, { dax_window::MAX_AHEAD + 1 }> =
            dax.with(|window| window.setup_entries(&ticket).collect());
        let channel = self.connection.pick_channel();
        let mut sent = heapless::Deque::<_, { dax_window::MAX_AHEAD + 1 }>::new();
        let mut unsent = entries.iter();
        let mut hold = None;
        let mut first_error = None;
        for index in 0..entries.len() {
            // As many in flight as there is room for; only the first of them waits for it.
            while let Some(entry) = unsent.as_slice().first() {
                let submitted = self.submit_setup_mapping(channel, who, nodeid, entry, sent.is_empty());
                let Some(pending) = submitted.transpose() else { break };
                // As many as entries at most.
                let _ = sent.push_back(pending);
                unsent.next();
            }
            self.connection.kick(channel);
            // The first was patient: there is one.
            let Some(pending) = sent.pop_front() else { break };
            let result = pending.and_then(|pending| self.finish_setup_mapping(nodeid, &entries[index], pending));
            let outcome = outcome(&result);
            Counters::add(&self.counters.setup_mappings, 1);
            match result {
                Ok(()) => {
                    dax.proven.store(true, Ordering::Relaxed);
                }
                Err(error) => {
                    Counters::add(&self.counters.setup_refused, 1);
                    if index == 0 {
                        first_error = Some(error);
                    }
                }
            }
            let got = dax.with(|window| window.report_setup(&mut ticket, index, outcome));
            hold = hold.or(got);
        }
        if hold.is_some() {
            let took = self.now().saturating_sub(started);
            let each = took.as_nanos() as u64 / entries.len() as u64;
            dax.with(|window| window.note_cost(true, each));
        }
        match first_error {
            None => Ok(hold),
            Some(error) => {
                self.judge_refusal(dax, &entries[0], &error);
                match error {
                    // A refusal is the window's to handle: it says Bypass for a while.
                    Error::Os(_) => Ok(None),
                    error => Err(error),
                }
            }
        }
    }

    /// What a refused set-up says about the server.
    fn judge_refusal(&self, dax: &Dax<R>, entry: &dax_window::SetupEntry, error: &Error) {
        log::debug!("virtio-fs: SETUPMAPPING of {:#x} bytes at {:#x}: {error}", entry.len, entry.file_offset.0);
        if error.is_enosys() && !dax.proven.load(Ordering::Relaxed) {
            log::warn!("virtio-fs: there is a window, but the server answers SETUPMAPPING with ENOSYS; DAX is off");
            self.turn_dax_off(DaxStatus::ServerCannotMap);
        }
    }

    /// Takes the ticket's ranges out of page tables, sends their REMOVEMAPPING and reports how it went. False, and the ranges
    /// are as usable as before, if the embedder has pages of them pinned.
    pub(crate) fn remove(&self, dax: &Dax<R>, ticket: RemoveTicket) -> bool {
        let mut entries = Vec::with_capacity(ticket.len());
        dax.with(|window| {
            let mut cursor = Cursor::default();
            while let Some(entry) = window.remove_entry(&ticket, &mut cursor) {
                entries.push(entry);
            }
        });
        if let Err(errno) = self.unmap_pages(dax, &entries) {
            log::debug!("virtio-fs: {} ranges are not removed, pages of them are pinned: {errno}", entries.len());
            // Not as unmapped: the embedder is to be asked again next time, although no page table has them.
            dax.with(|window| window.abort_remove(ticket, false));
            return false;
        }
        let result = self.op_remove_mapping(&entries);
        Counters::add(&self.counters.remove_requests, 1);
        Counters::add(&self.counters.removed_mappings, entries.len() as u64);
        if let Err(error) = &result {
            log::warn!("virtio-fs: REMOVEMAPPING of {} ranges: {error}", entries.len());
        }
        // One range is all or nothing; of several, some may be gone when the server says no.
        let outcome = match outcome(&result) {
            Outcome::Refused(_) if entries.len() > 1 => Outcome::Unknown,
            outcome => outcome,
        };
        dax.with(|window| window.complete_remove(ticket, outcome));
        true
    }

    /// Takes ranges out of page tables, and waits until the embedder has none of their pages pinned.
    fn unmap_pages(&self, dax: &Dax<R>, entries: &[RemoveEntry]) -> Result<(), fs_dax::Errno> {
        if !entries.iter().any(|entry| entry.installed) {
            return Ok(());
        }
        let Some(owner) = dax.owner() else { return Ok(()) };
        let installed = || {
            entries.iter().filter(|entry| entry.installed).map(|entry| {
                let end = entry.file_offset.0.saturating_add(entry.len);
                (entry.file, FileRange::between(entry.file_offset.0, end))
            })
        };
        for (file, range) in installed() {
            owner.unmap(file, range, UnmapCause::Reclaim);
        }
        installed().try_for_each(|(file, range)| owner.wait_for_pins(file, range))
    }

    /// Sets up what the reader will need next, when nobody waits for it.
    fn set_up_ahead(&self, dax: &Dax<R>, file: &File<R>, stream: &mut Stream, request: &Request) {
        let ticket = dax.with(|window| window.read_ahead(stream, request));
        if let Some(ticket) = ticket
            && let Err(error) = self.set_up(dax, file.who, file.inode.nodeid, ticket)
        {
            log::debug!("virtio-fs: mapping ahead: {error}");
        }
    }

    /// See [`File::read_at`].
    pub(crate) fn read_file(&self, file: &File<R>, buffer: &mut [u8], offset: u64) -> Result<usize, Error> {
        let inode = &file.inode;
        self.check_alive(inode)?;
        let Some(dax) = self.dax_for(inode, file.direct) else {
            return self.read_by_requests(file, buffer, offset);
        };
        self.refresh_attr_sometimes(file.who, inode, file.fh)?;
        let wanted_end = offset.saturating_add(buffer.len() as u64);
        if wanted_end > inode.size() {
            // The host may have let the file grow.
            self.attr(file.who, inode, file.fh)?;
        }
        let size = inode.size();
        let end = wanted_end.min(size);
        if end <= offset {
            return Ok(0);
        }
        let (mut end, mut mappable) = (end, self.mappable_end(size));
        let mut stream = file.stream();
        let mut at = offset;
        while at < end {
            let rest = &mut buffer[(at - offset) as usize..(end - offset) as usize];
            let request =
                Request::read(inode.key, at, rest.len() as u64, mappable).writable(file.options.is_writable());
            let count = if at >= mappable {
                Counters::add(&self.counters.bypass_tail, 1);
                self.read_by_requests(file, rest, at)?
            } else {
                match self.acquire(dax, file.who, inode.nodeid, &mut stream, &request)? {
                    Acquired::Range(hold) => {
                        // The file may have been cut while the range was waited for; while it is held it cannot be. Read
                        // once: the next look may find a longer file than the buffer is.
                        let size = inode.size();
                        if size < end {
                            dax.release(hold);
                            end = size;
                            mappable = self.mappable_end(end);
                            continue;
                        }
                        let count = dax.memory.read(&*self.connection.platform, span(&hold), rest);
                        let ahead = hold.wants_read_ahead();
                        dax.release(hold);
                        Counters::add(&self.counters.dax_read_bytes, count as u64);
                        if ahead {
                            self.set_up_ahead(dax, file, &mut stream, &request);
                        }
                        count
                    }
                    Acquired::Bypass(why) => {
                        self.counters.around(why);
                        let len = self.bypass_len(at, rest.len(), mappable);
                        let rest = &mut rest[..len];
                        self.measured(dax, why, || self.read_by_requests(file, rest, at))?
                    }
                }
            };
            if count == 0 {
                // The host cut the file meanwhile.
                inode.expire_attr();
                break;
            }
            at += count as u64;
        }
        file.keep_stream(stream);
        Ok((at - offset) as usize)
    }

    /// See [`File::write_at`].
    pub(crate) fn write_file(&self, file: &File<R>, buffer: &[u8], offset: u64) -> Result<usize, Error> {
        let inode = &file.inode;
        self.check_alive(inode)?;
        if buffer.is_empty() {
            return Ok(0);
        }
        let end = offset
            .checked_add(buffer.len() as u64)
            .filter(|&end| i64::try_from(end).is_ok())
            .ok_or(Error::refused(Errno::EFBIG, "a write past the largest offset"))?;
        if file.options.is_append() {
            return self.append_by_requests(file, buffer);
        }
        let Some(dax) = self.dax_for(inode, file.direct) else {
            return self.write_by_requests(file, buffer, offset);
        };
        self.refresh_attr_sometimes(file.who, inode, file.fh)?;
        let size = inode.size();
        if end > size {
            // The size can only change on the host, and a write is one: it goes there whole.
            Counters::add(&self.counters.bypass_extending, 1);
            return self.write_by_requests(file, buffer, offset);
        }
        if self.needs_prealloc(inode) {
            Counters::add(&self.counters.bypass_holes, 1);
            return self.write_by_requests(file, buffer, offset);
        }
        let mappable = self.mappable_end(size);
        let mut stream = file.stream();
        let mut at = offset;
        while at < end {
            let rest = &buffer[(at - offset) as usize..];
            let request = Request::write(inode.key, at, rest.len() as u64, mappable);
            let count = if at >= mappable {
                Counters::add(&self.counters.bypass_tail, 1);
                self.write_by_requests(file, rest, at)?
            } else {
                match self.acquire(dax, file.who, inode.nodeid, &mut stream, &request)? {
                    // As above: what was inside the file is past its end now, or in a hole.
                    Acquired::Range(hold) if inode.size() < end || self.needs_prealloc(inode) => {
                        dax.release(hold);
                        self.write_by_requests(file, rest, at)?
                    }
                    Acquired::Range(hold) => {
                        let count = dax.memory.write(&*self.connection.platform, rest, span(&hold));
                        dax.release(hold);
                        Counters::add(&self.counters.dax_write_bytes, count as u64);
                        count
                    }
                    Acquired::Bypass(why) => {
                        self.counters.around(why);
                        let len = self.bypass_len(at, rest.len(), mappable);
                        self.measured(dax, why, || self.write_by_requests(file, &rest[..len], at))?
                    }
                }
            };
            if count == 0 {
                break;
            }
            at += count as u64;
        }
        file.keep_stream(stream);
        Ok((at - offset) as usize)
    }

    /// Tells the guard what the requests cost that it asks for, so that it weighs them against what remapping costs here.
    fn measured<T>(&self, dax: &Dax<R>, why: Bypass, requests: impl FnOnce() -> T) -> T {
        if why != Bypass::Guard {
            return requests();
        }
        let started = self.now();
        let result = requests();
        let took = self.now().saturating_sub(started);
        dax.with(|window| window.note_cost(false, took.as_nanos() as u64));
        result
    }

    /// How much of an access goes round the window at once: to the end of the range, so that the next range is asked for
    /// again.
    fn bypass_len(&self, at: u64, len: usize, mappable: u64) -> usize {
        let range_end = (at | (self.config.range_size - 1)) + 1;
        let end = if range_end >= mappable { u64::MAX } else { range_end };
        usize::try_from(end - at).unwrap_or(usize::MAX).min(len)
    }

    /// See [`File::map`].
    pub(crate) fn map_file(self: &Arc<Self>, file: &File<R>, offset: u64, len: usize) -> Result<Map<R>, Error> {
        let inode = &file.inode;
        self.check_alive(inode)?;
        let dax = self
            .dax_for(inode, file.direct)
            .filter(|dax| dax.memory.access() == WindowAccess::LoadsAndStores)
            .ok_or(Error::refused(Errno::EOPNOTSUPP, "the file cannot be mapped"))?;
        self.refresh_attr_sometimes(file.who, inode, file.fh)?;
        let writable = file.options.is_writable();
        loop {
            let size = inode.size();
            let mappable = self.mappable_end(size);
            // A page may be mapped whole, but what is past the end of the file is no part of it.
            let len = (len as u64).min(mappable.min(size).saturating_sub(offset));
            if len == 0 {
                return Err(Error::refused(Errno::ENXIO, "past the last byte that the host can map"));
            }
            let request = if writable {
                Request::write(inode.key, offset, len, mappable)
            } else {
                Request::read(inode.key, offset, len, mappable)
            }
            .purpose(Purpose::Map);
            let mut stream = file.stream();
            let got = self.acquire(dax, file.who, inode.nodeid, &mut stream, &request)?;
            file.keep_stream(stream);
            match got {
                // The file was cut while the range was waited for; while it is held it cannot be.
                Acquired::Range(hold) if inode.size() < size => dax.release(hold),
                Acquired::Range(hold) if writable && self.needs_prealloc(inode) => {
                    if let Err(error) = self.preallocate(file, offset, hold.len()) {
                        dax.release(hold);
                        return Err(error);
                    }
                    return Ok(Map::new(self.clone(), inode.clone(), hold, writable));
                }
                Acquired::Range(hold) => return Ok(Map::new(self.clone(), inode.clone(), hold, writable)),
                Acquired::Bypass(why) => {
                    self.counters.around(why);
                    return Err(match why {
                        Bypass::Refused => Error::refused(Errno::EOPNOTSUPP, "the host refused to map the file"),
                        Bypass::NotMappable => Error::refused(Errno::ENXIO, "past the last byte that the host can map"),
                        _ => Error::refused(Errno::EAGAIN, "no range of the window is free"),
                    });
                }
            }
        }
    }

    /// Whether stores into the file have to ask the host for room first.
    pub(crate) fn needs_prealloc(&self, inode: &Inode<R>) -> bool {
        self.config.holes == HoleStores::AskHost && inode.has_holes()
    }

    /// Has the host set room aside for stores into these bytes, which are inside the file.
    pub(crate) fn preallocate(&self, file: &File<R>, offset: u64, len: u64) -> Result<(), Error> {
        let inode = &file.inode;
        let _change = inode.epoch.change(MetadataChange::Allocate);
        let page = PAGE_SIZE as u64;
        let start = offset & !(page - 1);
        let end = offset.saturating_add(len).next_multiple_of(page).min(inode.size());
        let len = end.saturating_sub(start).max(1);
        let fh = file.fh.unwrap_or_default();
        self.op_fallocate(file.who, inode.nodeid, fh, FallocateMode::KEEP_SIZE, start, len)?;
        inode.expire_attr();
        Ok(())
    }

    /// Freezes a byte range of a file, takes it out of page tables, waits until nobody holds its ranges, and removes their
    /// mappings (unless `kind` leaves them). New accesses wait until [`Shared::thaw`].
    pub(crate) fn freeze(
        &self,
        inode: FileKey,
        range: FileRange,
        kind: InvalidateKind,
        cause: UnmapCause,
    ) -> Result<Option<Frozen>, Error> {
        let Some(dax) = &self.dax else { return Ok(None) };
        let deadline = self.now().saturating_add(self.config.window_timeout);
        let frozen = loop {
            match dax.with(|window| window.begin_invalidate(inode, range, kind)) {
                Ok(frozen) => break frozen,
                Err(wait) if self.wait_for(dax, wait, deadline) => {}
                Err(_) => return Err(Error::refused(Errno::EBUSY, "the bytes stayed in use until the deadline")),
            }
        };
        // Reclaimed ranges are unmapped one by one, those that are in page tables; a change of the file concerns private
        // copies too, which the window knows nothing of.
        if cause != UnmapCause::Reclaim
            && let Some(owner) = dax.owner()
        {
            // Private copies only go with the bytes: nothing brings them back if this comes to nothing.
            let cause = if cause.takes_private_copies() { UnmapCause::Punch } else { cause };
            owner.unmap(inode, range, cause);
            owner.wait_for_pins(inode, range).map_err(|_| PINNED)?;
        }
        loop {
            match dax.with(|window| window.invalidate_step(&frozen)) {
                Step::Clear => return Ok(Some(frozen)),
                Step::Remove(ticket) => {
                    if !self.remove(dax, ticket) {
                        return Err(PINNED);
                    }
                }
                Step::Wait(wait) => {
                    if !self.wait_for(dax, wait, deadline) {
                        return Err(Error::refused(Errno::EBUSY, "the bytes stayed in use until the deadline"));
                    }
                }
            }
        }
    }

    /// Takes programs' private copies of bytes away that the file has no more.
    pub(crate) fn take_copies(&self, inode: FileKey, range: FileRange) {
        if let Some(owner) = self.dax.as_ref().and_then(Dax::owner) {
            owner.unmap(inode, range, UnmapCause::Truncate);
        }
    }

    /// Lets new accesses in again.
    pub(crate) fn thaw(&self, frozen: Option<Frozen>) {
        if let (Some(dax), Some(frozen)) = (&self.dax, frozen) {
            dax.with(|window| window.end_invalidate(frozen));
        }
    }

    /// Removes the mappings past `size` of a file that the host cut.
    pub(crate) fn cut_mappings(&self, inode: &Inode<R>, size: u64) {
        let cut = FileRange::from(size);
        match self.freeze(inode.key, cut, InvalidateKind::Remove, UnmapCause::Truncate) {
            Ok(frozen) => {
                self.take_copies(inode.key, cut);
                self.thaw(frozen);
            }
            Err(error) => log::warn!("virtio-fs: mappings past the new end of a file remain: {error}"),
        }
    }

    /// Removes all mappings of a file that nobody holds any more.
    pub(crate) fn drop_mappings(&self, inode: &Inode<R>) {
        match self.freeze(inode.key, FileRange::ALL, InvalidateKind::Remove, UnmapCause::Reclaim) {
            Ok(frozen) => self.thaw(frozen),
            Err(error) => log::warn!("virtio-fs: mappings of a file that is gone remain: {error}"),
        }
    }

    /// One step of background reclaim: removes a batch of ranges that are not in use, if fewer are free than a busy
    /// moment needs. Returns whether there was something to do.
    pub(crate) fn reclaim_step(&self) -> Result<bool, Error> {
        let Some(dax) = &self.dax else { return Ok(false) };
        let Some(ticket) = dax.with(Window::reclaim_step) else { return Ok(false) };
        Ok(self.remove(dax, ticket))
    }
}

/// What a request's result means for the range it was about.
fn outcome<T>(result: &Result<T, Error>) -> Outcome {
    match result {
        Ok(_) => Outcome::Done,
        Err(Error::Os(errno)) => Outcome::Refused(errno.number()),
        // The device still has the request and may carry it out at any time.
        Err(Error::TimedOut { .. } | Error::Dead | Error::Queue(_)) => Outcome::Lost,
        Err(_) => Outcome::Unknown,
    }
}
