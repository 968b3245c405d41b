//! The meeting of readers and owner under loom, which tries every interleaving that the memory model of the language permits:
//! the very file that the window uses, on loom's atomics.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

mod sync {
    pub(crate) use loom::sync::atomic::{AtomicU32, Ordering};

    /// Loom takes sequentially consistent accesses for acquire and release ones; this says of them what they are.
    pub(crate) fn full_fence() {
        loom::sync::atomic::fence(Ordering::SeqCst);
    }
}

#[path = "../src/marks.rs"]
mod marks;

use marks::{OPEN, close, is_used, look, mark, open, unmark};
use sync::{AtomicU32, Ordering};

const RANGE: u32 = 0;

/// One range with what is mapped there, two slots, and what wakes those who wait.
struct World {
    /// How often something else was mapped, and whether readers may enter.
    word: AtomicU32,
    slots: [AtomicU32; 2],
    mapped: UnsafeCell<u32>,
    events: AtomicU32,
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            word: AtomicU32::new(OPEN),
            slots: [AtomicU32::new(0), AtomicU32::new(0)],
            mapped: UnsafeCell::new(7),
            events: AtomicU32::new(0),
        })
    }

    /// A reader's whole way: what it copied, if it was let in.
    fn read(&self, slot: usize) -> Option<u32> {
        if !mark(&self.slots[slot], RANGE) {
            return None;
        }
        let word = look(&self.word);
        // SAFETY: loom says so if somebody writes meanwhile.
        let copied = (word & OPEN != 0).then(|| self.mapped.with(|mapped| unsafe { *mapped }));
        if let Some(copied) = copied {
            assert_eq!(word & !OPEN, copied - 7, "the word belongs to what is mapped");
        }
        if unmark(&self.slots[slot]) {
            self.events.fetch_add(1, Ordering::Release);
        }
        copied
    }

    fn is_used(&self) -> bool {
        is_used(self.slots.iter(), RANGE)
    }

    /// The owner maps something else, where nobody is in the way.
    fn remap(&self) -> bool {
        close(&self.word);
        let free = !self.is_used();
        if free {
            // SAFETY: as above.
            self.mapped.with_mut(|mapped| unsafe { *mapped += 1 });
            open(&self.word, 1);
        }
        free
    }
}

#[test]
fn nothing_changes_under_a_reader() {
    loom::model(|| {
        let world = World::new();
        let reader = {
            let world = world.clone();
            thread::spawn(move || world.read(0))
        };
        let remapped = world.remap();
        let copied = reader.join().expect("the reader does not fail");
        assert!(copied.is_none_or(|copied| copied == 7 || remapped && copied == 8));
    });
}

#[test]
fn two_readers_and_the_owner() {
    let mut model = loom::model::Builder::new();
    // Every interleaving with at most three switches that nobody asked for: all of them take a minute.
    model.preemption_bound = Some(3);
    model.check(|| {
        let world = World::new();
        let readers = [0, 1].map(|slot| {
            let world = world.clone();
            thread::spawn(move || world.read(slot))
        });
        world.remap();
        for reader in readers {
            reader.join().expect("the reader does not fail");
        }
        close(&world.word);
        assert!(!world.is_used(), "all marks were taken back");
    });
}

#[test]
fn readers_of_one_slot_take_turns() {
    loom::model(|| {
        let world = World::new();
        let reader = {
            let world = world.clone();
            thread::spawn(move || world.read(0))
        };
        world.read(0);
        reader.join().expect("the reader does not fail");
        assert_eq!(world.slots[0].load(Ordering::Relaxed), 0);
    });
}

/// Whoever is told that a range is used finds the event counter moved after the use, if he took its value before he asked.
#[test]
fn who_waits_for_the_end_of_a_use_is_woken() {
    loom::model(|| {
        let world = World::new();
        let reader = {
            let world = world.clone();
            thread::spawn(move || world.read(0))
        };
        let seq = world.events.load(Ordering::Acquire);
        close(&world.word);
        let used = world.is_used();
        reader.join().expect("the reader does not fail");
        if used {
            assert_ne!(world.events.load(Ordering::Acquire), seq, "nobody wakes who waits");
            assert!(!world.is_used());
        }
    });
}

/// Another owner, later, finds the word closed already and need not close it again.
#[test]
fn what_is_closed_stays_closed() {
    loom::model(|| {
        let world = World::new();
        let reader = {
            let world = world.clone();
            thread::spawn(move || world.read(1))
        };
        close(&world.word);
        world.remap();
        reader.join().expect("the reader does not fail");
    });
}
