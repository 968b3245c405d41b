//! What may be sent past the driver: a request is judged by its encoding, not by what its type says of it.

use fuse_proto::{Errno, FallocateMode, Message, NodeId, Opcode, OpenFlags, SetattrValid, Shape};

use crate::Error;

/// Where the fields of a request's header begin, and its body.
const OPCODE: usize = 4;
const UNIQUE: usize = 8;
const NODE: usize = 16;
const BODY: usize = 40;
/// Where a FALLOCATE has its mode.
const MODE: usize = BODY + 24;

/// Refuses what is not the request that it says it is, and what belongs to the driver: the session, the window, and, where
/// files are `mapped`, what takes bytes away from one.
pub(super) fn vet(message: &Message<'_>, shape: &Shape, unique: u64, mapped: bool) -> Result<(), Error> {
    let head = message.head();
    let opcode = Opcode(u32_at(head, OPCODE));
    let node = NodeId(u64_at(head, NODE));
    if opcode != shape.opcode || node != shape.node || u64_at(head, UNIQUE) != unique {
        return Err(Error::refused(Errno::EINVAL, "the request is encoded as another one"));
    }
    let cuts = match opcode {
        Opcode::SETUPMAPPING | Opcode::REMOVEMAPPING => {
            return Err(Error::refused(Errno::EPERM, "the window belongs to the driver"));
        }
        Opcode::INIT | Opcode::DESTROY => {
            return Err(Error::refused(Errno::EPERM, "the session belongs to the driver"));
        }
        Opcode::SETATTR => u32_at(head, BODY) & SetattrValid::SIZE.bits() != 0,
        Opcode::OPEN | Opcode::CREATE => u32_at(head, BODY) & OpenFlags::TRUNC.bits() != 0,
        Opcode::FALLOCATE => FallocateMode::from_bits_retain(u32_at(head, MODE)).intersects(
            FallocateMode::PUNCH_HOLE
                | FallocateMode::ZERO_RANGE
                | FallocateMode::COLLAPSE_RANGE
                | FallocateMode::INSERT_RANGE,
        ),
        // It may leave a hole.
        Opcode::COPY_FILE_RANGE | Opcode::COPY_FILE_RANGE_64 => true,
        _ => false,
    };
    if cuts && mapped {
        return Err(Error::refused(Errno::EPERM, "bytes that may be mapped are taken away by the driver only"));
    }
    Ok(())
}

fn u32_at(head: &[u8], at: usize) -> u32 {
    head.get(at..).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u32::from_ne_bytes(*bytes))
}

fn u64_at(head: &[u8], at: usize) -> u64 {
    head.get(at..).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u64::from_ne_bytes(*bytes))
}
