//! Mapping files without blocking: set-ups whose requests are in flight while nobody waits for them.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::task::Waker;

use dax_window::{Access, Bypass, Request, SetupTicket, Stream};

use super::DaxWindow;
use super::pending::{FileId, SetUp};
use super::range_ref::RangeRef;
use crate::{Error, Lock};

/// What becomes of an access that must not block.
pub(crate) enum Begun<R: Lock> {
    Range(RangeRef),
    /// Mappings are being set up.
    SetUp(Box<SetUp<R>>),
    /// The access goes by requests.
    Bypass(Bypass),
}

impl<R: Lock> DaxWindow<R> {
    /// As [`DaxWindow::acquire`], but what would have to be waited for goes by requests, except set-ups: they are begun.
    pub(crate) fn begin(&self, file: &FileId, stream: &mut Stream, request: &Request) -> Begun<R> {
        self.settle_detached();
        self.settle_late();
        if !file.settled {
            return Begun::Bypass(Bypass::Busy);
        }
        match self.with(|window| window.access(stream, request)) {
            Access::Hit(range) => Begun::Range(RangeRef(range)),
            Access::Bypass(why) => Begun::Bypass(why),
            Access::Setup(ticket) => Begun::SetUp(Box::new(self.begin_set_up(*file, ticket))),
            Access::Evict(ticket) => {
                // To remove mappings is to wait for the embedder's page tables.
                self.with(|window| window.abort_remove(ticket, false));
                Begun::Bypass(Bypass::Busy)
            }
            Access::Wait(_) => Begun::Bypass(Bypass::Busy),
        }
    }

    fn begin_set_up(&self, file: FileId, mut ticket: SetupTicket) -> SetUp<R> {
        let entries = self.setup_entries(&ticket);
        let connection = self.rpc.connection();
        let channel = connection.pick_channel();
        let mut in_flight = Vec::with_capacity(entries.len());
        let mut first_error = None;
        for (index, entry) in entries.iter().enumerate() {
            let op = self.mapping(&file, entry).op();
            let sent = self.rpc.submit(channel, file.who, &op, false).transpose().unwrap_or(Err(NO_ROOM));
            let sent = match sent {
                Ok(sent) => Some(sent.into_owned()),
                Err(error) => {
                    self.report_set_up(&mut ticket, index, None, &Err(error.clone()));
                    if index == 0 {
                        first_error = Some(error);
                    }
                    None
                }
            };
            in_flight.push(sent);
        }
        connection.kick(channel);
        SetUp { ticket, file, entries, in_flight, range: None, first_error }
    }

    /// Reports the set-ups that were answered. Returns, once all were, the reference to the wanted bytes; without one, the
    /// access goes by requests.
    pub(crate) fn poll_set_up(&self, set_up: &mut SetUp<R>, waker: Option<&Waker>) -> Option<Option<RangeRef>> {
        let mut pending = false;
        for index in 0..set_up.in_flight.len() {
            let Some(in_flight) = &mut set_up.in_flight[index] else { continue };
            let unique = in_flight.unique();
            let op = self.mapping(&set_up.file, &set_up.entries[index]).op();
            let result = match self.rpc.poll_answer(&op, in_flight, waker, &mut [], drop).transpose() {
                Some(result) => result,
                None => {
                    pending = true;
                    continue;
                }
            };
            let range = self.report_set_up(&mut set_up.ticket, index, Some(unique), &result);
            // Given up only now, if it is: its answer is waited for.
            set_up.in_flight[index] = None;
            set_up.range = set_up.range.take().or(range);
            if let (0, Err(error)) = (index, result) {
                set_up.first_error = Some(error);
            }
        }
        if pending {
            return None;
        }
        if let Some(error) = set_up.first_error.take() {
            // What is wrong with it is the next access's to find out.
            let _ = self.judge_refusal(&set_up.entries[0], error);
        }
        Some(set_up.range.take())
    }

    /// Takes over set-ups that nobody waits for any more: whoever comes next finishes them.
    pub(crate) fn detach(&self, set_up: SetUp<R>) {
        self.detached.lock().push(set_up);
    }

    /// Finishes set-ups that nobody waits for, as far as they were answered.
    pub(crate) fn settle_detached(&self) {
        let mut detached = core::mem::take(&mut *self.detached.lock());
        if detached.is_empty() {
            return;
        }
        detached.retain_mut(|set_up| match self.poll_set_up(set_up, None) {
            None => true,
            Some(range) => {
                range.into_iter().for_each(|range| self.release(range));
                false
            }
        });
        self.detached.lock().append(&mut detached);
    }
}

const NO_ROOM: Error = Error::refused(fuse_proto::Errno::EAGAIN, "no room in the queue");
