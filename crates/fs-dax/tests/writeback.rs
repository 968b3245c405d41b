//! Writeback: the three failures of device-wide tracking, each phase by itself, and a machine explored exhaustively.

use std::collections::HashSet;

use fs_dax::{
    Collecting, DirtyRange, DirtyRange2M, Errno, Error, FileRange, FlushCounts, Flushed, InodeDirt, PAGE_SIZE,
    Protected, Settled, Writeback,
};

const MIB: u64 = 1 << 20;

fn page(number: u64) -> FileRange {
    FileRange::new(number * PAGE_SIZE, PAGE_SIZE).unwrap()
}

fn range() -> DirtyRange2M {
    DirtyRange2M::new_2m(FileRange::new(0, 2 * MIB).unwrap()).unwrap()
}

/// Counts as a cache flush with lines of 64 bytes would.
fn flush(range: &DirtyRange2M, counts: &mut FlushCounts) {
    for run in range.writing_runs() {
        counts.pages += (run.len() / PAGE_SIZE) as usize;
        counts.lines += (run.len() / 64) as usize;
    }
}

/// A whole writeback; gives what was flushed.
fn write_back(
    inode: &mut InodeDirt,
    range: &mut DirtyRange2M,
    bytes: FileRange,
    reply: Result<(), Errno>,
) -> (FlushCounts, bool) {
    let mut counts = FlushCounts::default();
    let mut writeback = inode.begin().unwrap();
    writeback.take(range, bytes);
    let writeback = writeback.write_protected();
    flush(range, &mut counts);
    let writeback = writeback.flushed();
    let fsync = writeback.needs_fsync();
    inode.finish(writeback, reply).unwrap().apply(range).unwrap();
    (counts, fsync)
}

#[test]
fn a_second_flush_with_no_store_between_touches_no_line() {
    let (mut inode, mut range) = (InodeDirt::new(), range());
    range.mark(page(3)).unwrap();
    range.mark(page(400)).unwrap();
    let first = write_back(&mut inode, &mut range, FileRange::ALL, Ok(()));
    assert_eq!(first, (FlushCounts { pages: 2, lines: 128 }, true));
    let second = write_back(&mut inode, &mut range, FileRange::ALL, Ok(()));
    assert_eq!(second, (FlushCounts::default(), false));
}

#[test]
fn fsync_of_one_inode_touches_no_extent_of_another() {
    let (mut a, mut range_a) = (InodeDirt::new(), range());
    let (mut b, mut range_b) = (InodeDirt::new(), range());
    range_a.mark(page(1)).unwrap();
    range_b.mark(page(1)).unwrap();
    let (counts, _) = write_back(&mut a, &mut range_a, FileRange::ALL, Ok(()));
    assert_eq!(counts.pages, 1);
    assert!(range_a.is_clean());
    assert_eq!(range_b.dirty_pages(), 1);
    assert_eq!(write_back(&mut b, &mut range_b, FileRange::ALL, Ok(())).0.pages, 1);
}

#[test]
fn msync_of_one_page_touches_one_extent() {
    let (mut inode, mut range) = (InodeDirt::new(), range());
    range.mark(FileRange::new(0, 2 * MIB).unwrap()).unwrap();
    let (counts, fsync) = write_back(&mut inode, &mut range, page(7), Ok(()));
    assert_eq!(counts, FlushCounts { pages: 1, lines: 64 });
    assert!(fsync);
    assert_eq!(range.dirty_pages(), 511);
    assert_eq!(range.dirty_runs(FileRange::ALL).count(), 2);
    // One byte is its whole page; two bytes on a border are two.
    assert_eq!(write_back(&mut inode, &mut range, FileRange::new(0, 1).unwrap(), Ok(())).0.pages, 1);
    let border = FileRange::new(20 * PAGE_SIZE - 1, 2).unwrap();
    assert_eq!(write_back(&mut inode, &mut range, border, Ok(())).0.pages, 2);
}

#[test]
fn stores_during_writeback_stay_dirty() {
    let (mut inode, mut range) = (InodeDirt::new(), range());
    range.mark(page(3)).unwrap();
    let mut writeback = inode.begin().unwrap();
    assert_eq!(writeback.take(&mut range, FileRange::ALL), 1);
    let writeback = writeback.write_protected();
    // The page is stored to again: its fault marks it. And another one.
    assert_eq!(range.mark(page(3)).unwrap(), 1);
    range.mark(page(4)).unwrap();
    let settled = inode.finish(writeback.flushed(), Ok(())).unwrap();
    settled.apply(&mut range).unwrap();
    let runs: Vec<_> = range.dirty_runs(FileRange::ALL).collect();
    assert_eq!(runs, [FileRange::new(3 * PAGE_SIZE, 2 * PAGE_SIZE).unwrap()]);
    assert_eq!(range.writing_pages(), 0);
}

#[test]
fn after_an_error_everything_is_dirty_again() {
    let (mut inode, mut range) = (InodeDirt::new(), range());
    inode.wrote();
    range.mark(page(3)).unwrap();
    range.mark(page(5)).unwrap();
    let (counts, _) = write_back(&mut inode, &mut range, FileRange::ALL, Err(Errno::EIO));
    assert_eq!(counts.pages, 2);
    assert_eq!(range.dirty_pages(), 2);
    assert!(inode.needs_fsync());
    let (counts, fsync) = write_back(&mut inode, &mut range, FileRange::ALL, Ok(()));
    assert_eq!((counts.pages, fsync), (2, true));
    assert!(range.is_clean() && !inode.needs_fsync());
}

#[test]
fn fsync_after_reclaim_still_sends_fsync() {
    let (mut inode, mut range) = (InodeDirt::new(), range());
    range.mark(page(3)).unwrap();
    inode.fold(&mut range);
    assert!(range.is_clean());
    let mut writeback = inode.begin().unwrap();
    assert_eq!(writeback.take(&mut range, FileRange::ALL), 0);
    let writeback = writeback.write_protected().flushed();
    assert!(writeback.needs_fsync());
    // What is folded while the FSYNC is under way may have come too late for it.
    range.mark(page(9)).unwrap();
    inode.fold(&mut range);
    let settled = inode.finish(writeback, Ok(())).unwrap();
    assert_eq!(settled.reply(), Ok(()));
    assert!(inode.needs_fsync());
    // A clean range leaves nothing behind.
    let mut clean = InodeDirt::new();
    clean.fold(&mut range);
    assert!(!clean.needs_fsync());
}

#[test]
fn a_range_reclaimed_while_it_is_written_back_is_not_forgotten() {
    let (mut inode, mut range) = (InodeDirt::new(), range());
    range.mark(page(3)).unwrap();
    let mut writeback = inode.begin().unwrap();
    writeback.take(&mut range, FileRange::ALL);
    inode.fold(&mut range);
    let settled = inode.finish(writeback.write_protected().flushed(), Err(Errno::EIO)).unwrap();
    assert_eq!(settled.apply(&mut range), Err(Error::StaleWriteback));
    assert!(inode.needs_fsync());
}

#[test]
fn one_writeback_of_an_inode_at_a_time() {
    let (mut inode, mut range) = (InodeDirt::new(), range());
    range.mark(page(3)).unwrap();
    let mut first = inode.begin().unwrap();
    first.take(&mut range, FileRange::ALL);
    assert!(inode.is_writing());
    assert_eq!(inode.begin().unwrap_err(), Error::WritebackInFlight);
    assert_eq!(Error::WritebackInFlight.errno(), Errno::EBUSY);
    inode.finish(first.write_protected().flushed(), Ok(())).unwrap().apply(&mut range).unwrap();
    assert!(!inode.is_writing());
    assert!(inode.begin().is_ok());
}

#[test]
fn an_abandoned_writeback_leaves_everything_dirty() {
    let (mut inode, mut range) = (InodeDirt::new(), range());
    range.mark(page(3)).unwrap();
    range.mark(page(8)).unwrap();
    let mut lost = inode.begin().unwrap();
    lost.take(&mut range, FileRange::ALL);
    let lost = lost.write_protected().flushed();
    inode.abandon();
    assert!(!range.is_clean());
    // The next one is for one page only; the other is dirty still, not clean with it.
    let (counts, _) = write_back(&mut inode, &mut range, page(8), Ok(()));
    assert_eq!(counts.pages, 1);
    assert_eq!(range.dirty_runs(FileRange::ALL).collect::<Vec<_>>(), [page(3)]);
    // The lost one can do nothing any more.
    assert_eq!(inode.finish(lost, Ok(())).unwrap_err(), Error::StaleWriteback);
    assert_eq!(range.dirty_pages(), 1);
}

#[test]
fn many_ranges_and_one_fsync() {
    let mut inode = InodeDirt::new();
    let mut ranges: Vec<_> =
        (0..4).map(|n| DirtyRange2M::new_2m(FileRange::new(n * 2 * MIB, 2 * MIB).unwrap()).unwrap()).collect();
    for (n, range) in (0..).zip(&mut ranges) {
        range.mark(FileRange::new(n * 2 * MIB + 5, 1).unwrap()).unwrap();
    }
    let mut writeback = inode.begin().unwrap();
    for range in &mut ranges {
        writeback.take(range, FileRange::between(0, 6 * MIB));
    }
    assert_eq!(writeback.pages(), 3);
    let settled = inode.finish(writeback.write_protected().flushed(), Ok(())).unwrap();
    for range in &mut ranges {
        settled.apply(range).unwrap();
    }
    assert_eq!(ranges.iter().map(|range| range.is_clean()).collect::<Vec<_>>(), [true, true, true, false]);
}

/// A guest with two pages, a processor cache that has to be flushed, a host with memory and a disk. Numbers are
/// versions of each page's contents.
#[derive(Clone, Debug)]
struct Machine {
    stored: [u8; 2],
    memory: [u8; 2],
    disk: [u8; 2],
    /// How each page is mapped: not at all, for reading, for writing.
    mapped: [Option<bool>; 2],
    range: DirtyRange<[u64; 1]>,
    /// Whether the range was reclaimed since the writeback began.
    reclaimed: bool,
    phase: Phase,
    /// What the page tables of one fault are about to get: decided, not yet installed.
    deciding: Option<(usize, bool)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Idle,
    /// With the versions that the caller of fsync has stored, per page, if it asked for that page.
    Taken([Option<u8>; 2]),
    Protected([Option<u8>; 2]),
    Flushed([Option<u8>; 2]),
    /// The host has done the FSYNC, the reply has not come.
    Answered([Option<u8>; 2], bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// The program stores; if the page is not writable, the fault is resolved up to the page-table lock.
    Store(usize),
    /// The fault installs its page.
    Install,
    /// fsync, or msync of one page, begins.
    Begin(Option<usize>),
    Next,
    /// The host does the FSYNC, or fails it.
    Host(bool),
    Reclaim,
}

/// The tickets live beside the machine: they are move-only, so each path of the search makes its own from the start.
enum Ticket {
    None,
    Collecting(Writeback<Collecting>),
    Protected(Writeback<Protected>),
    Flushed(Writeback<Flushed>),
}

struct Run {
    machine: Machine,
    inode: InodeDirt,
    ticket: Ticket,
    layout: fs_dax::Layout,
    fault_saw: Option<fs_dax::LayoutSeen>,
}

const EVENTS: [Event; 10] = [
    Event::Store(0),
    Event::Store(1),
    Event::Install,
    Event::Begin(None),
    Event::Begin(Some(0)),
    Event::Begin(Some(1)),
    Event::Next,
    Event::Host(true),
    Event::Host(false),
    Event::Reclaim,
];

impl Run {
    fn new() -> Self {
        let covered = FileRange::new(0, 2 * PAGE_SIZE).unwrap();
        Self {
            machine: Machine {
                stored: [0; 2],
                memory: [0; 2],
                disk: [0; 2],
                mapped: [None; 2],
                range: DirtyRange::new(covered, [0], [0]).unwrap(),
                reclaimed: false,
                phase: Phase::Idle,
                deciding: None,
            },
            inode: InodeDirt::new(),
            ticket: Ticket::None,
            layout: fs_dax::Layout::new(),
            fault_saw: None,
        }
    }

    /// Does one event; `false` if it cannot happen now.
    // Long: one arm for each event of the model.
    fn step(&mut self, event: Event) -> bool {
        let m = &mut self.machine;
        match event {
            Event::Store(page_number) => {
                if m.mapped[page_number] == Some(true) {
                    if m.stored[page_number] >= 2 {
                        return false;
                    }
                    m.stored[page_number] += 1;
                } else {
                    if m.deciding.is_some() {
                        return false;
                    }
                    self.fault_saw = Some(self.layout.seen());
                    m.range.mark(page(page_number as u64)).unwrap();
                    m.deciding = Some((page_number, true));
                }
            }
            Event::Install => {
                let Some((page_number, writable)) = m.deciding.take() else { return false };
                if self.layout.unchanged(self.fault_saw.take().unwrap()) {
                    m.mapped[page_number] = Some(writable);
                }
            }
            Event::Begin(which) => {
                if m.phase != Phase::Idle {
                    return false;
                }
                let mut writeback = self.inode.begin().unwrap();
                m.reclaimed = false;
                writeback.take(&mut m.range, which.map_or(FileRange::ALL, |number| page(number as u64)));
                self.ticket = Ticket::Collecting(writeback);
                let promised = |number: usize| which.is_none_or(|which| which == number).then_some(m.stored[number]);
                m.phase = Phase::Taken([promised(0), promised(1)]);
            }
            Event::Next => match (m.phase, std::mem::replace(&mut self.ticket, Ticket::None)) {
                (Phase::Taken(promised), Ticket::Collecting(writeback)) => {
                    let change = self.layout.change();
                    for run in m.range.writing_runs() {
                        for number in 0..2 {
                            if run.contains(number * PAGE_SIZE) && m.mapped[number as usize] == Some(true) {
                                m.mapped[number as usize] = Some(false);
                            }
                        }
                    }
                    drop(change);
                    self.ticket = Ticket::Protected(writeback.write_protected());
                    m.phase = Phase::Protected(promised);
                }
                (Phase::Protected(promised), Ticket::Protected(writeback)) => {
                    for run in m.range.writing_runs() {
                        for number in 0..2 {
                            if run.contains(number as u64 * PAGE_SIZE) {
                                m.memory[number] = m.stored[number];
                            }
                        }
                    }
                    self.ticket = Ticket::Flushed(writeback.flushed());
                    m.phase = Phase::Flushed(promised);
                }
                (Phase::Flushed(promised), Ticket::Flushed(writeback)) if !writeback.needs_fsync() => {
                    self.ticket = Ticket::Flushed(writeback);
                    self.end(promised, Ok(()));
                }
                (Phase::Answered(promised, done), ticket) => {
                    self.ticket = ticket;
                    self.end(promised, if done { Ok(()) } else { Err(Errno::EIO) });
                }
                (_, ticket) => {
                    self.ticket = ticket;
                    return false;
                }
            },
            Event::Host(done) => {
                let Phase::Flushed(promised) = m.phase else { return false };
                if done {
                    m.disk = m.memory;
                }
                m.phase = Phase::Answered(promised, done);
            }
            Event::Reclaim => {
                if m.range.is_clean() && m.mapped == [None; 2] {
                    return false;
                }
                let change = self.layout.change();
                m.mapped = [None; 2];
                drop(change);
                m.memory = m.stored;
                self.inode.fold(&mut m.range);
                m.reclaimed = true;
            }
        }
        true
    }

    fn end(&mut self, promised: [Option<u8>; 2], reply: Result<(), Errno>) {
        let Ticket::Flushed(writeback) = std::mem::replace(&mut self.ticket, Ticket::None) else { panic!() };
        let settled: Settled = self.inode.finish(writeback, reply).unwrap();
        match settled.apply(&mut self.machine.range) {
            Ok(()) | Err(Error::StaleWriteback) => {}
            Err(error) => panic!("{error}"),
        }
        self.machine.phase = Phase::Idle;
        if reply.is_ok() {
            for (number, version) in promised.into_iter().enumerate() {
                assert!(
                    version.is_none_or(|version| self.machine.disk[number] >= version),
                    "fsync returned, and what was stored before it is not on the disk"
                );
            }
        }
    }

    /// Whatever is not on the disk is in somebody's books.
    fn check(&self) {
        let m = &self.machine;
        for number in 0..2 {
            let tracked = m.range.dirty_runs(page(number as u64)).next().is_some()
                || m.range.writing_runs().any(|run| run.contains(number as u64 * PAGE_SIZE))
                || self.inode.needs_fsync();
            assert!(tracked || m.disk[number] == m.stored[number], "page {number} is lost: {m:?}");
            assert!(
                tracked || m.mapped[number] != Some(true),
                "page {number} can be stored to and nobody keeps track: {m:?}"
            );
        }
    }

    fn key(&self) -> impl Eq + std::hash::Hash + use<> {
        let m = &self.machine;
        let bits = |runs: fs_dax::ByteRuns<'_>| runs.map(|run| (run.start(), run.len())).collect::<Vec<_>>();
        let racing = self.fault_saw.map(|seen| self.layout.unchanged(seen));
        let ticket_owes = match &self.ticket {
            Ticket::None => None,
            Ticket::Collecting(writeback) => Some(writeback.needs_fsync()),
            Ticket::Protected(writeback) => Some(writeback.needs_fsync()),
            Ticket::Flushed(writeback) => Some(writeback.needs_fsync()),
        };
        (
            (m.stored, m.memory, m.disk, m.mapped, m.phase, m.deciding),
            (bits(m.range.dirty_runs(FileRange::ALL)), bits(m.range.writing_runs())),
            (self.inode.needs_fsync(), ticket_owes, racing, m.reclaimed && m.phase != Phase::Idle),
        )
    }
}

/// Every sequence of up to `DEPTH` events, states that were met before at no greater depth not entered again.
#[test]
fn no_order_of_events_loses_a_store() {
    const DEPTH: usize = if cfg!(miri) { 4 } else { 16 };
    let mut seen = HashSet::new();
    let mut paths = vec![Vec::new()];
    for depth in 0..DEPTH {
        let mut longer = Vec::new();
        for path in paths {
            for event in EVENTS {
                let mut run = Run::new();
                for event in &path {
                    assert!(run.step(*event));
                }
                if !run.step(event) {
                    continue;
                }
                run.check();
                if seen.insert(run.key()) {
                    longer.push([&path[..], &[event]].concat());
                }
            }
        }
        paths = longer;
        assert!(!paths.is_empty(), "the search ends at depth {depth}");
    }
    println!("{} states", seen.len());
    if !cfg!(miri) {
        assert!(seen.len() > 10_000, "{} states", seen.len());
    }
}
