//! Mapping files into the window: SETUPMAPPING.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use core::time::Duration;

use dax_window::{Outcome, Request, SetupEntry, SetupTicket, Stream};
use fuse_proto::Errno;

use super::DaxWindow;
use super::pending::{FileId, MAX_ENTRIES};
use super::range_ref::RangeRef;
use crate::DaxStatus;
use crate::nanos::nanos;
use crate::rpc::in_flight::InFlight;
use crate::rpc::mapping::Mapping;
use crate::{Error, Lock};

impl<R: Lock> DaxWindow<R> {
    /// Sends the set-ups of a ticket in one submission and reports each outcome. Returns the reference to the wanted bytes;
    /// `None` if the allocator is to be asked again.
    pub(crate) fn set_up(&self, file: &FileId, ticket: SetupTicket) -> Result<Option<RangeRef>, Error> {
        // Each has its own frame, and this next to none.
        if ticket.len() == 1 { self.set_up_one(file, ticket) } else { self.set_up_several(file, ticket) }
    }

    /// As [`DaxWindow::set_up`], of a ticket with one mapping: most have no more.
    #[inline(never)]
    fn set_up_one(&self, file: &FileId, mut ticket: SetupTicket) -> Result<Option<RangeRef>, Error> {
        let started = self.rpc.now();
        let Some(entry) = self.with(|window| window.setup_entry(&ticket, 0)) else { return Ok(None) };
        let op = self.mapping(file, &entry).op();
        let mut sent = self.rpc.send(file.who, &op);
        let result = match &mut sent {
            Ok(in_flight) => self.rpc.answer(&op, in_flight, &mut [], drop),
            Err(error) => Err(error.clone()),
        };
        let unique = sent.as_ref().ok().map(InFlight::unique);
        let range = self.report_set_up(&mut ticket, 0, unique, &result);
        // Given up only now, if it is: its answer is waited for.
        drop(sent);
        if range.is_some() {
            self.note_setup_cost(started, 1);
        }
        match result {
            Ok(()) => Ok(range),
            Err(error) => self.judge_refusal(&entry, error),
        }
    }

    /// As [`DaxWindow::set_up`], of a ticket with any number of mappings.
    #[inline(never)]
    fn set_up_several(&self, file: &FileId, mut ticket: SetupTicket) -> Result<Option<RangeRef>, Error> {
        let started = self.rpc.now();
        let entries = self.setup_entries(&ticket);
        let connection = self.rpc.connection();
        let channel = connection.pick_channel();
        // On the heap: a round trip costs more, and stacks are small.
        let mut sent = VecDeque::with_capacity(entries.len());
        let mut unsent = entries.iter();
        let mut range = None;
        let mut first_error = None;
        for (index, entry) in entries.iter().enumerate() {
            // As many in flight as there is room for; only the first of them waits for it.
            while let Some(next) = unsent.as_slice().first() {
                let op = self.mapping(file, next).op();
                let submitted = self.rpc.submit(channel, file.who, &op, sent.is_empty());
                let Some(in_flight) = submitted.transpose() else { break };
                sent.push_back(in_flight);
                unsent.next();
            }
            connection.kick(channel);
            // The first was patient: there is one.
            let Some(mut in_flight) = sent.pop_front() else { break };
            let op = self.mapping(file, entry).op();
            let result = match &mut in_flight {
                Ok(in_flight) => self.rpc.answer(&op, in_flight, &mut [], drop),
                Err(error) => Err(error.clone()),
            };
            let unique = in_flight.as_ref().ok().map(InFlight::unique);
            let got = self.report_set_up(&mut ticket, index, unique, &result);
            // Given up only now, if it is: its answer is waited for.
            drop(in_flight);
            range = range.or(got);
            if let (0, Err(error)) = (index, result) {
                first_error = Some(error);
            }
        }
        if range.is_some() {
            self.note_setup_cost(started, entries.len());
        }
        match first_error {
            None => Ok(range),
            Some(error) => self.judge_refusal(&entries[0], error),
        }
    }

    /// Takes note of what so many mappings cost that were set up together.
    fn note_setup_cost(&self, started: Duration, count: usize) {
        let took = self.rpc.now().saturating_sub(started);
        let each = nanos(took) / count.max(1) as u64;
        self.with(|window| window.note_cost(true, each));
    }

    /// The mappings of a ticket, the wanted one first.
    pub(crate) fn setup_entries(&self, ticket: &SetupTicket) -> Vec<SetupEntry> {
        let mut entries = Vec::with_capacity(MAX_ENTRIES);
        self.with(|window| entries.extend(window.setup_entries(ticket)));
        entries
    }

    /// A mapping as the server is asked for it.
    pub(crate) fn mapping(&self, file: &FileId, entry: &SetupEntry) -> Mapping {
        Mapping {
            node: file.node,
            file_offset: entry.file_offset.0,
            len: entry.len,
            window_offset: self.memory.device_offset(entry.window_offset.0),
            writable: entry.writable,
        }
    }

    /// Reports what became of a mapping of a ticket, whose request is number `unique` if it was sent. Returns the reference to it
    /// if it is the wanted one. A request without an answer must not be given up before.
    pub(crate) fn report_set_up(
        &self,
        ticket: &mut SetupTicket,
        index: usize,
        unique: Option<u64>,
        result: &Result<(), Error>,
    ) -> Option<RangeRef> {
        self.counters.setup_mappings.add(1);
        match result {
            Ok(()) => self.proven.store(true, Ordering::Relaxed),
            Err(_) => self.counters.setup_refused.add(1),
        }
        let outcome = match (outcome(result), unique) {
            (Outcome::Lost, Some(unique)) => {
                let late = self.with(|window| window.give_up_setup(ticket, index));
                self.late.keep(unique, late, 1);
                return None;
            }
            // Not sent, so that nothing has changed.
            (Outcome::Lost, None) => Outcome::Refused(Errno::EAGAIN.number()),
            (outcome, _) => outcome,
        };
        self.with(|window| window.report_setup(ticket, index, outcome)).map(RangeRef)
    }

    /// What a refusal of the wanted mapping says about the server, and about the access.
    pub(crate) fn judge_refusal(&self, entry: &SetupEntry, error: Error) -> Result<Option<RangeRef>, Error> {
        log::debug!("virtio-fs: SETUPMAPPING of {:#x} bytes at {:#x}: {error}", entry.len, entry.file_offset.0);
        if error.is_enosys() && !self.proven.load(Ordering::Relaxed) {
            log::warn!("virtio-fs: there is a window, but the server answers SETUPMAPPING with ENOSYS; DAX is off");
            self.turn_off(DaxStatus::ServerCannotMap);
        }
        match error {
            // A refusal is the allocator's to handle: it says Bypass for a while.
            Error::Os(_) => Ok(None),
            error => Err(error),
        }
    }

    /// Maps what the reader will need next, when nobody waits for it.
    pub(crate) fn set_up_ahead(&self, file: &FileId, stream: &mut Stream, request: &Request) {
        let ticket = self.with(|window| window.read_ahead(stream, request));
        if let Some(ticket) = ticket
            && let Err(error) = self.set_up(file, ticket).map(|range| range.map(|range| self.release(range)))
        {
            log::debug!("virtio-fs: mapping ahead: {error}");
        }
    }
}

/// What a request's result means for the range it was about.
pub(crate) fn outcome<T>(result: &Result<T, Error>) -> Outcome {
    match result {
        Ok(_) => Outcome::Done,
        Err(Error::Os(errno)) => Outcome::Refused(errno.number()),
        // The device still has the request and may carry it out at any time.
        Err(Error::TimedOut { .. } | Error::Cancelled | Error::Dead | Error::Unmounted | Error::Queue(_)) => {
            Outcome::Lost
        }
        Err(_) => Outcome::Unknown,
    }
}
