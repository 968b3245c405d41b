//! Segments, and a stack of its own for faults that may come from a broken stack. Each processor has its own tables, and
//! its number as the base of its `gs` segment.

use crate::memory::layout::{self, MAX_PROCESSORS};
use spin::Once;
use x86_64::{
    VirtAddr,
    instructions::{
        segmentation::{CS, DS, ES, SS, Segment},
        tables::load_tss,
    },
    registers::model_specific::GsBase,
    structures::{
        gdt::{Descriptor, GlobalDescriptorTable},
        tss::TaskStateSegment,
    },
};

/// Index of the fault stack in the task state segment.
pub(crate) const FAULT_STACK: u16 = 0;

static TSS: [Once<TaskStateSegment>; MAX_PROCESSORS] = [const { Once::new() }; MAX_PROCESSORS];
static GDT: [Once<GlobalDescriptorTable>; MAX_PROCESSORS] = [const { Once::new() }; MAX_PROCESSORS];

/// Loads the tables of a processor, on it; 0 is the one that booted.
pub(crate) fn init(processor: usize) {
    let tss = TSS[processor].call_once(|| {
        let stack = match processor {
            0 => layout::fault_stack(),
            further => layout::processor_fault_stack(further),
        };
        let mut tss = TaskStateSegment::new();
        tss.interrupt_stack_table[usize::from(FAULT_STACK)] = VirtAddr::new(stack.end);
        tss
    });
    let mut table = GlobalDescriptorTable::new();
    let code = table.append(Descriptor::kernel_code_segment());
    let data = table.append(Descriptor::kernel_data_segment());
    let task = table.append(Descriptor::tss_segment(tss));
    GDT[processor].call_once(|| table).load();
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
    GsBase::write(VirtAddr::new(processor as u64));
}

/// The number of the processor that asks; 0 before there are several.
pub(crate) fn this_processor() -> usize {
    GsBase::read().as_u64() as usize % MAX_PROCESSORS
}
