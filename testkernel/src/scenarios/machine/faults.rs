//! The kernel's own machinery: what the scenarios with files stand on.

use crate::{
    arch::{
        traps::{self, PageFault, Resolution},
        user,
    },
    machine::Machine,
    memory::{
        LARGE_PAGE, PAGE,
        address_space::{Access, AddressSpace},
        frames, paging,
    },
    outcome::{Outcome, Stop, ensure},
};
use alloc::{format, vec, vec::Vec};
use fs_dax::Errno;
use spin::Mutex;

/// The address space in which faults are handled, and what was asked for.
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
        let read = load(last)?;
        store(last, read.wrapping_add(1))?;
        let again = load(last)?;
        ensure!(again == read.wrapping_add(1), "read {again:#x} after writing {:#x}", read.wrapping_add(1));
        let beyond = user::load_word(virt + bytes);
        ensure!(beyond == Err(Errno::EFAULT), "an address that nobody fills in gives {beyond:x?}");
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

fn load(address: u64) -> Result<u64, Stop> {
    user::load_word(address).map_err(|error| Stop::Fail(format!("a bus error at {address:#x}: {error}")))
}

fn store(address: u64, value: u64) -> Outcome {
    user::store_word(address, value).map_err(|error| Stop::Fail(format!("a bus error at {address:#x}: {error}")))
}

fn fill_in(fault: &PageFault) -> Resolution {
    let mut program = PROGRAM.lock();
    let Some(program) = program.as_mut() else { return Resolution::BusError(Errno::EFAULT) };
    let virt = fault.address / program.bytes * program.bytes;
    if virt != paging::USER_START + 3 * LARGE_PAGE {
        return Resolution::BusError(Errno::EFAULT);
    }
    program.faults.push(*fault);
    let access = if fault.write { Access::Write } else { Access::Read };
    // SAFETY: the frame is the program's, and nothing refers to what was mapped there.
    match unsafe { program.space.map(virt, program.frame, program.bytes, access) } {
        Ok(()) => Resolution::Retry,
        Err(_) => Resolution::BusError(Errno::ENOMEM),
    }
}
