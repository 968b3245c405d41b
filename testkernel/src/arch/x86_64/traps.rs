//! Exceptions and interrupts.
//!
//! Every vector has a stub of 16 bytes that saves its number; one common path saves the registers, calls Rust and
//! restores them. An exception that nobody handles is reported with all registers and ends the run.

use super::{
    apic::{self, SPURIOUS_VECTOR, TIMER_VECTOR},
    cpu,
    frame::TrapFrame,
    gdt::FAULT_STACK,
    smp, user, vectors,
};
use core::{arch::global_asm, fmt};
use fs_dax::Errno;
use spin::Once;
use x86_64::{
    VirtAddr,
    instructions::interrupts,
    registers::{control::Cr2, rflags::RFlags},
    structures::idt::InterruptDescriptorTable,
};

/// Vector of page faults.
const PAGE_FAULT: u8 = 14;

static PAGE_FAULTS: Once<PageFaultHandler> = Once::new();
static IDT: Once<InterruptDescriptorTable> = Once::new();

/// What the kernel does about traps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handlers {
    /// At every tick of a processor's timer.
    pub(crate) tick: fn(&TrapFrame),
    /// For an exception that nobody handles: reports it and ends the run.
    pub(crate) fatal: fn(&Fault<'_>) -> !,
}

static HANDLERS: Once<Handlers> = Once::new();

/// Has traps handled from now on.
pub(crate) fn init(handlers: Handlers) {
    HANDLERS.call_once(|| handlers);
    load();
}

/// Loads the table of handlers, on each processor.
pub(super) fn load() {
    let table = IDT.call_once(|| {
        let mut idt = InterruptDescriptorTable::new();
        let stub = |vector: u8| VirtAddr::new((&raw const trap_stubs).addr() as u64 + 16 * u64::from(vector));
        macro_rules! exceptions {
            ($($field:ident = $vector:literal),*) => {
                // SAFETY: the stub of a vector follows the processor's convention for that vector.
                $(unsafe { idt.$field.set_handler_addr(stub($vector)) };)*
            };
        }
        exceptions!(
            divide_error = 0,
            debug = 1,
            breakpoint = 3,
            overflow = 4,
            bound_range_exceeded = 5,
            invalid_opcode = 6,
            device_not_available = 7,
            invalid_tss = 10,
            segment_not_present = 11,
            stack_segment_fault = 12,
            general_protection_fault = 13,
            page_fault = 14,
            x87_floating_point = 16,
            alignment_check = 17,
            simd_floating_point = 19,
            virtualization = 20,
            cp_protection_exception = 21
        );
        macro_rules! on_fault_stack {
            ($($field:ident = $vector:literal),*) => {
                $(
                    // SAFETY: as above.
                    let entry = unsafe { idt.$field.set_handler_addr(stub($vector)) };
                    // SAFETY: the task state segment has that stack, and these vectors don't nest usefully.
                    unsafe { entry.set_stack_index(FAULT_STACK) };
                )*
            };
        }
        on_fault_stack!(non_maskable_interrupt = 2, double_fault = 8, machine_check = 18);
        for vector in 32..=255 {
            // SAFETY: as above.
            unsafe { idt[vector].set_handler_addr(stub(vector)) };
        }
        idt
    });
    table.load();
}

unsafe extern "C" {
    static trap_stubs: u8;
}

global_asm!(
    ".pushsection .text.traps, \"ax\"",
    ".balign 16",
    ".global trap_stubs",
    "trap_stubs:",
    ".set vector, 0",
    ".rept 256",
    ".balign 16, 0xcc",
    // These push an error code themselves.
    ".if vector != 8 && (vector < 10 || vector > 14) && vector != 17 && vector != 21 && vector != 29 && vector != 30",
    "push 0",
    ".endif",
    "push vector",
    "jmp trap_common",
    ".set vector, vector + 1",
    ".endr",
    ".balign 16",
    "trap_common:",
    "push rax",
    "push rbx",
    "push rcx",
    "push rdx",
    "push rsi",
    "push rdi",
    "push rbp",
    "push r8",
    "push r9",
    "push r10",
    "push r11",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "cld",
    "mov rdi, rsp",
    // Rust wants the stack aligned to 16; rbp survives the call.
    "mov rbp, rsp",
    "and rsp, -16",
    "call {dispatch}",
    "mov rsp, rbp",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop r11",
    "pop r10",
    "pop r9",
    "pop r8",
    "pop rbp",
    "pop rdi",
    "pop rsi",
    "pop rdx",
    "pop rcx",
    "pop rbx",
    "pop rax",
    "add rsp, 16",
    "iretq",
    ".popsection",
    dispatch = sym dispatch,
);

/// A page fault.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageFault {
    /// The address that was accessed.
    pub(crate) address: u64,
    /// Whether it was written.
    pub(crate) write: bool,
    /// Whether a page is there, but does not permit the access.
    pub(crate) present: bool,
}

/// What becomes of a page fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolution {
    /// The access is tried again.
    Retry,
    /// It cannot be: a bus error for the program that made it. A fault of the kernel's own ends the run.
    BusError(Errno),
}

/// Handles a page fault, with interrupts on where they were on.
pub(crate) type PageFaultHandler = fn(&PageFault) -> Resolution;

/// Has page faults handled from now on. The first handler stays.
pub(crate) fn handle_page_faults(handler: PageFaultHandler) {
    PAGE_FAULTS.call_once(|| handler);
}

/// Lets the handler try. It uses no SSE register, which the interrupted code may have been using.
fn try_page_fault(frame: &mut TrapFrame) -> bool {
    let Some(handler) = PAGE_FAULTS.get() else { return false };
    // What runs from here on may fault itself.
    let fault = PageFault { address: Cr2::read_raw(), write: frame.error & 2 != 0, present: frame.error & 1 != 0 };
    // Other processors may want this one's attention, and the device's interrupts end its waits.
    let interruptible = frame.rflags & RFlags::INTERRUPT_FLAG.bits() != 0;
    if interruptible {
        interrupts::enable();
    }
    let resolution = handler(&fault);
    if interruptible {
        interrupts::disable();
    }
    match resolution {
        Resolution::Retry => true,
        Resolution::BusError(errno) => match user::give_up(frame.rip, errno) {
            Some(instruction) => {
                frame.rip = instruction;
                true
            }
            None => false,
        },
    }
}

extern "C" fn dispatch(frame: &mut TrapFrame) {
    let vector = frame.vector as u8;
    match vector {
        PAGE_FAULT if try_page_fault(frame) => {}
        0..32 => report(frame),
        TIMER_VECTOR => {
            apic::end_of_interrupt();
            if let Some(handlers) = HANDLERS.get() {
                (handlers.tick)(frame);
            }
        }
        SPURIOUS_VECTOR => {}
        smp::ATTENTION_VECTOR => {
            apic::end_of_interrupt();
            smp::attend();
        }
        _ => {
            vectors::raised(vector);
            apic::end_of_interrupt();
            smp::wake_others();
        }
    }
}

/// Reports an exception that nobody handles.
fn report(frame: &TrapFrame) -> ! {
    match HANDLERS.get() {
        Some(handlers) => (handlers.fatal)(&Fault { frame, cr2: Cr2::read_raw() }),
        None => cpu::stop(),
    }
}

/// An exception, displayed in one line.
#[derive(Debug)]
pub(crate) struct Fault<'a> {
    /// The registers.
    pub(crate) frame: &'a TrapFrame,
    cr2: u64,
}

impl fmt::Display for Fault<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { frame, cr2 } = self;
        write!(
            f,
            "exception {} ({}), error code {:#x}, rip {:#x}, rsp {:#x}, cr2 {cr2:#x}",
            frame.vector,
            name(frame.vector),
            frame.error,
            frame.rip,
            frame.rsp
        )
    }
}

/// The name of an exception.
fn name(vector: u64) -> &'static str {
    match vector {
        0 => "division error",
        1 => "debug",
        2 => "non-maskable interrupt",
        3 => "breakpoint",
        4 => "overflow",
        5 => "bound range",
        6 => "invalid instruction",
        7 => "device not available",
        8 => "double fault, perhaps a stack overflow",
        10 => "invalid task state segment",
        11 => "segment not present",
        12 => "stack segment",
        13 => "general protection",
        14 => "page fault",
        16 => "x87",
        17 => "alignment",
        18 => "machine check",
        19 => "SIMD",
        _ => "reserved",
    }
}
