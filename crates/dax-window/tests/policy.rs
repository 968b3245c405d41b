//! What the window decides: read-ahead, eviction, reclaim, guard, refusals, limits.

use dax_window::{
    Access, Bypass, Config, ConfigError, Cursor, Descriptor, FileKey, FileOffset, FileRange, GuardConfig, HostRules,
    InvalidateKind, MAX_TICKETS, Outcome, Purpose, RangeEntry, RangeRef, Request, Shared, Step, Storage, Stream,
    Tickets, WaitReason, Window, Writeback,
};

const RANGE: u64 = 2 << 20;
const END: u64 = u64::MAX;
const A: FileKey = FileKey(1);
const B: FileKey = FileKey(2);

fn config(ranges: u64, host: HostRules) -> Config {
    let mut config = Config::new(ranges * RANGE);
    config.host = host;
    config
}

fn plain(ranges: u64, host: HostRules) -> Config {
    let mut config = config(ranges, host);
    config.guard = None;
    config.read_ahead.max_ranges = 0;
    config
}

fn at(chunk: u64) -> Request {
    Request::read(A, chunk * RANGE, 4096, END)
}

/// Carries an access out on a host that does what is asked of it: the hold, how many set-ups, how many removals.
fn get(window: &mut Window, stream: &mut Stream, req: &Request) -> (RangeRef, usize, usize) {
    let (mut setups, mut removals) = (0, 0);
    for _ in 0..16 {
        match window.access(stream, req) {
            Access::Hit(hold) => return (hold, setups, removals),
            Access::Setup(ticket) => {
                setups += ticket.len();
                let outcomes = vec![Outcome::Done; ticket.len()];
                let hold = window.complete_setup(ticket, &outcomes).unwrap().unwrap();
                if window.ranges() <= 64 {
                    window.check_invariants().unwrap();
                }
                return (hold, setups, removals);
            }
            Access::Evict(ticket) => {
                removals += ticket.len();
                window.complete_remove(ticket, Outcome::Done);
            }
            answer => panic!("nobody else is there: {answer:?}"),
        }
    }
    panic!("no end");
}

/// Uses a chunk for a moment; whether it was there.
fn touch(window: &mut Window, stream: &mut Stream, req: &Request) -> bool {
    let (hold, setups, _) = get(window, stream, req);
    window.release(hold);
    setups == 0
}

#[test]
fn a_sequential_reader_gets_more_and_more_ahead() {
    let mut window = Window::on_heap(config(128, HostRules::STRICT)).unwrap();
    let mut stream = Stream::new();
    let mut batches = Vec::new();
    for n in 0..60 * 8 {
        let req = Request::read(A, n * RANGE / 8, RANGE / 8, END);
        let (hold, setups, _) = get(&mut window, &mut stream, &req);
        window.release(hold);
        if setups > 0 {
            batches.push(setups);
        }
    }
    assert_eq!(batches[..3], [2, 5, 9]);
    assert!(batches.len() <= 10, "{batches:?}");
    assert!(batches[3..].iter().all(|batch| *batch == 9), "{batches:?}");
    let stats = window.stats();
    assert!(stats.ahead_used + 8 >= stats.ahead_issued && stats.ahead_used > 40, "{stats:?}");
}

#[test]
fn going_on_in_the_rest_of_a_large_request_is_sequential() {
    let mut window = Window::on_heap(config(64, HostRules::STRICT)).unwrap();
    let mut stream = Stream::new();
    let (mut offset, end, mut tickets) = (RANGE, 31 * RANGE, 0);
    while offset < end {
        let (hold, setups, _) = get(&mut window, &mut stream, &Request::read(A, offset, end - offset, END));
        tickets += u32::from(setups > 0);
        offset += hold.len();
        window.release(hold);
    }
    // What the request itself needs is asked for at once, as much as fits into a ticket.
    assert_eq!(tickets, 30 / 9 + 1);
}

#[test]
fn a_random_reader_gets_nothing_ahead() {
    let mut window = Window::on_heap(config(128, HostRules::STRICT)).unwrap();
    let mut stream = Stream::new();
    for n in 0..100 {
        touch(&mut window, &mut stream, &at(1 + (n * 37) % 101));
    }
    assert_eq!(window.stats().ahead_issued, 0);
}

#[test]
fn read_ahead_runs_beside_the_reader() {
    let mut window = Window::on_heap(config(64, HostRules::STRICT)).unwrap();
    let mut stream = Stream::new();
    let mut stalls = 0;
    for n in 0..40 {
        let req = Request::read(A, n * RANGE, RANGE, END);
        let (hold, setups, _) = get(&mut window, &mut stream, &req);
        stalls += u32::from(setups > 0);
        let due = hold.wants_read_ahead();
        window.release(hold);
        if due {
            let ticket = window.read_ahead(&mut stream, &req).expect("it was due");
            assert!(ticket.is_ahead());
            let outcomes = vec![Outcome::Done; ticket.len()];
            assert_eq!(window.complete_setup(ticket, &outcomes), Ok(None));
        }
    }
    assert!(stalls <= 3, "{stalls}");
    window.check_invariants().unwrap();
}

#[test]
fn who_waits_for_one_mapping_of_a_ticket_need_not_wait_for_all() {
    let mut window = Window::on_heap(config(64, HostRules::STRICT)).unwrap();
    let wanted = Request::read(A, 0, 2 * RANGE, END);
    let Access::Setup(mut ticket) = window.access(&mut Stream::new(), &wanted) else { panic!() };
    assert_eq!(ticket.len(), 2);
    let second = Request::read(A, RANGE, 4096, END);
    let Access::Wait(wait) = window.access(&mut Stream::new(), &second) else { panic!() };
    assert!(window.report_setup(&mut ticket, 1, Outcome::Done).is_none());
    assert_ne!(wait.seq, window.event_seq(), "notified as soon as its mapping is there");
    let hold = window.hit(&mut Stream::new(), &second).unwrap();
    window.release(hold);
    // Nobody waits any more: there is nobody to tell.
    let quiet = window.event_seq();
    let hold = window.report_setup(&mut ticket, 0, Outcome::Done).unwrap();
    assert_eq!(quiet, window.event_seq());
    window.release(hold);
    window.check_invariants().unwrap();
}

#[test]
fn read_ahead_stops_at_what_can_be_mapped_and_at_what_is_frozen() {
    let mut window = Window::on_heap(config(64, HostRules::STRICT)).unwrap();
    let end = 2 * RANGE + 3 * 4096 + 7;
    let Access::Setup(ticket) = window.access(&mut Stream::new(), &Request::read(A, 0, 3 * RANGE, end)) else {
        panic!()
    };
    let lens: Vec<u64> = window.setup_entries(&ticket).map(|entry| entry.len).collect();
    assert_eq!(lens, [RANGE, RANGE, 3 * 4096]);
    drop(ticket);
    let frozen = window.begin_invalidate(B, FileRange::from(2 * RANGE), InvalidateKind::Remove).unwrap();
    let Access::Setup(ticket) = window.access(&mut Stream::new(), &Request::read(B, 0, 8 * RANGE, END)) else {
        panic!()
    };
    assert_eq!(ticket.len(), 2);
    drop(ticket);
    window.end_invalidate(frozen);
    window.check_invariants().unwrap();
}

#[test]
fn a_working_set_as_large_as_the_window_stays() {
    for host in [HostRules::STRICT, HostRules::REPLACING] {
        let mut window = Window::on_heap(config(64, host)).unwrap();
        for round in 0..20 {
            for chunk in 0..64 {
                let there = touch(&mut window, &mut Stream::new(), &at(chunk + 100));
                assert!(there || round == 0, "round {round}, chunk {chunk}");
                assert!(window.reclaim_step().is_none());
            }
        }
        assert_eq!(window.stats().evictions, 0);
    }
}

#[test]
fn reclaim_hides_the_round_trip_and_stops_with_the_demand() {
    let mut window = Window::on_heap(plain(64, HostRules::STRICT)).unwrap();
    let mut stalls = 0;
    for chunk in 0..1000 {
        let (hold, _, removals) = get(&mut window, &mut Stream::new(), &at(chunk));
        window.release(hold);
        if chunk >= 200 {
            stalls += u32::from(removals > 0);
        }
        // The removal is under way while the next callers take what is free.
        if let Some(ticket) = window.reclaim_step() {
            for n in 0..2 {
                let (hold, _, removals) = get(&mut window, &mut Stream::new(), &at(10_000 + 2 * chunk + n));
                stalls += u32::from(removals > 0 && chunk >= 200);
                window.release(hold);
            }
            window.complete_remove(ticket, Outcome::Done);
        }
    }
    let target = window.stats().reclaim_target;
    assert!((1..=8).contains(&target), "{target}");
    assert!(stalls < 20, "{stalls}");
    // Nothing is asked for any more: nothing is kept free any more.
    let resident = at(999);
    for _ in 0..5000 {
        touch(&mut window, &mut Stream::new(), &resident);
    }
    assert_eq!(window.stats().reclaim_target, 0);
    assert!(window.reclaim_step().is_none());
}

#[test]
fn what_is_used_again_survives_a_scan() {
    let mut window = Window::on_heap(plain(32, HostRules::STRICT)).unwrap();
    for _ in 0..4 {
        for chunk in 0..8 {
            touch(&mut window, &mut Stream::new(), &at(chunk));
        }
    }
    for chunk in 1000..1040 {
        touch(&mut window, &mut Stream::new(), &at(chunk));
    }
    let kept = (0..8).filter(|chunk| touch(&mut window, &mut Stream::new(), &at(*chunk))).count();
    assert_eq!(kept, 8);
}

#[test]
fn many_small_reads_of_a_stream_are_one_use() {
    let mut window = Window::on_heap(plain(16, HostRules::STRICT)).unwrap();
    // A popular chunk, and a scan by 4 KiB reads which touches each of its chunks hundreds of times.
    for _ in 0..4 {
        touch(&mut window, &mut Stream::new(), &at(500));
    }
    let mut stream = Stream::new();
    for n in 0..40 * 512 {
        touch(&mut window, &mut stream, &Request::read(B, n * 4096, 4096, END));
        if n % 2048 == 0 {
            touch(&mut window, &mut Stream::new(), &at(500));
        }
    }
    assert!(touch(&mut window, &mut Stream::new(), &at(500)));
    assert_eq!(window.stats().setups, 41);
}

#[test]
fn a_loop_larger_than_the_window_keeps_part_of_it() {
    let mut window = Window::on_heap(plain(64, HostRules::STRICT)).unwrap();
    let mut hits = 0;
    for n in 0..96 * 40u64 {
        let there = touch(&mut window, &mut Stream::new(), &at(n % 96));
        hits += u64::from(there && n >= 96 * 20);
    }
    assert!(window.stats().newest_first);
    // The best possible is about two thirds.
    assert!(hits * 100 / (96 * 20) > 40, "{hits}");
}

#[test]
fn ranges_in_use_cost_the_hand_one_step_each() {
    let mut window = Window::on_heap(plain(512, HostRules::STRICT)).unwrap();
    for chunk in 0..512 {
        touch(&mut window, &mut Stream::new(), &at(chunk));
    }
    let held: Vec<RangeRef> = (0..500).map(|chunk| get(&mut window, &mut Stream::new(), &at(chunk)).0).collect();
    for chunk in 1000..3000 {
        touch(&mut window, &mut Stream::new(), &at(chunk));
    }
    let stats = window.stats();
    assert!(stats.evictions >= 1900 && stats.hand_steps <= 500 + 3 * stats.evictions, "{stats:?}");
    for hold in held {
        window.release(hold);
    }
    window.check_invariants().unwrap();
}

#[test]
fn removals_come_in_batches_over_inodes() {
    let mut config = plain(64, HostRules::STRICT);
    config.max_batch = 5;
    let mut window = Window::on_heap(config).unwrap();
    for chunk in 0..64 {
        let file = FileKey(chunk % 4);
        touch(&mut window, &mut Stream::new(), &Request::read(file, chunk * RANGE, 1, END));
    }
    let long = Request::read(A, 1000 * RANGE, 9 * RANGE, END);
    let Access::Evict(ticket) = window.access(&mut Stream::new(), &long) else { panic!() };
    assert_eq!(ticket.len(), 5);
    let files: std::collections::BTreeSet<u64> = window.remove_entries(&ticket).map(|entry| entry.file.0).collect();
    assert_eq!(files.len(), 4);
    window.complete_remove(ticket, Outcome::Done);
}

fn random(state: &mut u64, below: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 11) % below
}

/// Small random reads; how many went round.
fn thrash(window: &mut Window, state: &mut u64, count: u64, chunks: u64) -> u64 {
    let mut stream = Stream::new();
    let mut rounds = 0;
    for _ in 0..count {
        let offset = (1000 + random(state, chunks)) * RANGE + random(state, RANGE / 4096) * 4096;
        let req = Request::read(A, offset, 4096, END);
        match window.access(&mut stream, &req) {
            Access::Bypass(Bypass::Guard) => rounds += 1,
            Access::Hit(hold) => window.release(hold),
            Access::Setup(ticket) => {
                let hold = window.complete_setup(ticket, &[Outcome::Done]).unwrap().unwrap();
                window.release(hold);
            }
            Access::Evict(ticket) => {
                window.complete_remove(ticket, Outcome::Done);
            }
            answer => panic!("{answer:?}"),
        }
    }
    rounds
}

fn guarded(ranges: u64) -> Window {
    let mut config = config(ranges, HostRules::STRICT);
    config.guard = Some(GuardConfig { ratio: 8, small_len: 64 << 10, samples: 16 });
    // Nothing is kept free, so that every miss needs an eviction.
    config.reclaim.max_share = 0;
    Window::on_heap(config).unwrap()
}

#[test]
fn the_guard_trips_spares_the_window_and_finds_its_way_back() {
    let mut window = guarded(32);
    let mut state = 88_172_645_463_325_252;
    let rounds = thrash(&mut window, &mut state, 20_000, 128);
    let stats = window.stats();
    assert!(stats.guard_on && stats.guard_tripped && stats.guard_trips >= 1, "{stats:?}");
    assert!(rounds > 10_000 && stats.around(Bypass::Guard) == rounds, "{rounds}");
    assert!(stats.evictions < 1000, "{stats:?}");
    // Three of four chunks have no mapping, and hits go on all the same.
    assert!(stats.hits > 3000, "{stats:?}");
    // The same kind of access to what fits: it gets in, and stays.
    let rounds = thrash(&mut window, &mut state, 1_000, 16);
    assert!(rounds < 500, "{rounds}");
    let before = window.stats().hits;
    let rounds = thrash(&mut window, &mut state, 10_000, 16);
    assert!(rounds < 100, "{rounds}");
    assert!(window.stats().hits - before > 9_900);
}

#[test]
fn the_guard_leaves_everything_else_alone() {
    let mut window = guarded(32);
    let mut state = 88_172_645_463_325_252;
    thrash(&mut window, &mut state, 20_000, 128);
    assert!(window.stats().guard_on);
    let absent = 5_000_000 * RANGE;
    let goes_in = |window: &mut Window, req: Request| match window.access(&mut Stream::new(), &req) {
        Access::Evict(ticket) => {
            window.abort_remove(ticket, false);
            true
        }
        _ => false,
    };
    let small = Request::read(A, absent + 8192, 4096, END);
    assert!(!goes_in(&mut window, small));
    assert!(!goes_in(&mut window, Request::write(A, absent + 8192, 4096, END)));
    assert!(goes_in(&mut window, small.purpose(Purpose::Fault)));
    assert!(goes_in(&mut window, small.purpose(Purpose::Map)));
    assert!(goes_in(&mut window, Request::read(A, absent + 8192, (64 << 10) + 1, END)));
    // A sequential reader of small pieces.
    let mut stream = Stream::new();
    for n in 0..512 * 3 {
        touch(&mut window, &mut stream, &Request::read(B, n * 4096, 4096, END));
    }
}

#[test]
fn the_guard_can_be_switched_off() {
    let mut config = config(32, HostRules::STRICT);
    config.guard = None;
    let mut window = Window::on_heap(config).unwrap();
    assert_eq!(thrash(&mut window, &mut 88_172_645_463_325_252, 5_000, 128), 0);
    assert!(window.stats().evictions > 3000);
}

#[test]
fn the_guard_goes_by_measured_costs() {
    let mut window = guarded(32);
    for _ in 0..50 {
        window.note_cost(true, 3_000);
        window.note_cost(false, 1_000);
    }
    assert!((3 * 256 - 8..=3 * 256 + 8).contains(&window.stats().guard_ratio), "{:?}", window.stats());
    // Bringing a range in is cheap: thrashing costs nothing.
    for _ in 0..50 {
        window.note_cost(true, 100);
    }
    assert_eq!(window.stats().guard_ratio, 256);
    thrash(&mut window, &mut 88_172_645_463_325_252, 5_000, 128);
    assert!(!window.stats().guard_on);
}

#[test]
fn one_request_that_took_long_proves_nothing() {
    let mut window = guarded(32);
    let mut state = 88_172_645_463_325_252;
    for _ in 0..20 {
        window.note_cost(true, 500_000);
    }
    // The first one round the window comes back late, and so does one later: the host's processor was elsewhere.
    window.note_cost(false, 3_000_000);
    assert!(window.stats().guard_ratio > 5 * 256, "{:?}", window.stats());
    for _ in 0..50 {
        window.note_cost(false, 25_000);
    }
    window.note_cost(false, 3_000_000);
    assert!(window.stats().guard_ratio > 12 * 256, "{:?}", window.stats());
    thrash(&mut window, &mut state, 5_000, 128);
    assert!(window.stats().guard_on, "{:?}", window.stats());
}

#[test]
fn what_was_measured_long_ago_is_forgotten() {
    let mut window = guarded(32);
    let mut state = 88_172_645_463_325_252;
    // For a while requests were as dear as mappings, so that the guard let everything in.
    for _ in 0..50 {
        window.note_cost(true, 1_000);
        window.note_cost(false, 1_000);
    }
    thrash(&mut window, &mut state, 2_000, 128);
    assert!(!window.stats().guard_on);
    for _ in 0..200 {
        window.note_cost(true, 1_000);
    }
    let rounds = thrash(&mut window, &mut state, 5_000, 128);
    assert!(window.stats().guard_on && rounds > 2_000, "{rounds}, {:?}", window.stats());
}

/// Small random accesses over four windows from the first moment on: no range is paid for before it has been earned.
#[test]
fn the_guard_is_on_from_the_start() {
    let mut window = guarded(32);
    // Fill it with what is read from begin to end.
    let mut stream = Stream::new();
    for n in 0..32 {
        touch(&mut window, &mut stream, &Request::read(A, n * RANGE, RANGE, END));
    }
    let before = window.stats().setups;
    let rounds = thrash(&mut window, &mut 88_172_645_463_325_252, 200, 128);
    let setups = window.stats().setups - before;
    assert!(setups == 0 && rounds > 100, "{setups} set-ups, {rounds} times round");
}

#[test]
fn a_refused_file_is_left_alone_for_a_while() {
    let mut window = Window::on_heap(plain(8, HostRules::STRICT)).unwrap();
    let mut attempts = Vec::new();
    for n in 0..500 {
        match window.access(&mut Stream::new(), &at(n)) {
            Access::Setup(ticket) => {
                attempts.push(n);
                assert_eq!(window.complete_setup(ticket, &[Outcome::Refused(95)]), Err(Outcome::Refused(95)));
            }
            answer => assert!(matches!(answer, Access::Bypass(Bypass::Refused)), "{answer:?}"),
        }
    }
    assert_eq!(attempts, [0, 65, 194, 451]);
    assert!(touch_other(&mut window), "another file is not affected");
    // A change of the file is a reason to try again.
    let frozen = window.begin_invalidate(A, FileRange::from(0), InvalidateKind::Remove).unwrap();
    window.end_invalidate(frozen);
    assert!(matches!(window.access(&mut Stream::new(), &at(1)), Access::Setup(_)));
}

fn touch_other(window: &mut Window) -> bool {
    let (hold, setups, _) = get(window, &mut Stream::new(), &Request::read(B, 0, 1, END));
    window.release(hold);
    setups == 1
}

#[test]
fn a_write_goes_round_where_only_reading_can_be_mapped() {
    let mut window = Window::on_heap(plain(8, HostRules::REPLACING)).unwrap();
    touch(&mut window, &mut Stream::new(), &at(0));
    let write = Request::write(A, 0, 1, END);
    let Access::Setup(ticket) = window.access(&mut Stream::new(), &write) else { panic!() };
    assert!(window.complete_setup(ticket, &[Outcome::Refused(13)]).is_err());
    assert!(matches!(window.access(&mut Stream::new(), &write), Access::Bypass(Bypass::Refused)));
    assert!(touch(&mut window, &mut Stream::new(), &at(0)), "reading goes on");
}

#[test]
fn tickets_and_frozen_ranges_are_limited_and_come_back() {
    let mut window = Window::on_heap(plain(256, HostRules::STRICT)).unwrap();
    let mut tickets = Vec::new();
    for chunk in 0..MAX_TICKETS as u64 {
        let Access::Setup(ticket) = window.access(&mut Stream::new(), &at(chunk)) else { panic!() };
        tickets.push(ticket);
    }
    let Access::Wait(wait) = window.access(&mut Stream::new(), &at(1000)) else { panic!() };
    assert_eq!(wait.reason, WaitReason::Tickets);
    drop(tickets.pop());
    assert_ne!(wait.seq, window.event_seq());
    assert!(matches!(window.access(&mut Stream::new(), &at(1000)), Access::Setup(_)));
    drop(tickets);

    let mut frozen = Vec::new();
    let wait = loop {
        match window.begin_invalidate(FileKey(frozen.len() as u64), FileRange::ALL, InvalidateKind::Quiesce) {
            Ok(one) => frozen.push(one),
            Err(wait) => break wait,
        }
    };
    assert_eq!((frozen.len(), wait.reason), (16, WaitReason::Tickets));
    drop(frozen.pop());
    assert_ne!(wait.seq, window.event_seq());
    assert!(window.begin_invalidate(FileKey(99), FileRange::ALL, InvalidateKind::Quiesce).is_ok());
    drop(frozen);
    assert!(matches!(
        window.access(&mut Stream::new(), &at(0).purpose(Purpose::Map)),
        Access::Setup(_) | Access::Evict(_)
    ));
    window.check_invariants().unwrap();
}

#[test]
fn large_sweeps_come_in_pieces() {
    let mut window = Window::on_heap(plain(3000, HostRules::STRICT)).unwrap();
    for chunk in 0..3000 {
        touch(&mut window, &mut Stream::new(), &at(chunk));
    }
    let frozen = window.begin_invalidate(A, FileRange::ALL, InvalidateKind::Quiesce).unwrap();
    let mut pieces = 0;
    while let Step::Wait(wait) = window.invalidate_step(&frozen) {
        assert_ne!(wait.seq, window.event_seq(), "there is nobody to wait for");
        pieces += 1;
    }
    assert_eq!(pieces, 3000 / 512);
    window.end_invalidate(frozen);

    let last = Request::write(A, 2999 * RANGE, 1, END);
    touch(&mut window, &mut Stream::new(), &last);
    let (mut from, mut pieces) = (FileOffset(FileRange::ALL.start()), 0);
    let ticket = loop {
        match window.begin_writeback(A, FileRange::from(from.0)) {
            Writeback::Further(next) => from = next,
            Writeback::Ranges(ticket) => break ticket,
            answer => panic!("{answer:?}"),
        }
        pieces += 1;
    };
    assert_eq!((pieces, ticket.len(), ticket.rest()), (2, 1, None));
    let mut cursor = Cursor::default();
    assert_eq!(window.writeback_entry(&ticket, &mut cursor).unwrap().file_offset.0, 2999 * RANGE);
    window.end_writeback(ticket, true);

    let frozen = window.forget_file(A).unwrap();
    let mut batches = 0;
    while let Step::Remove(ticket) = window.invalidate_step(&frozen) {
        assert!(ticket.len() <= 256);
        window.complete_remove(ticket, Outcome::Done);
        batches += 1;
    }
    assert_eq!(batches, 3000_usize.div_ceil(256));
    window.end_invalidate(frozen);
    assert_eq!(window.stats().free, 3000);
}

#[test]
fn a_writeback_of_many_ranges_goes_on_where_the_ticket_ends() {
    let mut config = plain(8, HostRules::STRICT);
    config.max_batch = 3;
    let mut window = Window::on_heap(config).unwrap();
    for chunk in 0..7 {
        touch(&mut window, &mut Stream::new(), &Request::write(A, chunk * RANGE, 1, END));
    }
    let (mut from, mut lens) = (FileOffset(FileRange::ALL.start()), Vec::new());
    loop {
        let Writeback::Ranges(ticket) = window.begin_writeback(A, FileRange::from(from.0)) else { panic!() };
        lens.push(ticket.len());
        let rest = ticket.rest();
        window.end_writeback(ticket, true);
        match rest {
            Some(rest) => from = rest,
            None => break,
        }
    }
    assert_eq!(lens, [3, 3, 1]);
}

#[test]
fn memory_from_the_embedder() {
    static SHARED: Shared = Shared::new();
    let memory = || Vec::leak(vec![Descriptor::new(); 4]);
    let entries = || Vec::leak((0..4).map(|_| RangeEntry::new()).collect());
    let tickets = || Box::leak(Box::new(Tickets::new()));
    let storage = Storage::from_static(memory(), entries(), tickets(), &SHARED).unwrap();
    assert_eq!(Storage::from_static(memory(), entries(), tickets(), &SHARED).unwrap_err(), ConfigError::SharedInUse);
    let mut window = Window::new(plain(4, HostRules::STRICT), storage).unwrap();
    let Access::Setup(ticket) = window.access(&mut Stream::new(), &at(0)) else { panic!() };
    let events = window.events();
    let seq = events.seq();
    std::thread::scope(|scope| {
        scope.spawn(|| drop(ticket));
    });
    assert_ne!(seq, events.seq());
    assert!(matches!(window.access(&mut Stream::new(), &at(1)), Access::Setup(_)));
    assert_eq!((window.stats().suspect, window.stats().dropped_tickets), (1, 1));

    static OTHER: Shared = Shared::new();
    let storage = Storage::from_static(memory(), entries(), tickets(), &OTHER).unwrap();
    let error = Window::new(plain(5, HostRules::STRICT), storage).unwrap_err();
    assert_eq!(error, ConfigError::Storage { needed: 5, given: 4 });
}

#[test]
fn a_host_that_keeps_few_mappings_gets_few() {
    let mut config = plain(64, HostRules::STRICT);
    config.max_live = Some(3);
    let mut window = Window::on_heap(config).unwrap();
    assert_eq!(window.ranges(), 3);
    for chunk in 0..3 {
        assert!(!touch(&mut window, &mut Stream::new(), &at(chunk)));
    }
    assert!(matches!(window.access(&mut Stream::new(), &at(3)), Access::Evict(_)));
}

#[test]
fn tickets_of_another_window_change_nothing() {
    let mut one = Window::on_heap(plain(2, HostRules::STRICT)).unwrap();
    let mut two = Window::on_heap(plain(2, HostRules::STRICT)).unwrap();
    let Access::Setup(ticket) = one.access(&mut Stream::new(), &at(0)) else { panic!() };
    assert!(two.complete_setup(ticket, &[Outcome::Done]).is_err());
    let frozen = one.begin_invalidate(A, FileRange::ALL, InvalidateKind::Remove).unwrap();
    two.end_invalidate(frozen);
    let (hold, ..) = get(&mut one, &mut Stream::new(), &at(1));
    two.release(hold);
    assert!(two.stats().misuse >= 3);
    assert_eq!((two.stats().free, two.stats().tickets), (2, 0));
    for window in [&one, &two] {
        window.check_invariants().unwrap();
    }
}

#[test]
fn a_pin_keeps_its_range() {
    let mut window = Window::on_heap(plain(1, HostRules::STRICT)).unwrap();
    let (hold, ..) = get(&mut window, &mut Stream::new(), &at(0));
    let pin = window.pin(hold);
    assert_eq!(window.stats().pins, 1);
    assert!(matches!(window.access(&mut Stream::new(), &at(1)), Access::Bypass(Bypass::Busy)));
    let Access::Wait(wait) = window.access(&mut Stream::new(), &at(1).purpose(Purpose::Fault)) else { panic!() };
    window.unpin(pin);
    assert_ne!(wait.seq, window.event_seq());
    assert!(matches!(window.access(&mut Stream::new(), &at(1)), Access::Evict(_)));
}

#[test]
fn an_installed_range_says_so_and_its_use_can_be_told() {
    let mut window = Window::on_heap(plain(2, HostRules::STRICT)).unwrap();
    for chunk in 0..2 {
        let (hold, ..) = get(&mut window, &mut Stream::new(), &at(chunk).purpose(Purpose::Fault));
        let range = hold.range();
        window.install(hold, false);
        if chunk == 0 {
            window.note_use(range);
        }
    }
    let Access::Evict(ticket) = window.access(&mut Stream::new(), &at(2)) else { panic!() };
    let entries: Vec<_> = window.remove_entries(&ticket).collect();
    assert_eq!((entries.len(), entries[0].file_offset.0, entries[0].installed), (1, RANGE, true));
    window.abort_remove(ticket, true);
    let (hold, ..) = get(&mut window, &mut Stream::new(), &at(1));
    window.uninstall(&hold);
    window.release(hold);
}

#[test]
fn all_retired_is_said() {
    let mut window = Window::on_heap(plain(2, HostRules::STRICT)).unwrap();
    for chunk in 0..2 {
        let Access::Setup(ticket) = window.access(&mut Stream::new(), &at(chunk)) else { panic!() };
        assert_eq!(window.complete_setup(ticket, &[Outcome::Lost]), Err(Outcome::Lost));
    }
    assert!(matches!(window.access(&mut Stream::new(), &at(0)), Access::Bypass(Bypass::NoCapacity)));
    let fault = at(0).purpose(Purpose::Fault);
    assert!(matches!(window.access(&mut Stream::new(), &fault), Access::Bypass(Bypass::NoCapacity)));
    assert_eq!(window.stats().retired, 2);
}

#[test]
fn what_a_failed_replacement_leaves_behind_is_removed_whole() {
    for outcome in [Some(Outcome::Refused(5)), Some(Outcome::Unknown), None] {
        let mut window = Window::on_heap(plain(1, HostRules::REPLACING)).unwrap();
        let mut stream = Stream::new();
        touch(&mut window, &mut stream, &at(0));
        // Another file's is to take the place of a mapping of a whole range.
        let Access::Setup(ticket) = window.access(&mut stream, &Request::read(B, 0, 4096, RANGE)) else { panic!() };
        assert_eq!(window.setup_entry(&ticket, 0).unwrap().len, RANGE);
        match outcome {
            Some(outcome) => assert!(window.complete_setup(ticket, &[outcome]).is_err()),
            None => drop(ticket),
        }
        let Step::Remove(ticket) = window.drain_step() else { panic!("{outcome:?}: the host may have something") };
        let lens: Vec<u64> = window.remove_entries(&ticket).map(|entry| entry.len).collect();
        assert_eq!(lens, [RANGE], "{outcome:?}");
        window.complete_remove(ticket, Outcome::Done);
        window.check_invariants().unwrap();
    }
}
