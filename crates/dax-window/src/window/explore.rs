//! Small configurations, explored exhaustively: three callers on two ranges, every interleaving, every outcome.
//!
//! Each caller does one thing that it picks from a menu; at every moment any caller that can go on may be the next. A
//! state that was seen before is not gone into again. The reference model compares after every step; at the end it is
//! checked that from every state that was reached everyone can get to their end if the host does what it is asked from
//! then on: nothing is lost, and nobody waits for ever.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};
use core::sync::atomic::Ordering;
use std::collections::HashMap;
use std::hash::DefaultHasher;

use super::Window;
use crate::descriptor::Descriptor;
use crate::shared::SharedRef;
use crate::ticket::Claim;
use crate::{
    Config, EventSeq, FileKey, FileOffset, FileRange, HostRules, InvalidateKind, Outcome, Overlap, Purpose, Request,
    Stream, Upgrade,
};

#[path = "../../tests/support/rig.rs"]
#[expect(dead_code, reason = "the random test uses more of it")]
mod rig;

use rig::{Held, Out, RANGE, Rig, SetupOut, Used};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Action {
    Copy {
        chunk: u64,
        write: bool,
    },
    Map {
        chunk: u64,
        write: bool,
    },
    /// Chunk 0, of which half a range can be mapped now.
    MapHalf,
    Fault {
        write: bool,
    },
    /// A copy that does without the lock if it can.
    Use {
        write: bool,
    },
    Truncate {
        quiesce: bool,
    },
    Fsync,
    Reclaim,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    /// Told to wait until the counter has another value.
    Blocked(EventSeq),
    Asking,
    Done,
}

#[derive(Clone, Debug)]
struct World {
    rig: Rig,
    callers: Vec<(Option<Action>, Phase)>,
}

impl Clone for Held {
    fn clone(&self) -> Self {
        Self { hold: self.hold.clone(), write: self.write, owner: self.owner }
    }
}

impl Clone for Used {
    fn clone(&self) -> Self {
        Self { it: self.it.clone(), range: self.range, chunk: self.chunk, write: self.write, owner: self.owner }
    }
}

impl<T: Clone> Clone for Out<T> {
    fn clone(&self) -> Self {
        Self { it: self.it.clone(), owner: self.owner }
    }
}

impl Clone for SetupOut {
    fn clone(&self) -> Self {
        Self { ticket: self.ticket.clone(), req: self.req, owner: self.owner }
    }
}

impl Clone for Rig {
    fn clone(&self) -> Self {
        let shared = SharedRef::Counted(Arc::new(self.window.shared.fork()));
        let mut rig = Self {
            window: self.window.clone(),
            hits: self.hits.clone(),
            uses: self.uses.clone(),
            cleared: self.cleared.clone(),
            rules: self.rules,
            host: self.host.clone(),
            cells: self.cells.clone(),
            streams: self.streams.clone(),
            holds: self.holds.clone(),
            pins: Vec::new(),
            setups: self.setups.clone(),
            removes: self.removes.clone(),
            writebacks: self.writebacks.clone(),
            frozen: self.frozen.clone(),
            waits: self.waits.clone(),
            actor: 0,
            draining: self.draining,
            // What is given up is lost for good here.
            patient: false,
            passes: self.passes,
            late: Vec::new(),
            sent: self.sent.clone(),
        };
        rig.window.shared = shared.clone();
        rig.window.entries = self.window.entries.fork();
        rig.hits = rig.window.hits();
        rig.window.spare = None;
        let claims = rig.setups.iter_mut().map(|out| &mut out.ticket.claim);
        let claims = claims.chain(rig.removes.iter_mut().map(|out| &mut out.it.claim));
        let claims = claims.chain(rig.writebacks.iter_mut().map(|out| &mut out.it.claim));
        for claim in claims.chain(rig.frozen.iter_mut().map(|out| &mut out.it.0.claim)) {
            claim.shared = claim.shared.as_ref().map(|_| shared.clone());
        }
        rig
    }
}

/// A request for 8 bytes of a chunk of the file. Of chunk 1 half a range can be mapped.
fn request(chunk: u64, write: bool) -> Request {
    let (file, offset) = (FileKey(1), chunk * RANGE);
    let end = if chunk == 1 { RANGE + RANGE / 2 } else { 16 * RANGE };
    if write { Request::write(file, offset, 8, end) } else { Request::read(file, offset, 8, end) }
}

/// How many things of each kind somebody has.
fn things(rig: &Rig) -> [usize; 6] {
    [rig.setups.len(), rig.removes.len(), rig.holds.len(), rig.writebacks.len(), rig.frozen.len(), rig.uses.len()]
}

/// How a request can end, and whether the host did it (or, refusing an upgrade, lost what was there).
const OUTCOMES: [(Outcome, bool); 6] = [
    (Outcome::Done, true),
    (Outcome::Refused(5), false),
    (Outcome::Unknown, false),
    (Outcome::Unknown, true),
    (Outcome::Lost, true),
    (Outcome::Refused(5), true),
];

/// One thing that can happen next.
#[derive(Clone, Copy, Debug)]
enum Move {
    Pick(usize, Action),
    Ask(usize),
    Setup(usize, usize),
    DropSetup(usize, bool),
    Remove(usize, usize),
    DropRemove(usize, bool),
    Abort(usize, bool),
    Pinned(usize),
    Release(usize),
    EndFreeze(usize, bool),
    Writeback(usize, Option<bool>),
}

impl Move {
    /// Whether the host does what it is asked, and every ticket is reported.
    fn is_good(self) -> bool {
        match self {
            Self::Setup(_, n) | Self::Remove(_, n) => n == 0,
            Self::DropSetup(..) | Self::DropRemove(..) | Self::Abort(..) | Self::Pinned(_) => false,
            Self::EndFreeze(_, dropped) => !dropped,
            Self::Writeback(_, done) => done == Some(true),
            Self::Pick(..) | Self::Ask(_) | Self::Release(_) => true,
        }
    }
}

impl World {
    fn new(config: Config, callers: usize) -> Self {
        Self { rig: Rig::new(config, callers), callers: vec![(None, Phase::Idle); callers] }
    }

    fn is_over(&self) -> bool {
        self.callers.iter().all(|(_, phase)| *phase == Phase::Done)
    }

    fn moves(&self, menu: &[Action], moves: &mut Vec<Move>) {
        let rig = &self.rig;
        for (c, (action, phase)) in self.callers.iter().enumerate() {
            let Some(_) = action else {
                moves.extend(menu.iter().map(|action| Move::Pick(c, *action)));
                continue;
            };
            if rig.setups.iter().any(|out| out.owner == c) {
                let outcomes = if rig.rules.upgrade == Upgrade::Quiesce { 6 } else { 5 };
                moves.extend((0..outcomes).map(|n| Move::Setup(c, n)));
                moves.extend([Move::DropSetup(c, false), Move::DropSetup(c, true)]);
            } else if rig.removes.iter().any(|out| out.owner == c) {
                moves.extend((0..5).map(|n| Move::Remove(c, n)));
                moves.extend([Move::DropRemove(c, false), Move::DropRemove(c, true)]);
                moves.extend([Move::Abort(c, false), Move::Abort(c, true), Move::Pinned(c)]);
            } else if rig.holds.iter().any(|held| held.owner == c) || rig.uses.iter().any(|used| used.owner == c) {
                moves.push(Move::Release(c));
            } else if rig.writebacks.iter().any(|out| out.owner == c) {
                moves.extend([Some(true), Some(false), None].map(|done| Move::Writeback(c, done)));
            } else if *phase == Phase::Asking {
                moves.push(Move::Ask(c));
            } else if let Phase::Blocked(seq) = phase
                && *seq != rig.window.event_seq()
            {
                moves.push(Move::Ask(c));
            } else if *phase == Phase::Done && rig.frozen.iter().any(|out| out.owner == c) {
                moves.extend([Move::EndFreeze(c, false), Move::EndFreeze(c, true)]);
            }
        }
    }

    /// Asks the window; what came of it decides how the caller goes on.
    fn ask(&mut self, c: usize, action: Action) {
        let rig = &mut self.rig;
        rig.actor = c;
        let waits = rig.waits.len();
        let had = things(rig);
        let ask = |rig: &mut Rig, chunk: u64, write: bool, purpose| {
            // Nothing is learned about streams here: a fresh one each time keeps the states few.
            rig.streams[c] = Stream::new();
            rig.access(c, request(chunk, write).purpose(purpose));
        };
        let half = Request { mappable_end: FileOffset(RANGE / 2), ..request(0, false).purpose(Purpose::Map) };
        match action {
            Action::Copy { chunk, write } => ask(rig, chunk, write, Purpose::Copy),
            Action::Map { chunk, write } => ask(rig, chunk, write, Purpose::Map),
            Action::MapHalf => rig.access(c, half),
            Action::Fault { write } => ask(rig, 0, write, Purpose::Fault),
            Action::Use { write } => {
                if !rig.enter(c, request(0, write)) {
                    ask(rig, 0, write, Purpose::Copy);
                }
            }
            Action::Truncate { quiesce } => match rig.frozen.iter().position(|out| out.owner == c) {
                Some(n) => rig.invalidate_step(n),
                None => {
                    let kind = if quiesce { InvalidateKind::Quiesce } else { InvalidateKind::Remove };
                    rig.begin_invalidate(1, FileRange::between(RANGE / 2, RANGE), kind);
                }
            },
            Action::Fsync => rig.begin_writeback(1, FileRange::ALL),
            Action::Reclaim => rig.reclaim(),
        }
        let has = things(rig);
        self.callers[c].1 = match rig.waits.get(waits) {
            Some(wait) => Phase::Blocked(wait.seq),
            // Got something, and goes on when that is over.
            None if has != had => Phase::Asking,
            None => Phase::Done,
        };
        rig.waits.clear();
    }

    // Long: one arm for each thing that can happen.
    fn apply(&mut self, next: Move) {
        let rig = &mut self.rig;
        match next {
            Move::Pick(c, action) => self.callers[c] = (Some(action), Phase::Asking),
            Move::Ask(c) => {
                if let Some(action) = self.callers[c].0 {
                    self.ask(c, action);
                }
            }
            Move::Setup(c, n) => {
                let (outcome, applied) = OUTCOMES[n];
                let place = rig.setups.iter().position(|out| out.owner == c).unwrap();
                rig.actor = c;
                rig.report_setup(place, 0, outcome, applied);
                self.callers[c].1 = if outcome == Outcome::Unknown { Phase::Asking } else { Phase::Done };
            }
            Move::DropSetup(c, applied) => {
                let place = rig.setups.iter().position(|out| out.owner == c).unwrap();
                rig.drop_setup(place, u32::from(applied));
                self.callers[c].1 = Phase::Done;
            }
            Move::Remove(c, n) => {
                let (outcome, applied) = OUTCOMES[n];
                let place = rig.removes.iter().position(|out| out.owner == c).unwrap();
                rig.complete_remove(place, outcome, if applied { u32::MAX } else { 0 });
            }
            Move::DropRemove(c, applied) => {
                let place = rig.removes.iter().position(|out| out.owner == c).unwrap();
                rig.drop_remove(place, u32::from(applied));
            }
            Move::Abort(c, unmapped) => {
                let place = rig.removes.iter().position(|out| out.owner == c).unwrap();
                rig.abort_remove(place, unmapped);
                // It gives up; a truncation lets everybody in again.
                self.callers[c].1 = Phase::Done;
            }
            Move::Pinned(c) => {
                let place = rig.removes.iter().position(|out| out.owner == c).unwrap();
                rig.abort_pinned(place, u32::MAX);
                self.callers[c].1 = Phase::Done;
            }
            Move::Release(c) => {
                let place = rig.holds.iter().position(|held| held.owner == c);
                match (place, self.callers[c].0) {
                    (Some(place), Some(Action::Fault { .. })) => rig.install(place),
                    (Some(place), _) => rig.release(place),
                    (None, _) => rig.leave(rig.uses.iter().position(|used| used.owner == c).unwrap()),
                }
                self.callers[c].1 = Phase::Done;
            }
            Move::EndFreeze(c, dropped) => {
                let place = rig.frozen.iter().position(|out| out.owner == c).unwrap();
                rig.end_invalidate(place, dropped);
            }
            Move::Writeback(c, done) => {
                let place = rig.writebacks.iter().position(|out| out.owner == c).unwrap();
                rig.end_writeback(place, done);
                self.callers[c].1 = if done == Some(true) { Phase::Asking } else { Phase::Done };
            }
        }
        self.rig.check();
    }

    /// What tells states apart. The callers are alike, so it does not matter which of them is in which situation.
    fn digest(&self) -> u64 {
        let mut hash = DefaultHasher::new();
        let rig = &self.rig;
        rig.window.digest(&mut hash);
        (&rig.cells, &rig.host).hash(&mut hash);
        let slot_of = |claim: &Claim| u32::from(claim.slot);
        let mut callers: Vec<_> = self
            .callers
            .iter()
            .enumerate()
            .map(|(c, (action, phase))| {
                let phase = match phase {
                    Phase::Idle => 0u8,
                    Phase::Asking => 1,
                    Phase::Done => 2,
                    Phase::Blocked(seq) => 3 + u8::from(*seq == rig.window.event_seq()),
                };
                let held = rig.holds.iter().find(|out| out.owner == c).map(|out| out.hold.range().get());
                let used = rig.uses.iter().find(|out| out.owner == c).map(|out| out.range);
                let setup = rig.setups.iter().find(|out| out.owner == c).map(|out| slot_of(&out.ticket.claim));
                let remove = rig.removes.iter().find(|out| out.owner == c).map(|out| slot_of(&out.it.claim));
                let writeback = rig.writebacks.iter().find(|out| out.owner == c).map(|out| slot_of(&out.it.claim));
                let frozen = rig.frozen.iter().position(|out| out.owner == c);
                let frozen = frozen.map(|n| (slot_of(&rig.frozen[n].it.0.claim), rig.cleared[n]));
                (*action, phase, (held, used), setup, remove, writeback, frozen)
            })
            .collect();
        callers.sort_unstable();
        callers.hash(&mut hash);
        hash.finish()
    }
}

impl Window {
    /// Everything that decides what happens next; not what is only counted.
    fn digest(&self, hash: &mut DefaultHasher) {
        for (Descriptor { prev, next, refs, flags, state, .. }, entry) in
            self.descriptors.iter().zip(self.entries.iter())
        {
            (prev, next, refs, flags, *state as u8).hash(hash);
            let open = entry.is_open().then(|| entry.rights());
            (entry.key(), entry.chain(), entry.bucket(), entry.pages(), open, entry.uses().visits).hash(hash);
        }
        for slot in self.shared.slots() {
            slot.mark.load(Ordering::Relaxed).hash(hash);
        }
        for list in [&self.free, &self.unclean, &self.queue, &self.newcomers, &self.suspects] {
            (list.head, list.tail).hash(hash);
        }
        for slot in self.slots.iter().filter(|slot| slot.kind != super::SlotUse::Unused) {
            (slot.kind as u8, slot.list.head, slot.list.tail).hash(hash);
        }
        (self.slots_used, self.tree.root, self.draining, self.ref_waiters).hash(hash);
        self.freezes.digest(hash);
        self.refusals.digest(hash);
    }
}

/// Goes everywhere; returns how many states there are.
fn explore(config: Config, callers: usize, menu: &[Action], passes: bool) -> usize {
    let mut start = World::new(config, callers);
    start.rig.passes = passes;
    let mut known = HashMap::from([(start.digest(), 0usize)]);
    let mut edges: Vec<Vec<usize>> = vec![Vec::new()];
    let mut over = vec![start.is_over()];
    let mut todo = vec![(0, start)];
    let mut moves = Vec::new();
    while let Some((id, world)) = todo.pop() {
        moves.clear();
        world.moves(menu, &mut moves);
        assert!(!moves.is_empty() || world.is_over(), "everyone is stuck: {world:#?}");
        for next in &moves {
            let mut after = world.clone();
            after.apply(*next);
            let fresh = known.len();
            let to = *known.entry(after.digest()).or_insert(fresh);
            if to == fresh {
                edges.push(Vec::new());
                over.push(after.is_over() && after.rig.frozen.is_empty());
                todo.push((to, after));
            }
            if next.is_good() {
                edges[to].push(id);
            }
        }
    }
    // Backwards from where everyone is done, along the moves that go well.
    let mut ends: Vec<usize> = (0..over.len()).filter(|id| over[*id]).collect();
    let mut reached = over;
    while let Some(id) = ends.pop() {
        for from in &edges[id] {
            if !reached[*from] {
                reached[*from] = true;
                ends.push(*from);
            }
        }
    }
    let lost = reached.iter().filter(|reached| !**reached).count();
    assert_eq!(lost, 0, "of {} states so many lead nowhere", reached.len());
    reached.len()
}

fn config(ranges: u64, host: HostRules) -> Config {
    let mut config = Config::new(ranges * RANGE);
    config.host = host;
    config.guard = None;
    config.reclaim.max_share = 0;
    config.read_ahead.max_ranges = 0;
    config
}

fn hosts() -> impl Iterator<Item = HostRules> {
    let upgrades = [Upgrade::Atomic, Upgrade::Quiesce, Upgrade::Remove];
    [Overlap::Replace, Overlap::Refuse]
        .into_iter()
        .flat_map(move |overlap| upgrades.map(|upgrade| HostRules { overlap, upgrade }))
}

const READ: Action = Action::Map { chunk: 0, write: false };
const WRITE: Action = Action::Map { chunk: 0, write: true };

/// Two callers do anything at all.
#[test]
fn two_callers_do_anything() {
    let menu = [
        READ,
        WRITE,
        Action::Map { chunk: 1, write: false },
        Action::Copy { chunk: 2, write: true },
        Action::MapHalf,
        Action::Fault { write: true },
        Action::Use { write: false },
        Action::Use { write: true },
        Action::Truncate { quiesce: false },
        Action::Truncate { quiesce: true },
        Action::Fsync,
        Action::Reclaim,
    ];
    let mut states = 0;
    for host in hosts() {
        states += explore(config(1, host), 2, &menu, false);
        states += explore(config(2, host), 2, &menu, true);
    }
    std::println!("{states} states");
}

fn explore_three(host: HostRules) {
    let menus: [&[Action]; 6] = [
        &[Action::Use { write: false }, WRITE, Action::Truncate { quiesce: false }],
        &[Action::Use { write: true }, Action::Map { chunk: 1, write: false }, Action::Fsync],
        &[WRITE, Action::Fsync, Action::Truncate { quiesce: false }],
        &[Action::Fault { write: true }, Action::Map { chunk: 1, write: false }, Action::Fsync],
        &[READ, WRITE, Action::Truncate { quiesce: false }],
        &[READ, Action::Map { chunk: 1, write: false }, Action::Copy { chunk: 2, write: true }],
    ];
    let mut states = 0;
    for menu in &menus {
        let found = explore(config(2, host), 3, menu, false);
        std::println!("{host:?} {menu:?}: {found} states");
        states += found;
    }
    std::println!("{states} states");
}

#[test]
#[cfg_attr(miri, ignore = "too many states for an interpreter")]
fn three_callers_on_two_ranges_of_a_replacing_host() {
    explore_three(HostRules::REPLACING);
}

#[test]
#[cfg_attr(miri, ignore = "too many states for an interpreter")]
fn three_callers_on_two_ranges_of_a_strict_host() {
    explore_three(HostRules::STRICT);
}

#[test]
#[cfg_attr(miri, ignore = "too many states for an interpreter")]
fn three_callers_on_two_ranges_of_a_translating_host() {
    explore_three(HostRules::TRANSLATING);
}
