//! Segments, and a stack of its own for faults that may come from a broken stack.

use crate::memory::layout;
use spin::Once;
use x86_64::{
    VirtAddr,
    instructions::{
        segmentation::{CS, DS, ES, SS, Segment},
        tables::load_tss,
    },
    structures::{
        gdt::{Descriptor, GlobalDescriptorTable},
        tss::TaskStateSegment,
    },
};

/// Index of the fault stack in the task state segment.
pub(crate) const FAULT_STACK: u16 = 0;

static TSS: Once<TaskStateSegment> = Once::new();
static GDT: Once<GlobalDescriptorTable> = Once::new();

/// Loads the tables of the boot processor.
pub(crate) fn init() {
    let tss = TSS.call_once(|| {
        let mut tss = TaskStateSegment::new();
        tss.interrupt_stack_table[usize::from(FAULT_STACK)] = VirtAddr::new(layout::fault_stack().end);
        tss
    });
    let mut table = GlobalDescriptorTable::new();
    let code = table.append(Descriptor::kernel_code_segment());
    let data = table.append(Descriptor::kernel_data_segment());
    let task = table.append(Descriptor::tss_segment(tss));
    GDT.call_once(|| table).load();
    // SAFETY: the selector names the 64-bit code segment of the table that was just loaded.
    unsafe { CS::set_reg(code) };
    // SAFETY: the selector names its data segment.
    unsafe { SS::set_reg(data) };
    // SAFETY: as above.
    unsafe { DS::set_reg(data) };
    // SAFETY: as above.
    unsafe { ES::set_reg(data) };
    // SAFETY: the selector names its task state segment, which is static.
    unsafe { load_tss(task) };
}
