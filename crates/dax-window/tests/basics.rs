//! The way of an access, step by step.

use dax_window::{
    Access, Bypass, Config, Cursor, FileKey, FileOffset, FileRange, HostRules, InvalidateKind, Outcome, Overlap,
    Purpose, Request, SetupKind, Step, Stream, Upgrade, WaitReason, Window, WindowOffset, Writeback,
};

const MIB: u64 = 1 << 20;
const END: u64 = 1 << 40;
const A: FileKey = FileKey(1);
const B: FileKey = FileKey(2);

fn window(ranges: u64, host: HostRules) -> Window {
    let mut config = Config::new(ranges * 2 * MIB);
    config.host = host;
    config.read_ahead.max_ranges = 0;
    config.guard = None;
    Window::on_heap(config).unwrap()
}

fn map(window: &mut Window, req: Request) -> dax_window::RangeRef {
    let Access::Setup(ticket) = window.access(&mut Stream::new(), &req) else { panic!("no set-up") };
    let hold = window.complete_setup(ticket, &[Outcome::Done]).unwrap().unwrap();
    window.check_invariants().unwrap();
    hold
}

fn hit(window: &mut Window, req: Request) -> dax_window::RangeRef {
    let Access::Hit(hold) = window.access(&mut Stream::new(), &req) else { panic!("no hit") };
    hold
}

#[test]
fn miss_then_hit() {
    let mut w = window(2, HostRules::STRICT);
    let req = Request::read(A, 3 * MIB, MIB, END);
    let Access::Setup(ticket) = w.access(&mut Stream::new(), &req) else { panic!() };
    let (1, Some(entry)) = (ticket.len(), w.setup_entry(&ticket, 0)) else { panic!() };
    assert_eq!((entry.file_offset, entry.window_offset, entry.len), (FileOffset(2 * MIB), WindowOffset(0), 2 * MIB));
    assert_eq!((entry.writable, entry.kind), (false, SetupKind::New));

    let Access::Wait(wait) = w.access(&mut Stream::new(), &req) else { panic!("a second set-up") };
    assert_eq!((wait.reason, wait.seq), (WaitReason::Setup, w.event_seq()));
    let hold = w.complete_setup(ticket, &[Outcome::Done]).unwrap().unwrap();
    assert_ne!(wait.seq, w.event_seq());
    assert_eq!((hold.window_offset(), hold.file_offset(), hold.len()), (WindowOffset(MIB), FileOffset(3 * MIB), MIB));
    w.release(hold);

    let hold = hit(&mut w, req);
    assert_eq!(hold.len(), MIB);
    w.release(hold);
    w.check_invariants().unwrap();
}

#[test]
fn eviction_frees_then_the_same_question_maps() {
    let mut w = window(1, HostRules::STRICT);
    let hold = map(&mut w, Request::read(A, 0, 1, END));
    let other = Request::read(A, 2 * MIB, 1, END);
    assert!(matches!(w.access(&mut Stream::new(), &other), Access::Bypass(Bypass::Busy)));
    let fault = other.purpose(Purpose::Fault);
    let Access::Wait(wait) = w.access(&mut Stream::new(), &fault) else { panic!() };
    w.release(hold);
    assert_ne!(wait.seq, w.event_seq());
    let Access::Evict(ticket) = w.access(&mut Stream::new(), &fault) else { panic!() };
    let entry = w.remove_entries(&ticket).next().unwrap();
    assert_eq!((entry.window_offset, entry.len, entry.file_offset), (WindowOffset(0), 2 * MIB, FileOffset(0)));
    assert_eq!(w.complete_remove(ticket, Outcome::Done), 1);
    let hold = map(&mut w, fault);
    w.release(hold);
}

#[test]
fn a_replacing_host_needs_no_removal() {
    let mut w = window(1, HostRules::REPLACING);
    let hold = map(&mut w, Request::read(A, 0, 1, END));
    w.release(hold);
    let Access::Setup(ticket) = w.access(&mut Stream::new(), &Request::read(A, 2 * MIB, 1, END)) else { panic!() };
    assert_eq!(w.setup_entry(&ticket, 0).unwrap().kind, SetupKind::Replace);
    let hold = w.complete_setup(ticket, &[Outcome::Done]).unwrap().unwrap();
    w.release(hold);
    w.check_invariants().unwrap();
}

#[test]
fn a_longer_mapping_is_removed_before_a_shorter_one_takes_its_place() {
    let mut w = window(2, HostRules::REPLACING);
    for chunk in 0..2 {
        let hold = map(&mut w, Request::read(A, chunk * 2 * MIB, 1, END));
        w.release(hold);
    }
    let short = Request::read(B, 0, 1, MIB);
    let Access::Evict(ticket) = w.access(&mut Stream::new(), &short) else { panic!("the rest of it stays mapped") };
    let removed: Vec<u64> = w.remove_entries(&ticket).map(|entry| entry.len).collect();
    assert_eq!(removed, [2 * MIB]);
    w.complete_remove(ticket, Outcome::Done);
    let hold = map(&mut w, short);
    w.release(hold);
    // What is as long, or longer, goes in its place.
    for (n, end) in [(1, END), (2, MIB), (3, END), (4, MIB + MIB / 2)] {
        let request = Request::read(FileKey(10 + n), 0, 1, end);
        let Access::Setup(ticket) = w.access(&mut Stream::new(), &request) else { panic!("{n}") };
        assert_eq!(w.setup_entry(&ticket, 0).unwrap().kind, SetupKind::Replace);
        let hold = w.complete_setup(ticket, &[Outcome::Done]).unwrap().unwrap();
        w.release(hold);
    }
    assert_eq!(w.stats().removals, 1);
    w.check_invariants().unwrap();
}

#[test]
fn what_a_refused_replacement_left_is_removed_exactly() {
    let mut w = window(1, HostRules::REPLACING);
    let hold = map(&mut w, Request::read(A, 0, 1, MIB));
    w.release(hold);
    let refused = |w: &mut Window, file, outcome| {
        let request = Request::read(FileKey(file), 0, 1, END);
        let Access::Setup(ticket) = w.access(&mut Stream::new(), &request) else { panic!("nothing is longer") };
        assert_eq!(w.setup_entry(&ticket, 0).unwrap().kind, SetupKind::Replace);
        assert_eq!(w.complete_setup(ticket, &[outcome]), Err(outcome));
    };
    refused(&mut w, 10, Outcome::Refused(5));
    let short = Request::read(B, 0, 1, 4096);
    let removal = |w: &mut Window| {
        let Access::Evict(ticket) = w.access(&mut Stream::new(), &short) else { panic!("the rest of it stays") };
        let entry = w.remove_entries(&ticket).next().unwrap();
        (ticket, entry.len)
    };
    let (ticket, len) = removal(&mut w);
    assert_eq!(len, MIB);
    w.abort_remove(ticket, true);
    let (ticket, len) = removal(&mut w);
    assert_eq!(len, MIB);
    w.complete_remove(ticket, Outcome::Done);
    let hold = map(&mut w, short);
    w.release(hold);
    // Whether that one took its place is not known.
    refused(&mut w, 11, Outcome::Unknown);
    let (ticket, len) = removal(&mut w);
    assert_eq!(len, 2 * MIB);
    w.complete_remove(ticket, Outcome::Done);
    assert_eq!(w.stats().free, 1);
    w.check_invariants().unwrap();
}

#[test]
fn upgrade_in_place_reuses_the_window_offset() {
    let mut w = window(2, HostRules::REPLACING);
    let reader = map(&mut w, Request::read(A, 0, 1, END));
    let Access::Setup(ticket) = w.access(&mut Stream::new(), &Request::write(A, 0, 1, END)) else { panic!() };
    assert_eq!(
        (w.setup_entry(&ticket, 0).unwrap().range, w.setup_entry(&ticket, 0).unwrap().kind),
        (reader.range(), SetupKind::Upgrade)
    );
    assert!(w.setup_entry(&ticket, 0).unwrap().writable);
    let second = hit(&mut w, Request::read(A, 0, 1, END));
    assert!(matches!(w.access(&mut Stream::new(), &Request::write(A, 0, 1, END)), Access::Wait(_)));
    let writer = w.complete_setup(ticket, &[Outcome::Done]).unwrap().unwrap();
    assert!(writer.is_writable());
    for hold in [reader, second, writer] {
        w.release(hold);
    }
    w.check_invariants().unwrap();
}

#[test]
fn truncation_freezes_waits_and_removes() {
    let mut w = window(4, HostRules::STRICT);
    let low = map(&mut w, Request::read(A, 0, 1, END));
    let high = map(&mut w, Request::read(A, 4 * MIB, 1, END));
    w.release(low);
    let frozen = w.begin_invalidate(A, FileRange::from(3 * MIB), InvalidateKind::Remove).unwrap();
    assert!(matches!(w.access(&mut Stream::new(), &Request::read(A, 4 * MIB, 1, END)), Access::Wait(_)));
    let low = hit(&mut w, Request::read(A, 0, 1, END));
    w.release(low);
    let Step::Wait(wait) = w.invalidate_step(&frozen) else { panic!() };
    w.release(high);
    assert_ne!(wait.seq, w.event_seq());
    let Step::Remove(ticket) = w.invalidate_step(&frozen) else { panic!() };
    w.complete_remove(ticket, Outcome::Done);
    assert!(matches!(w.invalidate_step(&frozen), Step::Clear));
    w.end_invalidate(frozen);
    let hold = map(&mut w, Request::read(A, 4 * MIB, 1, END));
    w.release(hold);
}

#[test]
fn dirty_ranges_are_written_back_once() {
    let mut w = window(4, HostRules::STRICT);
    let hold = map(&mut w, Request::write(A, 0, 1, END));
    w.release(hold);
    let Writeback::Ranges(ticket) = w.begin_writeback(A, FileRange::ALL) else { panic!() };
    assert!(matches!(w.begin_writeback(A, FileRange::ALL), Writeback::Wait(_)));
    w.end_writeback(ticket, true);
    assert!(matches!(w.begin_writeback(A, FileRange::ALL), Writeback::Clean));
    w.check_invariants().unwrap();
}

#[test]
fn dropped_tickets_lose_nothing() {
    let mut w = window(1, HostRules::STRICT);
    let req = Request::read(A, 0, 1, END);
    drop(w.access(&mut Stream::new(), &req));
    let Access::Evict(ticket) = w.access(&mut Stream::new(), &req) else { panic!("not removed exactly") };
    assert!(ticket.is_retry());
    w.complete_remove(ticket, Outcome::Done);
    let hold = map(&mut w, req);
    w.release(hold);
}

#[test]
fn the_window_itself_is_small() {
    assert!(size_of::<Window>() <= 6 << 10, "{}", size_of::<Window>());
    assert!(size_of::<Access>() <= 512, "{}", size_of::<Access>());
    assert_eq!(size_of::<dax_window::Descriptor>() + size_of::<dax_window::RangeEntry>(), 64);
}

#[test]
fn a_range_whose_upgrade_may_still_come_is_never_used_for_another() {
    let mut w = window(1, HostRules::REPLACING);
    let hold = map(&mut w, Request::read(A, 0, 1, END));
    w.release(hold);
    let Access::Setup(ticket) = w.access(&mut Stream::new(), &Request::write(A, 0, 1, END)) else { panic!() };
    assert_eq!(w.complete_setup(ticket, &[Outcome::Lost]), Err(Outcome::Lost));
    // Whichever mapping is there, it shows the same bytes.
    let hold = hit(&mut w, Request::read(A, 0, 1, END));
    w.release(hold);
    let other = Request::read(A, 2 * MIB, 1, END);
    let Access::Evict(ticket) = w.access(&mut Stream::new(), &other) else { panic!("mapped over") };
    assert_eq!(w.complete_remove(ticket, Outcome::Done), 0);
    assert_eq!(w.stats().retired, 1);
    assert!(matches!(w.access(&mut Stream::new(), &other), Access::Bypass(Bypass::NoCapacity)));
}

#[test]
fn what_page_tables_may_store_to_is_dirty() {
    let mut w = window(2, HostRules::STRICT);
    let fault = Request::read(A, 0, 1, END).purpose(Purpose::Fault).writable(true);
    let reader = map(&mut w, fault);
    w.install(reader, false);
    assert!(matches!(w.begin_writeback(A, FileRange::ALL), Writeback::Clean));
    let writer = hit(&mut w, fault);
    w.install(writer, true);
    let Writeback::Ranges(ticket) = w.begin_writeback(A, FileRange::ALL) else { panic!("stores are forgotten") };
    assert!(w.writeback_entry(&ticket, &mut Cursor::default()).is_some_and(|entry| entry.installed));
    w.end_writeback(ticket, false);
    let frozen = w.begin_invalidate(A, FileRange::ALL, InvalidateKind::Remove).unwrap();
    let Step::Remove(ticket) = w.invalidate_step(&frozen) else { panic!() };
    assert!(w.remove_entries(&ticket).all(|entry| entry.dirty && entry.installed));
    w.complete_remove(ticket, Outcome::Done);
    w.end_invalidate(frozen);
}

#[test]
fn the_guard_is_on_from_the_start_without_having_tripped() {
    let w = Window::on_heap(Config::new(64 * MIB)).unwrap();
    let stats = w.stats();
    assert!(stats.guard_on && !stats.guard_tripped);
    assert_eq!(stats.guard_trips, 0);
}

#[test]
fn a_removal_answered_late_gives_its_whole_batch_back() {
    for (host, answer) in [(HostRules::STRICT, Outcome::Done), (HostRules::REPLACING, Outcome::Unknown)] {
        let mut w = window(4, host);
        for chunk in 0..4 {
            let hold = map(&mut w, Request::read(A, chunk * 2 * MIB, 1, END));
            w.release(hold);
        }
        let frozen = w.begin_invalidate(A, FileRange::ALL, InvalidateKind::Remove).unwrap();
        let Step::Remove(ticket) = w.invalidate_step(&frozen) else { panic!() };
        assert_eq!(ticket.len(), 4);
        let late = w.give_up_remove(ticket).unwrap();
        w.check_invariants().unwrap();
        assert!(matches!(w.invalidate_step(&frozen), Step::Clear));
        w.end_invalidate(frozen);
        assert_eq!(w.stats().retired, 4);
        let again = Request::read(A, 0, 1, END);
        assert!(matches!(w.access(&mut Stream::new(), &again), Access::Bypass(Bypass::NoCapacity)));
        assert_eq!(w.late(late, answer), 4);
        assert_eq!((w.stats().retired, w.stats().free, w.stats().late_answers), (0, 4, 1));
        w.check_invariants().unwrap();
        let hold = map(&mut w, again);
        w.release(hold);
    }
}

#[test]
fn a_removal_refused_late_is_tried_range_by_range() {
    let mut w = window(2, HostRules::STRICT);
    for chunk in 0..2 {
        let hold = map(&mut w, Request::read(A, chunk * 2 * MIB, 1, END));
        w.release(hold);
    }
    w.begin_drain();
    let Step::Remove(ticket) = w.drain_step() else { panic!() };
    let late = w.give_up_remove(ticket).unwrap();
    assert_eq!(w.late(late, Outcome::Refused(5)), 0);
    assert_eq!((w.stats().suspect, w.stats().retired), (2, 0));
    for _ in 0..2 {
        let Step::Remove(ticket) = w.drain_step() else { panic!() };
        assert!(ticket.is_retry() && ticket.len() == 1);
        assert_eq!(w.complete_remove(ticket, Outcome::Done), 1);
    }
    assert_eq!(w.stats().free, 2);
    w.check_invariants().unwrap();
}

#[test]
fn a_set_up_answered_late_is_removed_before_its_range_is_used() {
    let mut w = window(1, HostRules::STRICT);
    let req = Request::read(A, 0, 1, END);
    let Access::Setup(mut ticket) = w.access(&mut Stream::new(), &req) else { panic!() };
    let late = w.give_up_setup(&mut ticket, 0).unwrap();
    assert!(w.give_up_setup(&mut ticket, 0).is_none() && ticket.is_complete());
    assert!(matches!(w.access(&mut Stream::new(), &req), Access::Bypass(Bypass::NoCapacity)));
    assert_eq!(w.late(late, Outcome::Done), 0);
    let Access::Evict(ticket) = w.access(&mut Stream::new(), &req) else { panic!("not removed exactly") };
    assert_eq!(w.remove_entries(&ticket).next().unwrap().len, 2 * MIB);
    assert_eq!(w.complete_remove(ticket, Outcome::Done), 1);
    // One that the host refused has left nothing behind.
    let Access::Setup(mut ticket) = w.access(&mut Stream::new(), &req) else { panic!() };
    let late = w.give_up_setup(&mut ticket, 0).unwrap();
    assert_eq!(w.late(late, Outcome::Refused(12)), 1);
    let hold = map(&mut w, req);
    w.release(hold);
    w.check_invariants().unwrap();
}

/// The host may carry out the upgrade after the removal, or the removal after whatever is mapped next.
#[test]
fn an_upgrade_and_a_removal_given_up_are_both_awaited() {
    for overlap in [Overlap::Refuse, Overlap::Replace] {
        for upgrade_first in [true, false] {
            let mut w = window(1, HostRules { overlap, upgrade: Upgrade::Atomic });
            let hold = map(&mut w, Request::read(A, 0, 1, END));
            w.release(hold);
            let Access::Setup(mut ticket) = w.access(&mut Stream::new(), &Request::write(A, 0, 1, END)) else {
                panic!()
            };
            let upgrade = w.give_up_setup(&mut ticket, 0).unwrap();
            let frozen = w.begin_invalidate(A, FileRange::ALL, InvalidateKind::Remove).unwrap();
            let Step::Remove(ticket) = w.invalidate_step(&frozen) else { panic!() };
            let removal = w.give_up_remove(ticket).unwrap();
            w.end_invalidate(frozen);
            let (first, second) = if upgrade_first { (upgrade, removal) } else { (removal, upgrade) };
            assert_eq!(w.late(first, Outcome::Done), 0);
            let other = Request::read(A, 2 * MIB, 1, END);
            assert!(matches!(w.access(&mut Stream::new(), &other), Access::Bypass(Bypass::NoCapacity)));
            // What the host carried out last is not known: what may be there is removed or mapped over.
            assert_eq!(w.late(second, Outcome::Done), usize::from(overlap == Overlap::Replace));
            match (overlap, w.access(&mut Stream::new(), &other)) {
                (Overlap::Refuse, Access::Evict(ticket)) => assert_eq!(w.complete_remove(ticket, Outcome::Done), 1),
                (Overlap::Replace, Access::Setup(ticket)) => assert_eq!(ticket.len(), 1),
                (_, answer) => panic!("{answer:?}"),
            }
            assert_eq!((w.stats().retired, w.stats().misuse), (0, 0));
            w.check_invariants().unwrap();
        }
    }
}

#[test]
fn an_upgrade_answered_late_frees_its_range_for_others() {
    for when in 0..4 {
        let mut w = window(1, HostRules::REPLACING);
        let reader = map(&mut w, Request::read(A, 0, 1, END));
        let write = Request::write(A, 0, 1, END);
        let Access::Setup(mut ticket) = w.access(&mut Stream::new(), &write) else { panic!() };
        let mut late = w.give_up_setup(&mut ticket, 0);
        // It is not widened again: the first request might be carried out after the second.
        assert!(matches!(w.access(&mut Stream::new(), &write), Access::Bypass(Bypass::Busy)));
        if when == 0 {
            w.late(late.take().unwrap(), Outcome::Done);
            let writer = hit(&mut w, write);
            w.release(writer);
        }
        w.release(reader);
        if when == 1 {
            w.late(late.take().unwrap(), Outcome::Refused(5));
        }
        let other = Request::read(A, 2 * MIB, 1, END);
        let answer = w.access(&mut Stream::new(), &other);
        match answer {
            // Nothing is in doubt any more: it is mapped over, once stores were seen to.
            Access::Setup(ticket) if when == 1 => drop(ticket),
            Access::Evict(ticket) => {
                if when == 2 {
                    w.late(late.take().unwrap(), Outcome::Done);
                }
                let freed = w.complete_remove(ticket, Outcome::Done);
                assert_eq!(freed, usize::from(late.is_none()), "{when}");
            }
            other => panic!("{when}: {other:?}"),
        }
        if let Some(late) = late {
            assert_eq!(w.stats().retired, 1);
            assert_eq!(w.late(late, Outcome::Done), 1);
        }
        let hold = map(&mut w, other);
        w.release(hold);
        assert_eq!(w.stats().retired, 0);
        w.check_invariants().unwrap();
    }
}

#[test]
fn late_answers_of_another_window_change_nothing() {
    let (mut one, mut other) = (window(1, HostRules::STRICT), window(1, HostRules::STRICT));
    let req = Request::read(A, 0, 1, END);
    let Access::Setup(mut ticket) = one.access(&mut Stream::new(), &req) else { panic!() };
    let late = one.give_up_setup(&mut ticket, 0).unwrap();
    assert_eq!(other.late(late, Outcome::Done), 0);
    assert_eq!((other.stats().misuse, one.stats().retired), (1, 1));
    one.check_invariants().unwrap();
    other.check_invariants().unwrap();
}
