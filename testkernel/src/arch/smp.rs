//! More than one processor: starting them, having them do something, and their attention when page tables change.
//!
//! Each further processor is started in real mode, at a page below 1 MiB, and goes from there to long mode in one step, on
//! the page tables of the boot code, whose pages can all be executed.

use super::{
    apic::{self, Message},
    clock::Clock,
    gdt, port, traps,
};
use crate::memory::{
    PAGE,
    layout::{self, MAX_PROCESSORS},
};
use alloc::boxed::Box;
use core::{
    arch::global_asm,
    ptr,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};
use spin::Mutex;
use thiserror::Error;
use x86_64::{
    PhysAddr,
    instructions::{interrupts, tlb},
    registers::control::{Cr3, Cr3Flags},
    structures::paging::PhysFrame,
};

/// The vector by which a processor asks for the others' attention.
pub(crate) const ATTENTION_VECTOR: u8 = 0x21;
/// The page below 1 MiB where processors begin. The frame allocator gives no memory down there.
const TRAMPOLINE: u64 = 0x8000;
/// How long a processor may take to come up.
const PATIENCE: Duration = Duration::from_secs(10);
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

/// How many processors run; 0 until [`start`].
static ONLINE: AtomicUsize = AtomicUsize::new(0);
/// The kernel's page tables, for those that come up.
static ROOT: AtomicU64 = AtomicU64::new(0);
/// How many processors have begun to come up, the first one included.
static BEGUN: AtomicU32 = AtomicU32::new(1);
/// Top of the stack of processor 1; the stacks of the others follow at the distance below.
static FIRST_STACK: AtomicU64 = AtomicU64::new(0);

/// Why processors cannot be started.
#[derive(Clone, Copy, Debug, Error)]
pub(crate) enum StartError {
    /// More than the kernel has stacks for.
    #[error("the machine has {0} processors, this kernel can use {MAX_PROCESSORS}")]
    TooMany(usize),
    /// Some did not come up.
    #[error("{online} of {expected} processors run after {} s", PATIENCE.as_secs())]
    Missing {
        /// How many run.
        online: usize,
        /// How many there are.
        expected: usize,
    },
}

/// Starts all processors of the machine. Returns how many there are.
///
/// # Errors
/// When they are too many, or some don't come up.
pub(crate) fn start() -> Result<usize, StartError> {
    let expected = count();
    if expected > MAX_PROCESSORS {
        return Err(StartError::TooMany(expected));
    }
    PROCESSORS[0].online.store(true, Ordering::Release);
    ONLINE.store(1, Ordering::Release);
    if expected > 1 {
        ROOT.store(Cr3::read().0.start_address().as_u64(), Ordering::Release);
        FIRST_STACK.store(layout::processor_stack(1).end, Ordering::Release);
        let (begin, end) = ((&raw const trampoline_start).addr(), (&raw const trampoline_end).addr());
        // SAFETY: the code is smaller than the page, which is RAM, mapped one to one, and nobody's.
        unsafe { ptr::copy_nonoverlapping(begin as *const u8, TRAMPOLINE as *mut u8, end - begin) };
        // Intel SDM volume 3, 9.4.4: INIT, 10 ms, then twice the message to start.
        apic::send_to_others(Message::Init);
        Clock::spin(Duration::from_millis(10));
        apic::send_to_others(Message::Start((TRAMPOLINE / PAGE) as u8));
        Clock::spin(Duration::from_millis(1));
        apic::send_to_others(Message::Start((TRAMPOLINE / PAGE) as u8));
        let deadline = Clock::now_ns() + PATIENCE.as_nanos() as u64;
        while online() < expected {
            if Clock::now_ns() >= deadline {
                return Err(StartError::Missing { online: online(), expected });
            }
            core::hint::spin_loop();
        }
    }
    Ok(expected)
}

/// How many processors run.
pub(crate) fn online() -> usize {
    ONLINE.load(Ordering::Acquire)
}

/// How many processors the machine has, by QEMU's firmware configuration device (item 5).
fn count() -> usize {
    port::write_u16(0x510, 5);
    let count = u16::from_le_bytes([port::read_u8(0x511), port::read_u8(0x511)]);
    // Without that device the bus answers with ones.
    if count == u16::MAX { 1 } else { usize::from(count).max(1) }
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

unsafe extern "C" {
    static trampoline_start: u8;
    static trampoline_end: u8;
}

global_asm!(
    ".pushsection .rodata.trampoline, \"a\"",
    ".balign 8",
    "trampoline_start:",
    ".code16",
    "jmp 2f",
    // The descriptor table to load, at a place that is known.
    ".balign 8",
    ".word 23",
    ".long boot_gdt",
    "2: cli",
    "cld",
    "xor ax, ax",
    "mov ds, ax",
    // CR4: PAE, OSFXSR, OSXMMEXCPT, as the first processor has it.
    "mov eax, cr4",
    "or eax, 0x620",
    "mov cr4, eax",
    "mov eax, offset boot_pml4",
    "mov cr3, eax",
    // EFER: long mode and no-execute.
    "mov ecx, 0xc0000080",
    "rdmsr",
    "or eax, 0x900",
    "wrmsr",
    "lgdt [{table}]",
    // CR0: protection and paging at once, which is long mode at once.
    "mov eax, cr0",
    "and eax, 0x9ffffffb",
    "or eax, 0x80010023",
    "mov cr0, eax",
    // A far jump with a 32-bit offset.
    ".byte 0x66, 0xea",
    ".long processor_entry",
    ".word 8",
    "trampoline_end:",
    ".popsection",
    ".pushsection .text.boot, \"ax\"",
    ".code64",
    "processor_entry:",
    "mov eax, 16",
    "mov ds, eax",
    "mov es, eax",
    "mov ss, eax",
    "xor eax, eax",
    "mov fs, eax",
    "mov gs, eax",
    "xor ebp, ebp",
    "mov edi, 1",
    "lock xadd [rip + {begun}], edi",
    "mov eax, edi",
    "dec eax",
    "imul eax, eax, {distance}",
    "mov rsp, [rip + {first_stack}]",
    "add rsp, rax",
    "call {main}",
    "ud2",
    ".popsection",
    table = const TRAMPOLINE + 8,
    begun = sym BEGUN,
    distance = const layout::PROCESSOR_STACKS,
    first_stack = sym FIRST_STACK,
    main = sym main,
);

/// Where a further processor arrives, with its number.
extern "C" fn main(processor: u32) -> ! {
    let processor = processor as usize;
    if processor >= MAX_PROCESSORS {
        super::cpu::stop();
    }
    let root = PhysFrame::containing_address(PhysAddr::new(ROOT.load(Ordering::Acquire)));
    // SAFETY: the kernel's tables map all of its image at the same addresses as the boot code's.
    unsafe { Cr3::write(root, Cr3Flags::empty()) };
    gdt::init(processor);
    traps::init();
    apic::init_further();
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
