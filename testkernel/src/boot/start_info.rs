//! What the boot loader says: the memory map and the command line.
//!
//! Layouts from Xen's public header `arch-x86/hvm/start_info.h`. Everything is copied out before any frame is given
//! away, since it lies in memory that the map calls usable.

use crate::memory::PhysRange;
use core::{ffi::CStr, ptr};

/// Value of the first field of the start information.
const MAGIC: u32 = 0x336e_c578;
/// Type of a memory map entry that is ordinary RAM.
const MEMORY_RAM: u32 = 1;
/// Entries of the memory map that are kept.
const MAX_RANGES: usize = 64;
/// Bytes of the command line that are kept.
const MAX_COMMAND_LINE: usize = 8192;

/// `struct hvm_start_info`, version 1.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct RawStartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    modules: u32,
    modules_address: u64,
    command_line: u64,
    rsdp: u64,
    memory_map: u64,
    memory_map_entries: u32,
    reserved: u32,
}

/// `struct hvm_memmap_table_entry`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct RawRange {
    address: u64,
    size: u64,
    kind: u32,
    reserved: u32,
}

/// A copy of the start information.
#[derive(Debug)]
pub(crate) struct StartInfo {
    ranges: [PhysRange; MAX_RANGES],
    range_count: usize,
    command_line: [u8; MAX_COMMAND_LINE],
    command_line_length: usize,
}

impl StartInfo {
    /// Copies the start information out of the boot loader's memory.
    ///
    /// # Errors
    /// A sentence when the magic number is wrong, there is no memory map, or something is longer than what is kept.
    ///
    /// # Safety
    /// `address` must be what the boot loader left in `ebx`; the first 4 GiB must be mapped one to one and the start
    /// information still untouched.
    pub(crate) unsafe fn copy(address: u64) -> Result<Self, &'static str> {
        // SAFETY: the caller promises that the address is right; it is mapped; the structure is plain old data.
        let raw = unsafe { ptr::read_unaligned(address as *const RawStartInfo) };
        if raw.magic != MAGIC {
            return Err("the start information has a wrong magic number: not started by PVH?");
        }
        if raw.version < 1 || raw.memory_map == 0 {
            return Err("the start information has no memory map");
        }
        let mut info = Self {
            ranges: [PhysRange::default(); MAX_RANGES],
            range_count: 0,
            command_line: [0; MAX_COMMAND_LINE],
            command_line_length: 0,
        };
        for index in 0..u64::from(raw.memory_map_entries) {
            let entry = raw.memory_map + index * size_of::<RawRange>() as u64;
            // SAFETY: the boot loader's map has that many entries, below 4 GiB, thus mapped.
            let range = unsafe { ptr::read_unaligned(entry as *const RawRange) };
            if range.kind != MEMORY_RAM {
                continue;
            }
            let Some(slot) = info.ranges.get_mut(info.range_count) else {
                return Err("the memory map has too many entries");
            };
            *slot = PhysRange { start: range.address, end: range.address.saturating_add(range.size) };
            info.range_count += 1;
        }
        if raw.command_line != 0 {
            // SAFETY: the boot loader's command line is NUL-terminated and below 4 GiB, thus mapped.
            let text = unsafe { CStr::from_ptr(raw.command_line as *const _) }.to_bytes();
            let Some(copy) = info.command_line.get_mut(..text.len()) else {
                return Err("the command line is too long");
            };
            copy.copy_from_slice(text);
            info.command_line_length = text.len();
        }
        Ok(info)
    }

    /// The ranges of usable RAM, as the boot loader lists them.
    pub(crate) fn memory(&self) -> &[PhysRange] {
        &self.ranges[..self.range_count]
    }

    /// The command line, or `None` when it isn't UTF-8.
    pub(crate) fn command_line(&self) -> Option<&str> {
        core::str::from_utf8(&self.command_line[..self.command_line_length]).ok()
    }
}
