//! The kernel's own machinery: what the scenarios with files stand on.

use super::{Machine, Outcome, Stop, ensure};
use crate::{
    arch::traps::{self, PageFault},
    memory::{
        LARGE_PAGE, PAGE,
        address_space::{Access, AddressSpace},
        frames, paging,
    },
};
use alloc::{vec, vec::Vec};
use spin::Mutex;

/// The address space whose faults are handled, and what was asked for.
static PROGRAM: Mutex<Option<Program>> = Mutex::new(None);

struct Program {
    space: AddressSpace,
    frame: u64,
    bytes: u64,
    faults: Vec<PageFault>,
}

/// Any machine. A page is filled in when it is touched, first for reading, then for writing; 4 KiB and 2 MiB; two address
/// spaces share memory and don't share addresses.
pub(crate) fn faults_resume(_: &Machine) -> Outcome {
    traps::handle_page_faults(fill_in);
    for bytes in [PAGE, LARGE_PAGE] {
        let count = (bytes / PAGE) as usize;
        let frame = frames::allocate(count, count).ok_or(Stop::Fail("no memory".into()))?;
        let virt = paging::USER_START + 3 * LARGE_PAGE;
        let space = AddressSpace::new()?;
        let other = AddressSpace::new()?;
        space.activate();
        *PROGRAM.lock() = Some(Program { space, frame, bytes, faults: vec![] });
        let last = virt + bytes - 8;
        let read = paging::read_user_word(last);
        paging::write_user_word(last, read.wrapping_add(1));
        let again = paging::read_user_word(last);
        ensure!(again == read.wrapping_add(1), "read {again:#x} after writing {:#x}", read.wrapping_add(1));
        let there = paging::read_word(frame + bytes - 8);
        ensure!(there == Some(again), "the frame has {there:#x?}, the mapping {again:#x}");
        other.activate();
        let Some(program) = PROGRAM.lock().take() else { return Err(Stop::Fail("the program is gone".into())) };
        let asked: Vec<_> = program.faults.iter().map(|fault| (fault.address, fault.write, fault.present)).collect();
        ensure!(asked == [(last, false, false), (last, true, true)], "the faults were {asked:x?}");
        ensure!(other.lookup(last).is_none(), "the other address space has the page, too");
        let mut space = program.space;
        // SAFETY: nothing refers to the page any more.
        unsafe { space.unmap(virt, bytes) }?;
        ensure!(space.lookup(last).is_none(), "the page is mapped after it was unmapped");
        ensure!(frames::free(frame, count), "the frames were not ours");
    }
    Ok(())
}

fn fill_in(fault: &PageFault) -> bool {
    let mut program = PROGRAM.lock();
    let Some(program) = program.as_mut() else { return false };
    program.faults.push(*fault);
    let access = if fault.write { Access::Write } else { Access::Read };
    let virt = fault.address / program.bytes * program.bytes;
    // SAFETY: the frame is the program's, and nothing refers to what was mapped there.
    unsafe { program.space.map(virt, program.frame, program.bytes, access) }.is_ok()
}
