//! Files on memory that machines share, next to this kernel's own RAM; nobody shares it here.

use super::{
    data::{each_block, touch},
    limits::Ram,
    measure::{FILE_BYTES, LARGE, grow_tlb, passes},
};
use crate::{
    arch::traps,
    machine::Machine,
    mmap::{self, Process, SharedFile},
    outcome::{Outcome, ensure},
    region::{self, Memory},
};
use alloc::{sync::Arc, vec};
use core::hint::black_box;
use famfs::{
    Claims, Coherence, Error, FormatOptions, Mount, MountOptions, NewFile, Owner, Placement, format, layout::Uuid,
};
use testkernel_protocol::content::Content;

/// Bytes of the device: the file, superblock, log and some room.
const DEVICE: u64 = 2 * FILE_BYTES;
const SYSTEM: Uuid = Uuid(*b"the benchmark's.");

pub(super) fn run(machine: &Machine) -> Outcome {
    let Some(region) = region::find(machine)? else {
        log::info!("this machine shares no memory: files on such memory are not measured");
        return Ok(());
    };
    let memory = region::map(machine, &region)?;
    format(
        &memory,
        &FormatOptions { force: true, ..FormatOptions::new(Uuid([1; 16]), Uuid([2; 16]), SYSTEM, DEVICE) },
    )?;
    let options = MountOptions { system: Some(SYSTEM), coherence: Coherence::Hardware, ..MountOptions::default() };
    let fs: Mount<Memory, spin::Mutex<()>> = Mount::open(memory, [], &options, &Claims::new())?;
    let owner = Owner { uid: 0, gid: 0, mode: 0o644 };
    let new = NewFile { size: FILE_BYTES, owner, read_only: false, placement: Placement::Simple };
    let file = Arc::new(fs.open_file(fs.create(b"bench-data", &new)?)?);
    grow_tlb();
    data(&file)?;
    let process = Process::new()?;
    traps::handle_page_faults(mmap::handle);
    process.activate();
    let touched = touch(&process, file, FILE_BYTES, ["famfs_fault_2m", "famfs_fault_4k"]);
    process.end();
    touched
}

fn data(file: &SharedFile) -> Outcome {
    let (mut spread, mut limit_spread) = (vec![0; 2 * LARGE], vec![0; 2 * LARGE]);
    let (buffer, other) = (between_large_pages(&mut spread), between_large_pages(&mut limit_spread));
    let (len, mut ram) = (FILE_BYTES, Ram::new(FILE_BYTES));
    Content::of("bench-data").fill(0, buffer);
    let whole = |count: usize| if count == LARGE { Ok(()) } else { Err(Error::NotFound) };
    let write = |block: &[u8]| each_block(len, LARGE, |at| whole(file.write_at(at, block)?));
    // The first time the host gives the pages.
    write(buffer)?;
    passes(["limit_famfs_write_2m", "famfs_write_2m"], len, || ram.copy_in(other), || write(buffer))?;
    passes(
        ["limit_famfs_read_2m", "famfs_read_2m"],
        len,
        || ram.copy_out(other),
        || each_block(len, LARGE, |at| whole(file.read_at(at, buffer)?)),
    )?;
    let expected = Content::of("bench-data").word(1);
    ensure!(buffer[8..16] == expected.to_le_bytes(), "what was read is not what was written");
    passes(
        ["limit_famfs_scan", "famfs_map_scan"],
        len,
        || ram.scan(),
        || {
            each_block(len, LARGE, |at| {
                let view = file.view(at, LARGE as u64)?;
                black_box(view.words().fold(0_u64, u64::wrapping_add));
                Ok::<(), Error>(())
            })
        },
    )
}

/// 2 MiB in a buffer, half of them on each side of a multiple of 2 MiB. The TLB of QEMU's emulation has one place for pages
/// that are a power of two apart: were a buffer as far from such a multiple as the block of the file that is copied, each
/// access would displace the one before.
fn between_large_pages(buffer: &mut [u8]) -> &mut [u8] {
    let past = buffer.as_ptr() as usize % LARGE;
    let start = (LARGE + LARGE / 2 - past) % LARGE;
    &mut buffer[start..start + LARGE]
}
