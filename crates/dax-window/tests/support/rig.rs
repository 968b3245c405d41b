//! A reference model: a host that does what is asked of it, or fails, and naive books of who uses what.
//!
//! The rig plays every party: many callers, the embedder with its page tables, and the host. After each step it compares
//! what the window says with what the books say. Nothing here shares a line of logic with the window: a range is a cell
//! of a vector, a look-up is a search through it.

use std::collections::BTreeSet;
use std::vec;
use std::vec::Vec;

use dax_window::{
    Access, Bypass, Config, Cursor, FileKey, FileRange, Frozen, Hits, HostRules, Intent, InvalidateKind, Late, Outcome,
    Overlap, Pin, Purpose, RangeRef, RemoveEntry, RemoveTicket, Request, Run, SetupEntry, SetupKind, SetupTicket, Step,
    Stream, Upgrade, Use, Wait, WaitReason, Window, Writeback, WritebackTicket,
};

pub(crate) const RANGE: u64 = 2 << 20;
pub(crate) const PAGE_SIZE: u64 = 4096;

/// What the host has at a place of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct HostMap {
    pub(crate) file: u64,
    pub(crate) chunk: u64,
    pub(crate) len: u64,
    pub(crate) writable: bool,
}

/// What the host has in one range of the window, page by page: where each mapping still is, from and to, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct HostRange(Vec<(u64, u64, HostMap)>);

impl HostRange {
    /// Maps from the start of the range on. Of what is there, the rest stays.
    fn map(&mut self, map: HostMap) {
        self.unmap(map.len);
        self.0.insert(0, (0, map.len, map));
    }

    /// Unmaps from the start of the range to `len`.
    fn unmap(&mut self, len: u64) {
        self.0.retain(|(_, end, _)| *end > len);
        for (start, ..) in &mut self.0 {
            *start = len.max(*start);
        }
    }

    /// How far there is something mapped.
    fn reach(&self) -> u64 {
        self.0.last().map_or(0, |(_, end, _)| *end)
    }

    /// The mapping at the start of the range.
    fn first(&self) -> Option<HostMap> {
        self.0.first().filter(|(start, ..)| *start == 0).map(|(.., map)| *map)
    }
}

/// What the books say of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Book {
    Free,
    SettingUp,
    Mapped,
    Upgrading,
    Removing,
    /// Neither free nor used: the window must have it removed by itself before it is used again.
    Doubtful,
    Retired,
}

#[derive(Clone, Debug, Hash)]
pub(crate) struct Cell {
    pub(crate) book: Book,
    /// What it is for, or was last for.
    pub(crate) map: HostMap,
    pub(crate) dirty: bool,
    pub(crate) installed: bool,
    pub(crate) written_back: bool,
    /// Nobody else may come in here before this one is cleaned up: it still has page-table entries or stores.
    pub(crate) closed: bool,
    /// A request may still be executed at any time: only this file's bytes may ever be here.
    pub(crate) poisoned: bool,
    /// That request's answer came while the range was being removed.
    pub(crate) answered: bool,
    /// Several requests were under way at once, so that no answer says what the host has here.
    pub(crate) mixed: bool,
    /// Newcomers get another range.
    pub(crate) aside: bool,
    /// The embedder has pages of it pinned, said the last attempt at its removal.
    pub(crate) pinned: bool,
    /// The host may have made the mapping longer.
    pub(crate) longer: bool,
}

#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) hold: RangeRef,
    pub(crate) write: bool,
    pub(crate) owner: usize,
}

/// A use without the lock.
#[derive(Debug)]
pub(crate) struct Used {
    pub(crate) it: Use,
    pub(crate) range: usize,
    /// The file, and the chunk of it.
    pub(crate) chunk: (u64, u64),
    pub(crate) write: bool,
    pub(crate) owner: usize,
}

/// What a party got, and who.
#[derive(Debug)]
pub(crate) struct Out<T> {
    pub(crate) it: T,
    pub(crate) owner: usize,
}

#[derive(Debug)]
pub(crate) struct SetupOut {
    pub(crate) ticket: SetupTicket,
    /// The request that the first entry is for.
    pub(crate) req: Option<Request>,
    pub(crate) owner: usize,
}

/// A request that was given up and may still be answered.
#[derive(Debug)]
pub(crate) struct LateOut {
    late: Late,
    /// Its ranges, whether the host has carried it out there, and for how many bytes.
    ranges: Vec<(usize, bool, u64)>,
    /// What it maps, unless it is a removal.
    map: Option<HostMap>,
    upgrade: bool,
    /// Whether the mapping that is to be widened may have been longer before.
    longer: bool,
}

#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) window: Window,
    pub(crate) hits: Hits,
    pub(crate) uses: Vec<Used>,
    pub(crate) rules: HostRules,
    pub(crate) host: Vec<HostRange>,
    pub(crate) cells: Vec<Cell>,
    pub(crate) streams: Vec<Stream>,
    pub(crate) holds: Vec<Held>,
    pub(crate) pins: Vec<(Pin, bool)>,
    pub(crate) setups: Vec<SetupOut>,
    pub(crate) removes: Vec<Out<RemoveTicket>>,
    pub(crate) writebacks: Vec<Out<WritebackTicket>>,
    pub(crate) frozen: Vec<Out<(Frozen, InvalidateKind)>>,
    /// Of each of those: whether the window said that nobody is in there any more.
    pub(crate) cleared: Vec<bool>,
    pub(crate) waits: Vec<Wait>,
    /// Who acts now.
    pub(crate) actor: usize,
    pub(crate) draining: bool,
    /// Whether requests that are given up are kept until their answers come, or are lost for good.
    pub(crate) patient: bool,
    /// Whether an invalidation passes by references that are for other bytes.
    pub(crate) passes: bool,
    pub(crate) late: Vec<LateOut>,
    /// Set-ups sent and removals done for each range: never more removals than set-ups.
    pub(crate) sent: Vec<(u64, u64)>,
}

const NOTHING: HostMap = HostMap { file: 0, chunk: 0, len: 0, writable: false };

impl Rig {
    pub(crate) fn new(config: Config, callers: usize) -> Self {
        let window = Window::on_heap(config).unwrap();
        let n = window.ranges() as usize;
        let cell = Cell {
            book: Book::Free,
            map: NOTHING,
            dirty: false,
            installed: false,
            written_back: false,
            closed: false,
            poisoned: false,
            answered: false,
            mixed: false,
            aside: false,
            pinned: false,
            longer: false,
        };
        Self {
            rules: config.host,
            hits: window.hits(),
            uses: Vec::new(),
            cleared: Vec::new(),
            window,
            host: vec![HostRange::default(); n],
            cells: vec![cell; n],
            streams: vec![Stream::new(); callers],
            holds: Vec::new(),
            pins: Vec::new(),
            setups: Vec::new(),
            removes: Vec::new(),
            writebacks: Vec::new(),
            frozen: Vec::new(),
            waits: Vec::new(),
            actor: 0,
            draining: false,
            patient: false,
            passes: false,
            late: Vec::new(),
            sent: vec![(0, 0); n],
        }
    }

    fn replaces(&self) -> bool {
        self.rules.overlap == Overlap::Replace
    }

    fn find(&self, file: u64, chunk: u64) -> Option<usize> {
        let mut found = None;
        for (i, cell) in self.cells.iter().enumerate() {
            let present = matches!(cell.book, Book::SettingUp | Book::Mapped | Book::Upgrading)
                || (matches!(cell.book, Book::Removing | Book::Doubtful) && cell.closed);
            if present && !cell.aside && cell.map.file == file && cell.map.chunk == chunk {
                assert_eq!(found, None, "two ranges for one chunk");
                found = Some(i);
            }
        }
        found
    }

    fn refs(&self, i: usize) -> usize {
        let held = self.holds.iter().filter(|held| held.hold.range().get() as usize == i).count();
        let held = held + self.uses.iter().filter(|used| used.range == i).count();
        held + self.pins.iter().filter(|(pin, _)| pin.hold().range().get() as usize == i).count()
    }

    /// References to a range that are for none of these bytes.
    fn elsewhere(&self, i: usize, range: FileRange) -> u32 {
        let held = self.holds.iter().map(|held| &held.hold).chain(self.pins.iter().map(|(pin, _)| pin.hold()));
        let apart = |hold: &&RangeRef| {
            let start = hold.file_offset().0;
            hold.range().get() as usize == i && (start + hold.len() <= range.start() || range.end() <= start)
        };
        held.filter(apart).count() as u32
    }

    /// Takes note of ranges that step aside, which only those may that cannot go: `may` says more.
    fn note_aside(&mut self, may: impl Fn(&Self, usize) -> bool) {
        let now: BTreeSet<usize> = self.window.set_aside_ranges().map(|range| range.get() as usize).collect();
        for i in 0..self.cells.len() {
            if now.contains(&i) && !self.cells[i].aside {
                assert!(self.cells[i].book == Book::Mapped && (self.refs(i) > 0 || self.cells[i].pinned));
                assert!(may(self, i), "set aside for nothing: {:?}", self.cells[i]);
            }
            // One that was taken for something else meanwhile is set up anew below.
            self.cells[i].aside = now.contains(&i) || (self.cells[i].aside && self.cells[i].book == Book::Mapped);
        }
    }

    fn is_frozen(&self, file: u64, chunk: u64) -> bool {
        self.frozen.iter().map(|out| &out.it.0).any(|frozen| {
            let range = frozen.range();
            frozen.file().0 == file
                && !range.is_empty()
                && range.start() < (chunk + 1) * RANGE
                && chunk * RANGE < range.end()
        })
    }

    fn can_be_evicted(&self, i: usize) -> bool {
        self.cells[i].book == Book::Mapped && self.refs(i) == 0 && !self.cells[i].written_back
    }

    /// Somebody is at work who will wake those who wait.
    fn somebody_works(&self) -> bool {
        !(self.holds.is_empty()
            && self.uses.is_empty()
            && self.pins.is_empty()
            && self.setups.is_empty()
            && self.removes.is_empty()
            && self.writebacks.is_empty()
            && self.frozen.is_empty())
    }

    fn note_wait(&mut self, wait: Wait) {
        assert!(self.somebody_works(), "a wait with no one to end it: {wait:?}");
        self.waits.push(wait);
    }

    // Long: one arm for each answer of the window.
    pub(crate) fn access(&mut self, caller: usize, req: Request) {
        let end = req.mappable_end.0 / PAGE_SIZE * PAGE_SIZE;
        let (file, chunk, within) = (req.file.0, req.offset.0 / RANGE, req.offset.0 % RANGE);
        let len = req.len.min(RANGE - within).min(end.saturating_sub(req.offset.0));
        let write = req.intent == Intent::Write;
        let present = self.find(file, chunk);
        let seq = self.window.event_seq();
        // Some take the quick way first: it makes no difference.
        let quick = if chunk % 2 == 0 { self.window.hit(&mut self.streams[caller], &req) } else { None };
        let answer = match quick {
            Some(hold) => Access::Hit(hold),
            None => self.window.access(&mut self.streams[caller], &req),
        };
        if len == 0 {
            assert!(matches!(answer, Access::Bypass(Bypass::NotMappable)), "{answer:?}");
            return;
        }
        if self.draining {
            assert!(matches!(answer, Access::Bypass(Bypass::Draining)), "{answer:?}");
            return;
        }
        if self.is_frozen(file, chunk) {
            let Access::Wait(wait) = answer else { panic!("let into frozen bytes: {answer:?}") };
            assert_eq!(wait.reason, WaitReason::Frozen);
            self.note_wait(wait);
            return;
        }
        let room = (0..self.cells.len()).any(|i| self.cells[i].book == Book::Free || self.can_be_evicted(i));
        let barred = matches!(&answer, Access::Wait(wait) if wait.reason == WaitReason::References);
        assert!(!(barred && room), "nobody has to wait for others while there is room");
        self.note_aside(|rig, i| {
            let in_place = rig.rules.upgrade == Upgrade::Atomic && !rig.cells[i].poisoned;
            present == Some(i) && req.purpose != Purpose::Copy && !in_place && room
        });
        let present = present.filter(|i| !self.cells[*i].aside);
        if let Some(i) = present {
            let cell = &self.cells[i];
            let allowed = within < cell.map.len && (!write || cell.map.writable);
            match (cell.book, &answer) {
                (Book::Mapped, Access::Hit(_)) => assert!(allowed, "a hit without the right"),
                (Book::Mapped, _) if allowed => panic!("no hit on what is there: {answer:?}"),
                (Book::Upgrading, Access::Hit(_)) => assert!(allowed && self.rules.upgrade == Upgrade::Atomic),
                (Book::SettingUp | Book::Upgrading, Access::Wait(wait)) => assert_eq!(wait.reason, WaitReason::Setup),
                (Book::Removing, Access::Wait(wait)) => assert_eq!(wait.reason, WaitReason::Removal),
                (Book::SettingUp | Book::Upgrading | Book::Removing, _) => panic!("not waited for: {answer:?}"),
                (Book::Doubtful, answer) => assert!(matches!(answer, Access::Evict(_) | Access::Wait(_)), "{answer:?}"),
                _ => {}
            }
        }
        match answer {
            Access::Hit(hold) => {
                assert_eq!(Some(hold.range().get() as usize), present);
                self.took(hold, &req, within, len);
            }
            Access::Setup(ticket) => {
                assert_eq!(ticket.file(), req.file);
                let first = self.window.setup_entry(&ticket, 0).unwrap();
                assert_eq!(first.file_offset.0, chunk * RANGE);
                assert!(first.len > within && (first.writable || !write));
                self.took_setup(ticket, end, present, Some(req));
            }
            Access::Evict(ticket) => self.took_remove(ticket),
            Access::Wait(wait) => {
                // For the end of a use it may be that of before the look for uses: nobody misses an end after that.
                let unlocked = !self.uses.is_empty() && wait.seq == seq;
                assert!(wait.seq == self.window.event_seq() || unlocked);
                self.note_wait(wait);
            }
            Access::Bypass(reason) => match reason {
                Bypass::Busy => {
                    assert_eq!(req.purpose, Purpose::Copy, "nothing but a copy can go round");
                    if present.is_none() {
                        assert!(!self.cells.iter().any(|cell| cell.book == Book::Free), "busy with free ranges");
                        assert!((0..self.cells.len()).all(|i| !self.can_be_evicted(i)), "busy with idle ranges");
                    }
                }
                Bypass::NoCapacity => assert!(self.cells.iter().all(|cell| cell.book == Book::Retired)),
                Bypass::Refused | Bypass::Guard => {}
                reason => panic!("{reason:?}"),
            },
        }
    }

    /// Uses bytes without the lock; whether that was possible.
    pub(crate) fn enter(&mut self, caller: usize, req: Request) -> bool {
        let Some(it) = self.hits.enter(caller, || Run::None, &req) else { return false };
        let (file, chunk, within) = (req.file.0, req.offset.0 / RANGE, req.offset.0 % RANGE);
        let range = (it.window_offset().0 / RANGE) as usize;
        assert_eq!(it.window_offset().0 % RANGE, within);
        assert_eq!(it.len(), req.len);
        assert_eq!(Some(range), self.find(file, chunk), "not the range that newcomers get");
        let cell = &self.cells[range];
        assert_eq!(cell.book, Book::Mapped);
        let host = self.host[range].first().expect("something is mapped there");
        assert_eq!((host.file, host.chunk), (file, chunk));
        assert!(within + it.len() <= cell.map.len && cell.map.len <= host.len);
        let write = req.intent == Intent::Write;
        assert!(!write || cell.map.writable && host.writable && cell.dirty, "stores that nobody will write back");
        let shut = (0..self.frozen.len()).any(|n| {
            let frozen = &self.frozen[n].it.0;
            let bytes = frozen.range();
            let here = bytes.start() < (chunk + 1) * RANGE && chunk * RANGE < bytes.end() && !bytes.is_empty();
            self.cleared[n] && frozen.file().0 == file && here
        });
        assert!(!shut, "entered what was clear");
        self.uses.push(Used { it, range, chunk: (file, chunk), write, owner: caller });
        true
    }

    /// Ends a use without the lock.
    pub(crate) fn leave(&mut self, n: usize) {
        let used = self.uses.swap_remove(n);
        self.hits.leave(used.it);
    }

    pub(crate) fn read_ahead(&mut self, caller: usize, req: Request) {
        let end = req.mappable_end.0 / PAGE_SIZE * PAGE_SIZE;
        if let Some(ticket) = self.window.read_ahead(&mut self.streams[caller], &req) {
            assert!(ticket.is_ahead() && !self.draining);
            for entry in self.window.setup_entries(&ticket) {
                assert!(!self.is_frozen(req.file.0, entry.file_offset.0 / RANGE));
            }
            self.took_setup(ticket, end, None, None);
        }
    }

    fn took(&mut self, hold: RangeRef, req: &Request, within: u64, len: u64) {
        let i = hold.range().get() as usize;
        let cell = &mut self.cells[i];
        let write = req.intent == Intent::Write;
        assert_eq!(hold.window_offset().0, i as u64 * RANGE + within);
        assert_eq!(hold.file_offset(), req.offset);
        assert_eq!(hold.len(), len.min(cell.map.len - within));
        assert!(hold.is_writable() || !write);
        cell.dirty |= write;
        self.holds.push(Held { hold, write, owner: self.actor });
    }

    fn took_setup(&mut self, ticket: SetupTicket, end: u64, upgraded: Option<usize>, req: Option<Request>) {
        for (n, entry) in self.window.setup_entries(&ticket).enumerate() {
            let i = entry.range.get() as usize;
            let chunk = entry.file_offset.0 / RANGE;
            let map = HostMap { file: ticket.file().0, chunk, len: entry.len, writable: entry.writable };
            assert_eq!((entry.window_offset.0, entry.file_offset.0 % RANGE), (i as u64 * RANGE, 0));
            assert!(entry.len > 0 && entry.len % PAGE_SIZE == 0 && entry.len <= RANGE);
            if entry.kind == SetupKind::Upgrade {
                assert_eq!((n, Some(i)), (0, upgraded));
                assert_eq!(self.cells[i].book, Book::Mapped);
                assert!(!self.cells[i].written_back);
                let old = self.cells[i].map;
                assert!(entry.len >= old.len && (entry.writable || !old.writable));
                assert!(entry.len > old.len || (entry.writable && !old.writable), "an upgrade to what it was");
                match self.rules.upgrade {
                    Upgrade::Atomic => {}
                    Upgrade::Quiesce => assert!(self.refs(i) == 0 && !self.cells[i].installed),
                    Upgrade::Remove => panic!("an upgrade on a host that has none"),
                }
                self.cells[i].book = Book::Upgrading;
            } else {
                assert!(entry.len == RANGE.min(end - chunk * RANGE));
                assert_eq!(self.find(map.file, chunk), None, "a second set-up of one chunk");
                match entry.kind {
                    SetupKind::New => assert_eq!((self.cells[i].book, self.host[i].reach()), (Book::Free, 0)),
                    _ => {
                        assert!(self.replaces());
                        assert!(entry.len >= self.host[i].reach(), "the rest of a longer mapping stays");
                        let idle = self.can_be_evicted(i) && !self.cells[i].dirty && !self.cells[i].installed;
                        assert!(self.cells[i].book == Book::Free || idle, "mapped over what is in use");
                    }
                }
                assert!(!self.cells[i].poisoned, "a range that may change by itself was used again");
                assert!(!self.awaited(i), "a range was used again while its request may still be carried out");
                self.cells[i] = Cell {
                    book: Book::SettingUp,
                    map,
                    dirty: false,
                    installed: false,
                    written_back: false,
                    closed: false,
                    poisoned: false,
                    answered: false,
                    mixed: false,
                    aside: false,
                    pinned: false,
                    longer: false,
                };
                self.sent[i].0 += 1;
            }
        }
        self.setups.push(SetupOut { ticket, req, owner: self.actor });
    }

    fn took_remove(&mut self, ticket: RemoveTicket) {
        let entries: Vec<RemoveEntry> = self.window.remove_entries(&ticket).collect();
        assert_eq!(entries.len(), ticket.len());
        assert!(!entries.is_empty() && entries.len() <= self.window.config().max_batch);
        let distinct: BTreeSet<u32> = entries.iter().map(|entry| entry.range.get()).collect();
        assert_eq!(distinct.len(), entries.len());
        let (rules, draining) = (self.rules, self.draining);
        for entry in &entries {
            let i = entry.range.get() as usize;
            assert_eq!(entry.window_offset.0, i as u64 * RANGE);
            assert!(entry.len >= self.host[i].reach(), "the rest of a mapping stays: {entry:?} {:?}", self.host[i]);
            let idle = self.can_be_evicted(i);
            let cell = &mut self.cells[i];
            match cell.book {
                Book::Mapped => {
                    assert!(idle, "removed from under someone");
                    assert_eq!((entry.file.0, entry.file_offset.0 / RANGE), (cell.map.file, cell.map.chunk));
                    assert_eq!((entry.installed, entry.dirty), (cell.installed, cell.dirty), "range {i}");
                    let reach = if cell.longer { RANGE } else { cell.map.len };
                    assert_eq!(entry.len, reach, "not exactly what was mapped");
                    assert!(!ticket.is_retry());
                    cell.closed = true;
                }
                Book::Doubtful => {
                    assert!(ticket.is_retry() && entries.len() == 1);
                    assert_eq!((entry.installed, entry.dirty), (cell.installed, cell.dirty));
                }
                Book::Free => assert!((draining || ticket.is_retry()) && rules.overlap == Overlap::Replace),
                book => panic!("a removal of a range that is {book:?}"),
            }
            cell.book = Book::Removing;
            cell.pinned = false;
        }
        self.removes.push(Out { it: ticket, owner: self.actor });
    }

    /// A range about which nothing is known.
    fn doubt(&mut self, i: usize) {
        let replaces = self.replaces();
        let cell = &mut self.cells[i];
        cell.book = match (cell.poisoned, replaces) {
            (true, true) => Book::Retired,
            (false, true) => Book::Free,
            (_, false) => Book::Doubtful,
        };
        cell.dirty = false;
        cell.installed = false;
        cell.closed = false;
    }

    /// Doubtful, but with stores that somebody must still see to.
    fn close(&mut self, i: usize) {
        self.cells[i].book = Book::Doubtful;
        self.cells[i].closed = true;
    }

    fn retire(&mut self, i: usize) {
        let cell = &mut self.cells[i];
        cell.book = Book::Retired;
        cell.dirty = false;
        cell.installed = false;
        cell.closed = false;
    }

    /// One entry of a set-up: `applied` says what the host did where the outcome leaves it open.
    pub(crate) fn report_setup(&mut self, n: usize, entry: usize, outcome: Outcome, applied: bool) {
        let SetupOut { mut ticket, req, owner } = self.setups.swap_remove(n);
        let what = self.window.setup_entry(&ticket, entry).unwrap();
        let i = what.range.get() as usize;
        let upgrade = self.cells[i].book == Book::Upgrading;
        let longer = self.cells[i].longer;
        let hold = if self.patient && outcome == Outcome::Lost {
            let late = self.window.give_up_setup(&mut ticket, entry).unwrap();
            let chunk = what.file_offset.0 / RANGE;
            let map = HostMap { file: ticket.file().0, chunk, len: what.len, writable: what.writable };
            self.late.push(LateOut { late, ranges: vec![(i, applied, what.len)], map: Some(map), upgrade, longer });
            None
        } else {
            self.window.report_setup(&mut ticket, entry, outcome)
        };
        self.setup_ended(ticket.file().0, &what, outcome, applied);
        let wanted = entry == 0 && !ticket.is_ahead() && outcome == Outcome::Done;
        assert_eq!(hold.is_some(), wanted);
        if let Some(hold) = hold {
            let i = hold.range().get() as usize;
            assert_eq!(i, what.range.get() as usize);
            assert_eq!(hold.window_offset().0 - what.window_offset.0, hold.file_offset().0 - what.file_offset.0);
            assert!(hold.len() > 0 && hold.file_offset().0 + hold.len() <= what.file_offset.0 + what.len);
            let req = req.expect("a hold for read-ahead");
            let write = req.intent == Intent::Write;
            assert_eq!(hold.file_offset(), req.offset);
            self.cells[i].dirty |= write;
            self.holds.push(Held { hold, write, owner: self.actor });
        }
        if !ticket.is_complete() {
            self.setups.push(SetupOut { ticket, req, owner });
        }
    }

    fn setup_ended(&mut self, file: u64, what: &SetupEntry, outcome: Outcome, applied: bool) {
        let i = what.range.get() as usize;
        let chunk = what.file_offset.0 / RANGE;
        let map = HostMap { file, chunk, len: what.len, writable: what.writable };
        let upgrade = self.cells[i].book == Book::Upgrading;
        let intact = upgrade && self.rules.upgrade == Upgrade::Atomic;
        match outcome {
            Outcome::Done => {
                self.host[i].map(map);
                self.cells[i].map = map;
                self.cells[i].book = Book::Mapped;
            }
            Outcome::Refused(_) if intact => self.cells[i].book = Book::Mapped,
            Outcome::Refused(_) if upgrade => {
                if applied {
                    self.host[i] = HostRange::default();
                }
                if self.cells[i].dirty {
                    self.close(i);
                } else {
                    self.doubt(i);
                }
            }
            Outcome::Refused(_) => self.cells[i].book = Book::Free,
            Outcome::Unknown | Outcome::Lost => {
                if applied {
                    self.host[i].map(map);
                }
                if outcome == Outcome::Lost {
                    self.cells[i].poisoned = true;
                }
                self.cells[i].longer |= intact && what.len > self.cells[i].map.len;
                match (intact, outcome) {
                    (true, _) => self.cells[i].book = Book::Mapped,
                    _ if upgrade && self.cells[i].dirty => self.close(i),
                    (false, Outcome::Lost) => self.retire(i),
                    (false, _) => self.doubt(i),
                }
            }
        }
    }

    pub(crate) fn drop_setup(&mut self, n: usize, applied: u32) {
        let ticket = self.setups.swap_remove(n).ticket;
        let file = ticket.file().0;
        let left: Vec<SetupEntry> = self.window.setup_entries(&ticket).collect();
        let seq = self.window.event_seq();
        drop(ticket);
        assert_ne!(seq, self.window.event_seq());
        for (n, what) in left.iter().enumerate() {
            // The window does not know any more how much longer it may be.
            let cell = &mut self.cells[what.range.get() as usize];
            cell.longer |= cell.book == Book::Upgrading && cell.map.len < RANGE;
            self.setup_ended(file, what, Outcome::Unknown, applied & (1 << n) != 0);
        }
        self.absorb();
    }

    /// Makes the window look into its box.
    fn absorb(&mut self) {
        let nothing = Request::read(FileKey(u64::MAX), 0, 0, 0);
        assert!(matches!(self.window.access(&mut Stream::new(), &nothing), Access::Bypass(Bypass::NotMappable)));
    }

    /// The ranges of a removal, and how much of each.
    fn removals(&self, ticket: &RemoveTicket) -> Vec<(usize, u64)> {
        self.window.remove_entries(ticket).map(|entry| (entry.range.get() as usize, entry.len)).collect()
    }

    pub(crate) fn complete_remove(&mut self, n: usize, outcome: Outcome, applied: u32) {
        let ticket = self.removes.swap_remove(n).it;
        let ranges = self.removals(&ticket);
        let retry = ticket.is_retry();
        let freed = if self.patient && outcome == Outcome::Lost {
            let late = self.window.give_up_remove(ticket).unwrap();
            let gone = |n: usize| applied & (1 << (n % 32)) != 0;
            let ranges = ranges.iter().enumerate().map(|(n, (i, len))| (*i, gone(n), *len)).collect();
            self.late.push(LateOut { late, ranges, map: None, upgrade: false, longer: false });
            0
        } else {
            self.window.complete_remove(ticket, outcome)
        };
        let mut free = 0;
        for (n, (i, len)) in ranges.into_iter().enumerate() {
            let gone = applied & (1 << (n % 32)) != 0;
            let keyed = self.cells[i].closed;
            if gone || outcome == Outcome::Done {
                self.host[i].unmap(len);
            }
            match outcome {
                Outcome::Done => {
                    self.sent[i].1 += 1;
                    assert!(self.sent[i].1 <= self.sent[i].0 || self.replaces());
                    if self.cells[i].answered {
                        self.settle(i);
                        self.doubt(i);
                    } else if self.cells[i].poisoned {
                        self.retire(i);
                    } else {
                        self.cells[i].book = Book::Free;
                        self.cells[i].dirty = false;
                        self.cells[i].installed = false;
                        self.cells[i].closed = false;
                    }
                }
                Outcome::Lost => {
                    self.cells[i].poisoned = true;
                    self.cells[i].mixed |= self.patient && self.cells[i].answered;
                    self.cells[i].answered = false;
                    self.retire(i);
                }
                Outcome::Refused(_) | Outcome::Unknown => {
                    if (retry && !self.replaces()) || ((retry || self.draining) && !keyed) {
                        self.retire(i);
                    } else {
                        self.settle(i);
                        self.doubt(i);
                    }
                }
            }
            free += usize::from(self.cells[i].book == Book::Free);
        }
        assert_eq!(free, freed);
    }

    /// Whether a request about the range was given up and has no answer yet.
    fn awaited(&self, i: usize) -> bool {
        self.late.iter().any(|late| late.ranges.iter().any(|(range, ..)| *range == i))
    }

    /// The answer that a range waited for has come, and nothing is under way that is older.
    fn settle(&mut self, i: usize) {
        if self.cells[i].answered {
            self.cells[i].answered = false;
            self.cells[i].poisoned = false;
        }
    }

    /// The answer to a request that was given up comes: the host carries it out now if it has not yet, or refuses.
    pub(crate) fn late_answer(&mut self, n: usize, carried_out: bool, clear: bool) {
        let LateOut { late, ranges, map, upgrade, longer } = self.late.swap_remove(n);
        let before = ranges.iter().filter(|(_, applied, _)| *applied).count();
        let done = carried_out || before == ranges.len();
        if done {
            for (i, _, len) in ranges.iter().filter(|(_, applied, _)| !applied) {
                match map {
                    Some(map) => self.host[*i].map(map),
                    None => self.host[*i].unmap(*len),
                }
            }
        }
        for (i, ..) in ranges.iter().filter(|_| upgrade) {
            // It may have mapped anew what a removal took away meanwhile.
            if matches!(self.cells[*i].book, Book::Removing | Book::Retired) {
                self.sent[*i].0 += 1;
            }
        }
        let outcome = match (clear, done, before) {
            (true, true, _) => Outcome::Done,
            (true, false, 0) => Outcome::Refused(5),
            _ => Outcome::Unknown,
        };
        let freed = self.window.late(late, outcome);
        let mut free = 0;
        for (i, ..) in ranges {
            match self.cells[i].book {
                Book::Removing => self.cells[i].answered = true,
                Book::Retired if self.awaited(i) => self.cells[i].mixed = true,
                Book::Retired if self.cells[i].mixed => {
                    self.cells[i].mixed = false;
                    self.cells[i].poisoned = false;
                    self.doubt(i);
                }
                Book::Retired => {
                    self.cells[i].poisoned = false;
                    match (map, outcome) {
                        (None, Outcome::Done) => self.cells[i].book = Book::Free,
                        (Some(_), Outcome::Refused(_)) if !upgrade => self.cells[i].book = Book::Free,
                        _ => self.doubt(i),
                    }
                }
                _ => {
                    self.cells[i].poisoned = false;
                    self.cells[i].longer &= longer || outcome == Outcome::Unknown;
                    if let (Some(map), Outcome::Done) = (map, outcome) {
                        self.cells[i].map = map;
                    }
                }
            }
            free += usize::from(self.cells[i].book == Book::Free);
        }
        assert_eq!(free, freed);
    }

    pub(crate) fn abort_remove(&mut self, n: usize, unmapped: bool) {
        let ticket = self.removes.swap_remove(n).it;
        let ranges: Vec<usize> = self.window.remove_entries(&ticket).map(|entry| entry.range.get() as usize).collect();
        let retry = ticket.is_retry();
        self.window.abort_remove(ticket, unmapped);
        for i in ranges {
            self.settle(i);
            let cell = &mut self.cells[i];
            cell.installed &= !unmapped;
            if retry {
                cell.book = Book::Doubtful;
            } else if cell.closed {
                cell.book = Book::Mapped;
                cell.closed = false;
            } else {
                cell.book = Book::Free;
            }
        }
    }

    /// Calls a removal off: some of the ranges have pages that are pinned.
    pub(crate) fn abort_pinned(&mut self, n: usize, pinned: u32) {
        let ticket = self.removes.swap_remove(n).it;
        let ranges: Vec<usize> = self.window.remove_entries(&ticket).map(|entry| entry.range.get() as usize).collect();
        let retry = ticket.is_retry();
        self.window.abort_pinned(ticket, |i| pinned & (1 << (i.get() % 32)) != 0);
        for i in ranges {
            self.settle(i);
            let cell = &mut self.cells[i];
            if retry {
                cell.book = Book::Doubtful;
            } else if cell.closed {
                cell.book = Book::Mapped;
                cell.closed = false;
                cell.pinned = pinned & (1 << (i % 32)) != 0;
            } else {
                cell.book = Book::Free;
            }
        }
    }

    pub(crate) fn drop_remove(&mut self, n: usize, applied: u32) {
        let ticket = self.removes.swap_remove(n).it;
        let ranges = self.removals(&ticket);
        drop(ticket);
        for (n, (i, len)) in ranges.into_iter().enumerate() {
            if applied & (1 << (n % 32)) != 0 {
                self.host[i].unmap(len);
            }
            self.settle(i);
            if self.cells[i].installed || self.cells[i].dirty {
                self.cells[i].book = Book::Doubtful;
            } else {
                self.doubt(i);
            }
        }
        self.absorb();
    }

    pub(crate) fn release(&mut self, n: usize) {
        let held = self.holds.swap_remove(n);
        self.window.release(held.hold);
    }

    pub(crate) fn install(&mut self, n: usize) {
        let held = self.holds.swap_remove(n);
        let cell = &mut self.cells[held.hold.range().get() as usize];
        cell.installed = true;
        cell.dirty |= held.write;
        self.window.install(held.hold, held.write);
    }

    pub(crate) fn pin(&mut self, n: usize) {
        let held = self.holds.swap_remove(n);
        self.pins.push((self.window.pin(held.hold), held.write));
    }

    pub(crate) fn unpin(&mut self, n: usize) {
        let (pin, _) = self.pins.swap_remove(n);
        self.window.unpin(pin);
    }

    pub(crate) fn begin_invalidate(&mut self, file: u64, range: FileRange, kind: InvalidateKind) {
        let overlaps = self.frozen.iter().map(|out| &out.it.0).any(|frozen| {
            let other = frozen.range();
            let chunks =
                |r: FileRange| if r.is_empty() { (0, 0) } else { (r.start() / RANGE, (r.end() - 1) / RANGE + 1) };
            let ((a, b), (c, d)) = (chunks(range), chunks(other));
            frozen.file().0 == file && a < d && c < b
        });
        match self.window.begin_invalidate(FileKey(file), range, kind) {
            Ok(frozen) => {
                assert!(!overlaps);
                self.frozen.push(Out { it: (frozen, kind), owner: self.actor });
                self.cleared.push(false);
            }
            Err(wait) => {
                assert!(overlaps || wait.reason == WaitReason::Tickets);
                self.note_wait(wait);
            }
        }
    }

    pub(crate) fn invalidate_step(&mut self, n: usize) {
        let (frozen, kind) = &self.frozen[n].it;
        let (file, range, kind) = (frozen.file().0, frozen.range(), *kind);
        let touched = |cell: &Cell| {
            let present = !matches!(cell.book, Book::Free | Book::Retired)
                && (cell.closed || !matches!(cell.book, Book::Removing | Book::Doubtful));
            present
                && cell.map.file == file
                && !range.is_empty()
                && cell.map.chunk * RANGE < range.end()
                && range.start() < (cell.map.chunk + 1) * RANGE
        };
        let elsewhere: Vec<u32> = (0..self.cells.len()).map(|i| self.elsewhere(i, range)).collect();
        let step = if self.passes {
            self.window.invalidate_step_past(frozen, |i| elsewhere[i.get() as usize])
        } else {
            self.window.invalidate_step(frozen)
        };
        // Those that are in the way of nothing stay.
        let in_use = |rig: &Self, i: usize| {
            let elsewhere = if rig.passes { rig.elsewhere(i, range) as usize } else { 0 };
            rig.refs(i) > elsewhere
        };
        self.note_aside(|rig, i| touched(&rig.cells[i]) && kind == InvalidateKind::Remove && !in_use(rig, i));
        match step {
            Step::Remove(ticket) => self.took_remove(ticket),
            Step::Wait(wait) => {
                assert!((0..self.cells.len()).any(|i| touched(&self.cells[i])), "waits for nothing");
                self.note_wait(wait);
            }
            Step::Clear => {
                self.cleared[n] = true;
                for i in 0..self.cells.len() {
                    let stays = kind == InvalidateKind::Quiesce || self.cells[i].aside;
                    let quiet = stays && self.cells[i].book == Book::Mapped && !in_use(self, i);
                    let quiet = quiet && (kind == InvalidateKind::Quiesce || self.refs(i) > 0 || self.cells[i].pinned);
                    assert!(!touched(&self.cells[i]) || quiet, "clear with {:?}", self.cells[i]);
                }
            }
        }
    }

    pub(crate) fn end_invalidate(&mut self, n: usize, dropped: bool) {
        let (frozen, _) = self.frozen.swap_remove(n).it;
        self.cleared.swap_remove(n);
        if dropped {
            drop(frozen);
            self.absorb();
        } else {
            self.window.end_invalidate(frozen);
        }
    }

    pub(crate) fn begin_writeback(&mut self, file: u64, range: FileRange) {
        match self.window.begin_writeback(FileKey(file), range) {
            Writeback::Ranges(ticket) => {
                let mut cursor = Cursor::default();
                let mut count = 0;
                let (mut last, mut aside) = (None, false);
                while let Some(entry) = self.window.writeback_entry(&ticket, &mut cursor) {
                    let i = entry.range.get() as usize;
                    // Of one chunk, those that were set aside come first.
                    assert!(last < Some(entry.file_offset) || (aside && last == Some(entry.file_offset)));
                    aside = self.cells[i].aside;
                    last = Some(entry.file_offset);
                    let refs = self.refs(i);
                    let cell = &mut self.cells[i];
                    assert!(cell.dirty && cell.book == Book::Mapped && !cell.written_back && cell.map.file == file);
                    assert_eq!((entry.len, entry.installed), (cell.map.len, cell.installed));
                    cell.written_back = true;
                    cell.dirty = refs > 0;
                    count += 1;
                }
                assert_eq!(count, ticket.len());
                self.writebacks.push(Out { it: ticket, owner: self.actor });
            }
            Writeback::Clean => {
                for cell in &self.cells {
                    let here = cell.map.file == file
                        && !range.is_empty()
                        && cell.map.chunk * RANGE < range.end()
                        && range.start() < (cell.map.chunk + 1) * RANGE;
                    assert!(!here || !(cell.dirty || cell.written_back), "clean with {cell:?}");
                }
            }
            Writeback::Wait(wait) => self.note_wait(wait),
            Writeback::Remove(ticket) => self.took_remove(ticket),
            Writeback::Further(_) => panic!("so few ranges fit into one look"),
        }
    }

    pub(crate) fn end_writeback(&mut self, n: usize, done: Option<bool>) {
        let ticket = self.writebacks.swap_remove(n).it;
        let mut cursor = Cursor::default();
        while let Some(entry) = self.window.writeback_entry(&ticket, &mut cursor) {
            let cell = &mut self.cells[entry.range.get() as usize];
            cell.written_back = false;
            cell.dirty |= done != Some(true);
        }
        match done {
            Some(done) => self.window.end_writeback(ticket, done),
            None => {
                drop(ticket);
                self.absorb();
            }
        }
    }

    pub(crate) fn reclaim(&mut self) {
        if let Some(ticket) = self.window.reclaim_step() {
            self.took_remove(ticket);
        }
    }

    pub(crate) fn begin_drain(&mut self) {
        self.draining = true;
        self.window.begin_drain();
    }

    pub(crate) fn end_drain(&mut self) {
        self.draining = false;
        self.window.end_drain();
    }

    pub(crate) fn drain_step(&mut self) -> bool {
        self.draining = true;
        match self.window.drain_step() {
            Step::Remove(ticket) => self.took_remove(ticket),
            Step::Wait(wait) => self.note_wait(wait),
            Step::Clear => return true,
        }
        false
    }

    /// Compares everything.
    pub(crate) fn check(&self) {
        self.window.check_invariants().unwrap();
        let stats = self.window.stats();
        let count = |books: &[Book]| self.cells.iter().filter(|cell| books.contains(&cell.book)).count() as u32;
        assert_eq!(stats.free, count(&[Book::Free]), "free");
        assert_eq!(stats.mapped, count(&[Book::Mapped, Book::Upgrading]), "mapped");
        assert_eq!(stats.setting_up, count(&[Book::SettingUp]), "setting up");
        assert_eq!(stats.removing, count(&[Book::Removing]), "removing");
        assert_eq!(stats.suspect, count(&[Book::Doubtful]), "suspect");
        assert_eq!(stats.retired, count(&[Book::Retired]), "retired");
        assert_eq!(stats.holds as usize, self.holds.len() + self.pins.len());
        assert_eq!(stats.pins as usize, self.pins.len());
        assert_eq!(stats.misuse, 0);
        let tickets = self.setups.len() + self.removes.len() + self.writebacks.len() + self.frozen.len();
        assert_eq!(stats.tickets as usize, tickets);
        // Whoever holds a range sees the bytes of their file, whatever else goes on.
        let held = self.holds.iter().map(|held| (&held.hold, held.write));
        for (hold, write) in held.chain(self.pins.iter().map(|(pin, write)| (pin.hold(), *write))) {
            let i = hold.range().get() as usize;
            let map = self.host[i].first().expect("a hold on nothing");
            assert_eq!((map.file, map.chunk), (self.cells[i].map.file, self.cells[i].map.chunk));
            assert_eq!(hold.file_offset().0 / RANGE, map.chunk);
            assert!(hold.file_offset().0 % RANGE + hold.len() <= map.len && (map.writable || !write));
        }
        for used in &self.uses {
            let map = self.host[used.range].first().expect("a use of nothing");
            assert_eq!((map.file, map.chunk), (used.chunk.0, used.chunk.1), "what is used changes");
            assert!(map.writable || !used.write);
            assert!(matches!(self.cells[used.range].book, Book::Mapped | Book::Upgrading));
        }
        for (i, host) in self.host.iter().enumerate() {
            let one = matches!(host.0[..], [] | [(0, _, _)]);
            assert!(one, "the rest of a mapping stays in range {i}: {host:?}");
        }
        // Page tables too.
        for (cell, host) in self.cells.iter().zip(&self.host) {
            if cell.installed && cell.book == Book::Mapped {
                let map = host.first().expect("page tables refer to nothing");
                assert_eq!((map.file, map.chunk), (cell.map.file, cell.map.chunk));
            }
        }
    }

    /// Everybody finishes, then the window is torn down: nothing is left, and everyone who waited was notified.
    pub(crate) fn wind_down(mut self) {
        while !self.holds.is_empty() {
            self.release(0);
        }
        while !self.pins.is_empty() {
            self.unpin(0);
        }
        while !self.uses.is_empty() {
            self.leave(0);
        }
        while !self.setups.is_empty() {
            let ticket = &self.setups[0].ticket;
            let entry = (0..ticket.len()).find(|entry| ticket.is_pending(*entry));
            self.report_setup(0, entry.expect("a ticket with nothing to do"), Outcome::Done, true);
            while !self.holds.is_empty() {
                self.release(0);
            }
        }
        while !self.removes.is_empty() {
            self.complete_remove(0, Outcome::Done, u32::MAX);
        }
        while !self.writebacks.is_empty() {
            self.end_writeback(0, Some(true));
        }
        while !self.frozen.is_empty() {
            self.end_invalidate(0, false);
        }
        while !self.late.is_empty() {
            self.late_answer(0, true, true);
        }
        self.check();
        for wait in &self.waits {
            assert_ne!(wait.seq, self.window.event_seq(), "{wait:?} was never notified");
        }
        self.begin_drain();
        for _ in 0..10_000 {
            if self.drain_step() {
                break;
            }
            while !self.removes.is_empty() {
                self.complete_remove(0, Outcome::Done, u32::MAX);
            }
        }
        self.check();
        let stats = self.window.stats();
        assert_eq!(stats.free + stats.retired, stats.ranges, "{stats:?}");
        if self.patient {
            assert!(self.cells.iter().all(|cell| !cell.poisoned), "a range waits for an answer that has come");
        }
        for (cell, host) in self.cells.iter().zip(&self.host) {
            assert!(host.reach() == 0 || cell.book == Book::Retired, "left behind: {cell:?} {host:?}");
        }
    }
}
