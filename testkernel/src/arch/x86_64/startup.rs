//! Starting the further processors.
//!
//! Each begins in real mode, at a page below 1 MiB, and goes from there to long mode in one step, on the page tables of the
//! boot code: all of its pages can be executed.

use super::{
    apic::{self, Message},
    clock::Clock,
    cpu, gdt, port,
    smp::{self, online},
    traps,
};
use crate::memory::{
    PAGE,
    layout::{self, MAX_PROCESSORS},
};
use core::{
    arch::global_asm,
    ptr,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};
use thiserror::Error;
use x86_64::{
    PhysAddr,
    registers::control::{Cr3, Cr3Flags},
    structures::paging::PhysFrame,
};

/// The page below 1 MiB where processors begin. The frame allocator gives no memory down there.
const TRAMPOLINE: u64 = 0x8000;
/// How long a processor may take to come up.
const PATIENCE: Duration = Duration::from_secs(10);

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
pub(crate) fn start_all() -> Result<usize, StartError> {
    let expected = count();
    if expected > MAX_PROCESSORS {
        return Err(StartError::TooMany(expected));
    }
    smp::first_is_online();
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

/// How many processors the machine has, by QEMU's firmware configuration device (item 5).
fn count() -> usize {
    port::write_u16(0x510, 5);
    let count = u16::from_le_bytes([port::read_u8(0x511), port::read_u8(0x511)]);
    // Without that device the bus answers with ones.
    if count == u16::MAX { 1 } else { usize::from(count).max(1) }
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
        cpu::stop();
    }
    let root = PhysFrame::containing_address(PhysAddr::new(ROOT.load(Ordering::Acquire)));
    // SAFETY: the kernel's tables map all of its image at the same addresses as the boot code's.
    unsafe { Cr3::write(root, Cr3Flags::empty()) };
    gdt::init(processor);
    traps::load();
    apic::init_further();
    smp::serve(processor)
}
