//! Where the linker put things: the symbols of `kernel.ld`.

use super::{PAGE, PhysRange};

unsafe extern "C" {
    static kernel_start: u8;
    static kernel_end: u8;
    static text_start: u8;
    static text_end: u8;
    static rodata_start: u8;
    static rodata_end: u8;
    static data_start: u8;
    static data_end: u8;
    static stack_bottom: u8;
    static stack_top: u8;
    static fault_stack_bottom: u8;
    static fault_stack_top: u8;
    static processor_stacks: u8;
    static processor_stacks_end: u8;
}

/// Bytes of a stack, as in `kernel.ld`.
const STACK: u64 = 0x4_0000;
/// Bytes of a fault stack.
const FAULT_STACK: u64 = 0x4000;
/// Bytes that a further processor has for both, each with an unmapped page below.
pub(crate) const PROCESSOR_STACKS: u64 = PAGE + STACK + PAGE + FAULT_STACK;

/// A range between two linker symbols; only their addresses are taken.
macro_rules! between {
    ($(#[$doc:meta])* $name:ident, $start:ident, $end:ident) => {
        $(#[$doc])*
        pub(crate) fn $name() -> PhysRange {
            PhysRange { start: (&raw const $start).addr() as u64, end: (&raw const $end).addr() as u64 }
        }
    };
}

between!(
    /// All of the kernel's image, stacks included.
    image, kernel_start, kernel_end
);
between!(
    /// Code.
    text, text_start, text_end
);
between!(
    /// Constants.
    rodata, rodata_start, rodata_end
);
between!(
    /// Variables.
    data, data_start, data_end
);
between!(
    /// The stack; the page below it is never mapped.
    stack, stack_bottom, stack_top
);
between!(
    /// The stack of faults that cannot use the ordinary one; the page below it is never mapped.
    fault_stack, fault_stack_bottom, fault_stack_top
);
between!(
    /// The stacks of all further processors, with the unmapped pages between them.
    all_processor_stacks, processor_stacks, processor_stacks_end
);

/// How many processors there can be, the first one included.
pub(crate) const MAX_PROCESSORS: usize = 8;

/// The stack of a further processor, `1..MAX_PROCESSORS`.
pub(crate) fn processor_stack(processor: usize) -> PhysRange {
    let start = all_processor_stacks().start + (processor as u64 - 1) * PROCESSOR_STACKS + PAGE;
    PhysRange { start, end: start + STACK }
}

/// Its fault stack.
pub(crate) fn processor_fault_stack(processor: usize) -> PhysRange {
    let start = processor_stack(processor).end + PAGE;
    PhysRange { start, end: start + FAULT_STACK }
}
