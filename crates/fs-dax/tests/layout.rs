//! Faults that race with a layout being broken, and what the embedder is asked to do.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use fs_dax::{Errno, Error, FileKey, FileRange, Layout, Mappings, UnmapCause};

#[derive(Debug, PartialEq)]
enum Call {
    Unmap(FileKey, FileRange, UnmapCause),
    Wait(FileKey, FileRange),
}

struct Recorder {
    calls: Mutex<Vec<Call>>,
    pins: Result<(), Errno>,
}

impl Mappings for Recorder {
    fn unmap(&self, file: FileKey, range: FileRange, cause: UnmapCause) {
        self.calls.lock().unwrap().push(Call::Unmap(file, range, cause));
    }

    fn write_protect(&self, _: FileKey, _: FileRange) {
        panic!("not asked for");
    }

    fn wait_for_pins(&self, file: FileKey, range: FileRange) -> Result<(), Errno> {
        self.calls.lock().unwrap().push(Call::Wait(file, range));
        self.pins
    }
}

#[test]
fn breaking_unmaps_then_waits_for_pins_of_that_range_only() {
    let recorder = Recorder { calls: Mutex::default(), pins: Ok(()) };
    let layout = Layout::new();
    let range = FileRange::new(2 << 20, 2 << 20).unwrap();
    let before = layout.seen();
    let change = layout.break_range(&recorder, FileKey(7), range, UnmapCause::Punch).unwrap();
    let expected = [Call::Unmap(FileKey(7), range, UnmapCause::Punch), Call::Wait(FileKey(7), range)];
    assert_eq!(*recorder.calls.lock().unwrap(), expected);
    let during = layout.seen();
    assert!(!layout.unchanged(during), "a fault during the change retries");
    drop(change);
    assert!(!layout.unchanged(before) && !layout.unchanged(during));
    assert!(layout.unchanged(layout.seen()), "one that begins after it does not");
}

/// Asks in the middle of each call whether a fault that began earlier would still install.
struct Racing<'a>(&'a Layout, fs_dax::LayoutSeen);

impl Mappings for Racing<'_> {
    fn unmap(&self, _: FileKey, _: FileRange, _: UnmapCause) {
        assert!(!self.0.unchanged(self.1), "it would install behind the unmapping's back");
    }

    fn write_protect(&self, _: FileKey, _: FileRange) {}

    fn wait_for_pins(&self, _: FileKey, _: FileRange) -> Result<(), Errno> {
        assert!(!self.0.unchanged(self.1), "it would install what is about to be taken away");
        Ok(())
    }
}

#[test]
fn faults_retry_from_before_the_unmapping_on() {
    let layout = Layout::new();
    let racing = Racing(&layout, layout.seen());
    assert!(layout.break_range(&racing, FileKey(1), FileRange::ALL, UnmapCause::Truncate).is_ok());
}

#[test]
fn pins_that_stay_leave_the_layout_as_it_was() {
    let recorder = Recorder { calls: Mutex::default(), pins: Err(Errno::ETIMEDOUT) };
    let layout = Layout::new();
    let error = layout.break_range(&recorder, FileKey(7), FileRange::ALL, UnmapCause::Reclaim).unwrap_err();
    assert_eq!(error, Error::Pinned { errno: Errno::ETIMEDOUT });
    assert_eq!(error.errno(), Errno::ETIMEDOUT);
    assert!(layout.unchanged(layout.seen()), "nobody is in the middle of a change any more");
}

#[test]
fn an_embedder_without_mappings_has_nothing_to_do() {
    let layout = Layout::new();
    assert!(layout.break_range(&(), FileKey(1), FileRange::ALL, UnmapCause::Failure).is_ok());
    ().write_protect(FileKey(1), FileRange::ALL);
}

#[test]
fn private_copies_go_with_a_truncate_only() {
    use UnmapCause::{Failure, Punch, Reclaim, Truncate};
    let gone = [Reclaim, Punch, Truncate, Failure].map(UnmapCause::takes_private_copies);
    assert_eq!(gone, [false, false, true, false]);
}

#[test]
fn a_change_of_bytes_concerns_only_what_was_filled_by_reading() {
    use UnmapCause::{Change, Failure, Punch, Reclaim, Truncate};
    let goes =
        |cause: UnmapCause| (cause.takes_mapped_pages(), cause.takes_filled_pages(), cause.takes_private_copies());
    assert_eq!(goes(Change), (false, true, false));
    assert_eq!(goes(Reclaim), (true, false, false), "the file is as it was");
    assert_eq!([Punch, Truncate, Failure].map(goes), [(true, true, false), (true, true, true), (true, true, false)]);
}

/// A page of a file, its memory now, and what two address spaces show of it.
struct World {
    memory: u64,
    shown: [Option<u64>; 2],
}

/// All interleavings of two faults with a breaker and of a fault with two breakers: once a breaker has unmapped, no address
/// space shows memory that was given to something else.
#[test]
fn no_interleaving_shows_old_memory() {
    // 10! / (3! 3! 4!) and 11! / (3! 4! 4!) orders; under Miri 7! / (3! 4!).
    let searches: &[([usize; 4], u32)] =
        if cfg!(miri) { &[([3, 0, 4, 0], 35)] } else { &[([3, 3, 4, 0], 4200), ([3, 0, 4, 4], 11_550)] };
    for (steps, orders) in searches {
        let (mut runs, mut retries, mut installs) = (0, 0, 0);
        interleave(&mut steps.clone(), &mut Vec::new(), &mut |order| {
            runs += 1;
            race(order, &mut retries, &mut installs);
        });
        assert_eq!(runs, *orders);
        assert!(retries > 0 && installs > 0);
    }
}

/// Runs two faults (0, 1) and two breakers (2, 3) in this order of steps.
fn race(order: &[usize], retries: &mut u32, installs: &mut u32) {
    let mut world = World { memory: 0, shown: [None; 2] };
    let layout = Layout::new();
    let mut seen = [None; 2];
    let mut looked_up = [0; 2];
    let mut changes = [None, None];
    let mut done = [0; 4];
    for actor in order {
        let step = done[*actor];
        done[*actor] += 1;
        match (*actor, step) {
            (fault @ (0 | 1), 0) => seen[fault] = Some(layout.seen()),
            (fault @ (0 | 1), 1) => looked_up[fault] = world.memory,
            // Under the page-table lock: one step.
            (fault @ (0 | 1), _) => {
                if layout.unchanged(seen[fault].unwrap()) {
                    *installs += 1;
                    world.shown[fault] = Some(looked_up[fault]);
                } else {
                    *retries += 1;
                }
            }
            (breaker, 0) => changes[breaker - 2] = Some(layout.change()),
            (_, 1) => world.shown = [None; 2],
            (_, 2) => world.memory += 1,
            (breaker, _) => changes[breaker - 2] = None,
        }
        for shown in world.shown {
            assert!(shown.is_none_or(|shown| shown == world.memory), "{order:?}");
        }
    }
    assert!(layout.unchanged(layout.seen()));
}

fn interleave(left: &mut [usize; 4], order: &mut Vec<usize>, check: &mut impl FnMut(&[usize])) {
    if left.iter().all(|steps| *steps == 0) {
        return check(order);
    }
    for actor in 0..4 {
        if left[actor] > 0 {
            left[actor] -= 1;
            order.push(actor);
            interleave(left, order, check);
            order.pop();
            left[actor] += 1;
        }
    }
}

/// Stops the others, also when a thread panics.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn on_several_processors() {
    let layout = Layout::new();
    let memory = AtomicU64::new(0);
    // Lock order as an embedder has it: the page table's lock is taken last.
    let table = Mutex::new(None::<u64>);
    let stop = AtomicBool::new(false);
    let rounds = if cfg!(miri) { 30 } else { 20_000 };
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seen = layout.seen();
                    let looked_up = memory.load(Ordering::Relaxed);
                    let mut table = table.lock().unwrap();
                    if layout.unchanged(seen) {
                        *table = Some(looked_up);
                    }
                    drop(table);
                    thread::yield_now();
                }
            });
        }
        scope.spawn(|| {
            let _stop = StopOnDrop(&stop);
            for _ in 0..rounds {
                let change = layout.change();
                *table.lock().unwrap() = None;
                memory.fetch_add(1, Ordering::Relaxed);
                assert_eq!(*table.lock().unwrap(), None, "a fault installed during the change");
                drop(change);
                thread::yield_now();
            }
        });
    });
}
