//! More than one processor: having them do something, and their attention when page tables change or the run ends.

use super::{
    apic::{self, Message},
    clock::Clock,
    cpu, gdt,
};
use crate::memory::layout::MAX_PROCESSORS;
use alloc::boxed::Box;
use core::{
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};
use spin::Mutex;
use x86_64::instructions::{interrupts, tlb};

/// The vector by which a processor asks for the others' attention.
pub(crate) const ATTENTION_VECTOR: u8 = 0x21;
/// How long an answer to a call for attention may take before the run is given up.
const ANSWER: Duration = Duration::from_secs(60);

/// Work for a processor.
type Work = Box<dyn FnOnce() + Send>;

/// What belongs to a processor.
struct Processor {
    online: AtomicBool,
    /// Calls for its attention so far.
    called: AtomicU64,
    /// Up to which of them it has answered.
    answered: AtomicU64,
    /// How often it began to forget what it remembers of page tables.
    flushes: AtomicU64,
    work: Mutex<Option<Work>>,
    busy: AtomicBool,
}

static PROCESSORS: [Processor; MAX_PROCESSORS] = [const {
    Processor {
        online: AtomicBool::new(false),
        called: AtomicU64::new(0),
        answered: AtomicU64::new(0),
        flushes: AtomicU64::new(0),
        work: Mutex::new(None),
        busy: AtomicBool::new(false),
    }
}; MAX_PROCESSORS];

/// How many processors run; 0 before the further ones are started.
static ONLINE: AtomicUsize = AtomicUsize::new(0);
/// Whether every processor but the one that ends the run stops.
static ENDED: AtomicBool = AtomicBool::new(false);

/// Counts the processor that booted.
pub(super) fn first_is_online() {
    PROCESSORS[0].online.store(true, Ordering::Release);
    ONLINE.store(1, Ordering::Release);
}

/// Does on a further processor what it is given, for ever.
pub(super) fn serve(processor: usize) -> ! {
    let state = &PROCESSORS[processor];
    state.online.store(true, Ordering::Release);
    ONLINE.fetch_add(1, Ordering::AcqRel);
    loop {
        let work = state.work.lock().take();
        if let Some(work) = work {
            interrupts::enable();
            work();
            state.busy.store(false, Ordering::Release);
            continue;
        }
        // Work that arrives after the look wakes the halt: its message waits until interrupts are on.
        interrupts::disable();
        if state.work.lock().is_none() {
            interrupts::enable_and_hlt();
        }
        interrupts::enable();
    }
}

/// Stops every other processor, for ever, as soon as it is interrupted. This one has interrupts off from now on.
pub(crate) fn stop_others() {
    interrupts::disable();
    ENDED.store(true, Ordering::Release);
    wake_others();
}

/// How many processors run.
pub(crate) fn online() -> usize {
    ONLINE.load(Ordering::Acquire)
}

/// Gives a further processor something to do. It must have nothing to do.
///
/// # Panics
/// When the processor doesn't run or is busy.
pub(crate) fn run_on(processor: usize, work: impl FnOnce() + Send + 'static) {
    let state = &PROCESSORS[processor];
    assert!(state.online.load(Ordering::Acquire) && processor != 0, "processor {processor} does not run");
    assert!(!state.busy.swap(true, Ordering::AcqRel), "processor {processor} is busy");
    *state.work.lock() = Some(Box::new(work));
    wake_others();
}

/// Whether a further processor still has something to do.
pub(crate) fn is_busy(processor: usize) -> bool {
    PROCESSORS[processor].busy.load(Ordering::Acquire)
}

/// Ends the halt of every other processor.
pub(crate) fn wake_others() {
    if online() > 1 {
        apic::send_to_others(Message::Interrupt(ATTENTION_VECTOR));
    }
}

/// Forgets what processors remember of page tables, on all of them: when this returns, no access under an old entry is
/// under way.
///
/// The caller may hold no lock that another processor waits for without calling [`attend`].
///
/// # Panics
/// When a processor doesn't answer within a minute.
pub(crate) fn flush_tlbs() {
    let this = gdt::this_processor();
    forget(this);
    if online() < 2 {
        return;
    }
    let mut calls = [0; MAX_PROCESSORS];
    let others = || (0..MAX_PROCESSORS).filter(|&other| other != this);
    for other in others().filter(|&other| PROCESSORS[other].online.load(Ordering::Acquire)) {
        calls[other] = PROCESSORS[other].called.fetch_add(1, Ordering::AcqRel) + 1;
    }
    apic::send_to_others(Message::Interrupt(ATTENTION_VECTOR));
    let deadline = Clock::now_ns() + ANSWER.as_nanos() as u64;
    for other in others() {
        while PROCESSORS[other].answered.load(Ordering::Acquire) < calls[other] {
            // They may be waiting for this one in the same way, with interrupts off.
            attend();
            assert!(Clock::now_ns() < deadline, "processor {other} does not answer processor {this}");
            core::hint::spin_loop();
        }
    }
}

/// Answers calls for this processor's attention. Done by an interrupt; to be called in loops that wait with interrupts
/// off for something that another processor holds.
pub(crate) fn attend() {
    if ENDED.load(Ordering::Acquire) {
        cpu::stop();
    }
    let this = gdt::this_processor();
    let state = &PROCESSORS[this];
    let called = state.called.load(Ordering::Acquire);
    if state.answered.load(Ordering::Acquire) < called {
        forget(this);
        // An interrupt in between may have answered more.
        state.answered.fetch_max(called, Ordering::AcqRel);
    }
}

/// Has this processor forget what it remembers of page tables.
fn forget(this: usize) {
    // Counted before, so that what is counted after a moment is done after it.
    PROCESSORS[this].flushes.fetch_add(1, Ordering::SeqCst);
    tlb::flush_all();
}

/// A moment in what processors remember of page tables.
///
/// Whoever changes page tables and has the others forget the old entries takes one in between, and asks it afterwards: a
/// witness that goes by what each processor did, not by who was asked to do it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remembered([u64; MAX_PROCESSORS]);

impl Remembered {
    /// This moment.
    pub(crate) fn now() -> Self {
        Self(core::array::from_fn(|index| PROCESSORS[index].flushes.load(Ordering::SeqCst)))
    }

    /// Fails unless every processor that runs has begun anew since.
    ///
    /// # Panics
    /// When one has not: it may go on using a page that is gone.
    pub(crate) fn check_forgotten(&self) {
        for (index, before) in self.0.iter().enumerate() {
            let state = &PROCESSORS[index];
            assert!(
                !state.online.load(Ordering::Acquire) || state.flushes.load(Ordering::SeqCst) > *before,
                "processor {index} may still use pages that processor {} took away",
                gdt::this_processor()
            );
        }
    }
}
