//! Random interleavings of many callers against the reference model, with outcomes that fail or stay unknown.

#[path = "support/rig.rs"]
#[expect(dead_code, reason = "the exhaustive exploration uses more of it")]
mod rig;

use dax_window::{Config, FileKey, FileRange, HostRules, InvalidateKind, Outcome, Overlap, Purpose, Request, Upgrade};
use proptest::prelude::*;
use rig::{PAGE_SIZE, RANGE, Rig};

#[derive(Clone, Copy, Debug)]
enum Op {
    Access { caller: usize, file: u64, chunk: u64, at: u8, write: bool, purpose: u8, end: u8, long: bool },
    ReadAhead { caller: usize, file: u64 },
    Report { n: usize, entry: usize, outcome: u8, applied: bool },
    DropSetup { n: usize, applied: u32 },
    Remove { n: usize, outcome: u8, applied: u32 },
    Abort { n: usize, unmapped: bool },
    AbortPinned { n: usize, pinned: u32 },
    DropRemove { n: usize, applied: u32 },
    Enter { caller: usize, file: u64, chunk: u64, at: u8, write: bool, end: u8 },
    Leave { n: usize },
    Release { n: usize },
    Install { n: usize },
    Pin { n: usize },
    Unpin { n: usize },
    Invalidate { file: u64, start: u8, len: u8, quiesce: bool },
    InvalidateStep { n: usize },
    EndInvalidate { n: usize, dropped: bool },
    Writeback { file: u64, start: u8, len: u8 },
    EndWriteback { n: usize, done: Option<bool> },
    Late { n: usize, carried_out: bool, clear: bool },
    Reclaim,
    Drain { begin: bool },
    DrainStep,
}

fn op() -> impl Strategy<Value = Op> {
    let n = 0usize..16;
    prop_oneof![
        30 => (0usize..4, 0u64..3, 0u64..5, 0u8..4, any::<bool>(), 0u8..3, 0u8..8, any::<bool>()).prop_map(
            |(caller, file, chunk, at, write, purpose, end, long)| Op::Access {
                caller, file, chunk, at, write, purpose, end, long
            }
        ),
        2 => (0usize..4, 0u64..3).prop_map(|(caller, file)| Op::ReadAhead { caller, file }),
        25 => (n.clone(), 0usize..16, 0u8..20, any::<bool>())
            .prop_map(|(n, entry, outcome, applied)| Op::Report { n, entry, outcome, applied }),
        1 => (n.clone(), any::<u32>()).prop_map(|(n, applied)| Op::DropSetup { n, applied }),
        12 => (n.clone(), 0u8..20, any::<u32>()).prop_map(|(n, outcome, applied)| Op::Remove { n, outcome, applied }),
        2 => (n.clone(), any::<bool>()).prop_map(|(n, unmapped)| Op::Abort { n, unmapped }),
        2 => (n.clone(), any::<u32>()).prop_map(|(n, pinned)| Op::AbortPinned { n, pinned }),
        1 => (n.clone(), any::<u32>()).prop_map(|(n, applied)| Op::DropRemove { n, applied }),
        15 => (0usize..4, 0u64..3, 0u64..5, 0u8..4, any::<bool>(), 0u8..8)
            .prop_map(|(caller, file, chunk, at, write, end)| Op::Enter { caller, file, chunk, at, write, end }),
        12 => n.clone().prop_map(|n| Op::Leave { n }),
        20 => n.clone().prop_map(|n| Op::Release { n }),
        4 => n.clone().prop_map(|n| Op::Install { n }),
        2 => n.clone().prop_map(|n| Op::Pin { n }),
        3 => n.clone().prop_map(|n| Op::Unpin { n }),
        2 => (0u64..3, 0u8..10, 0u8..10, any::<bool>())
            .prop_map(|(file, start, len, quiesce)| Op::Invalidate { file, start, len, quiesce }),
        6 => n.clone().prop_map(|n| Op::InvalidateStep { n }),
        3 => (n.clone(), prop::bool::weighted(0.2)).prop_map(|(n, dropped)| Op::EndInvalidate { n, dropped }),
        3 => (0u64..3, 0u8..10, 0u8..10).prop_map(|(file, start, len)| Op::Writeback { file, start, len }),
        6 => (n.clone(), any::<bool>(), prop::bool::weighted(0.8))
            .prop_map(|(n, carried_out, clear)| Op::Late { n, carried_out, clear }),
        4 => (n, prop::option::weighted(0.9, any::<bool>())).prop_map(|(n, done)| Op::EndWriteback { n, done }),
        4 => Just(Op::Reclaim),
        1 => any::<bool>().prop_map(|begin| Op::Drain { begin }),
        1 => Just(Op::DrainStep),
    ]
}

fn outcome(number: u8) -> Outcome {
    match number {
        0 => Outcome::Refused(5),
        1 => Outcome::Unknown,
        2 => Outcome::Lost,
        _ => Outcome::Done,
    }
}

/// Bytes in half ranges; lengths from 8 on mean "to the end".
fn bytes(start: u8, len: u8) -> FileRange {
    let start = u64::from(start) * RANGE / 2;
    if len >= 8 { FileRange::from(start) } else { FileRange::between(start, start + u64::from(len) * RANGE / 2) }
}

fn pick<T>(list: &[T], n: usize) -> Option<usize> {
    if list.is_empty() { None } else { Some(n % list.len()) }
}

// Long: one arm for each event of the model.
fn step(rig: &mut Rig, op: Op) {
    match op {
        Op::Access { caller, file, chunk, at, write, purpose, end, long } => {
            let offset = chunk * RANGE + [0, 4096, RANGE / 2 + 77, RANGE - 1][usize::from(at)];
            let end = match end {
                0 => chunk * RANGE + RANGE / 2,
                1 => chunk * RANGE,
                2 => chunk * RANGE + 3 * PAGE_SIZE + 5,
                3 => u64::MAX,
                _ => 5 * RANGE,
            };
            let len = if long { 3 * RANGE } else { 100 };
            let file = FileKey(file);
            let req =
                if write { Request::write(file, offset, len, end) } else { Request::read(file, offset, len, end) };
            let req = req.purpose([Purpose::Copy, Purpose::Map, Purpose::Fault][usize::from(purpose)]);
            rig.access(caller, req);
        }
        Op::Enter { caller, file, chunk, at, write, end } => {
            let offset = chunk * RANGE + [0, 4096, RANGE / 2 + 77, RANGE - 1][usize::from(at)];
            let end = if end == 0 { chunk * RANGE + RANGE / 2 } else { 5 * RANGE };
            let (file, len) = (FileKey(file), if at == 3 { 1 } else { 100 });
            let req =
                if write { Request::write(file, offset, len, end) } else { Request::read(file, offset, len, end) };
            rig.enter(caller, req);
        }
        Op::Leave { n } => {
            if let Some(n) = pick(&rig.uses, n) {
                rig.leave(n);
            }
        }
        Op::ReadAhead { caller, file } => rig.read_ahead(caller, Request::read(FileKey(file), 0, 1, 5 * RANGE)),
        Op::Report { n, entry, outcome: number, applied } => {
            if let Some(n) = pick(&rig.setups, n) {
                let ticket = &rig.setups[n].ticket;
                let open: Vec<usize> = (0..ticket.len()).filter(|entry| ticket.is_pending(*entry)).collect();
                let entry = open[entry % open.len()];
                rig.report_setup(n, entry, outcome(number), applied);
            }
        }
        Op::DropSetup { n, applied } => {
            if let Some(n) = pick(&rig.setups, n) {
                rig.drop_setup(n, applied);
            }
        }
        Op::Remove { n, outcome: number, applied } => {
            if let Some(n) = pick(&rig.removes, n) {
                rig.complete_remove(n, outcome(number), applied);
            }
        }
        Op::Abort { n, unmapped } => {
            if let Some(n) = pick(&rig.removes, n) {
                rig.abort_remove(n, unmapped);
            }
        }
        Op::AbortPinned { n, pinned } => {
            if let Some(n) = pick(&rig.removes, n) {
                rig.abort_pinned(n, pinned);
            }
        }
        Op::DropRemove { n, applied } => {
            if let Some(n) = pick(&rig.removes, n) {
                rig.drop_remove(n, applied);
            }
        }
        Op::Release { n } => {
            if let Some(n) = pick(&rig.holds, n) {
                rig.release(n);
            }
        }
        Op::Install { n } => {
            if let Some(n) = pick(&rig.holds, n) {
                rig.install(n);
            }
        }
        Op::Pin { n } => {
            if let Some(n) = pick(&rig.holds, n) {
                rig.pin(n);
            }
        }
        Op::Unpin { n } => {
            if let Some(n) = pick(&rig.pins, n) {
                rig.unpin(n);
            }
        }
        Op::Invalidate { file, start, len, quiesce } => {
            let kind = if quiesce { InvalidateKind::Quiesce } else { InvalidateKind::Remove };
            rig.begin_invalidate(file, bytes(start, len), kind);
        }
        Op::InvalidateStep { n } => {
            if let Some(n) = pick(&rig.frozen, n) {
                rig.invalidate_step(n);
            }
        }
        Op::EndInvalidate { n, dropped } => {
            if let Some(n) = pick(&rig.frozen, n) {
                rig.end_invalidate(n, dropped);
            }
        }
        Op::Writeback { file, start, len } => rig.begin_writeback(file, bytes(start, len)),
        Op::EndWriteback { n, done } => {
            if let Some(n) = pick(&rig.writebacks, n) {
                rig.end_writeback(n, done);
            }
        }
        Op::Late { n, carried_out, clear } => {
            if let Some(n) = pick(&rig.late, n) {
                rig.late_answer(n, carried_out, clear);
            }
        }
        Op::Reclaim => rig.reclaim(),
        Op::Drain { begin: true } => rig.begin_drain(),
        Op::Drain { begin: false } => rig.end_drain(),
        Op::DrainStep => {
            rig.drain_step();
        }
    }
    rig.check();
}

fn host() -> impl Strategy<Value = HostRules> {
    let overlap = prop_oneof![Just(Overlap::Replace), Just(Overlap::Refuse)];
    let upgrade = prop_oneof![Just(Upgrade::Atomic), Just(Upgrade::Quiesce), Just(Upgrade::Remove)];
    (overlap, upgrade).prop_map(|(overlap, upgrade)| HostRules { overlap, upgrade })
}

fn run(ranges: u64, host: HostRules, batch: usize, (patient, passes): (bool, bool), ops: Vec<Op>) {
    let mut config = Config::new(ranges * RANGE);
    config.host = host;
    config.max_batch = batch;
    let mut rig = Rig::new(config, 4);
    rig.patient = patient;
    rig.passes = passes;
    for op in ops {
        step(&mut rig, op);
    }
    rig.wind_down();
}

#[cfg(not(miri))]
const CASES: u32 = 1000;
#[cfg(miri)]
const CASES: u32 = 4;

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_model(
        ranges in prop_oneof![Just(1u64), Just(2), Just(3), Just(8)],
        host in host(),
        batch in prop_oneof![Just(1usize), Just(2), Just(256)],
        patient in any::<(bool, bool)>(),
        ops in prop::collection::vec(op(), 1..if cfg!(miri) { 40 } else { 200 }),
    ) {
        run(ranges, host, batch, patient, ops);
    }
}
