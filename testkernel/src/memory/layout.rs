//! Where the linker put things: the symbols of `kernel.ld`.

use super::PhysRange;

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
}

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
