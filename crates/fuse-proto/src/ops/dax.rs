//! The DAX window: `SETUPMAPPING`, `REMOVEMAPPING`.

use crate::{
    DecodeError, EncodeError, FileHandle, List, MapFlags, MappingRange, Message, NodeId, Opcode, Operation, Protocol,
    parse::{Input, ParseRequest},
    raw,
};

/// Maps a part of a file into the DAX window, over whatever is mapped there.
///
/// Since 7.31, but servers that speak an older version serve it too, and others that speak a newer one do not: only the
/// answer tells. Reply: no body. `ENOSYS`: the server has no window. `EINVAL`: an offset is not aligned, or the range
/// lies outside the window. A mapping past the end of the file can succeed, and fault when it is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setupmapping {
    /// The inode, which is what the server goes by.
    pub node: NodeId,
    /// An open file; Linux sends [`FileHandle::NONE`], and servers ignore it.
    pub fh: FileHandle,
    /// Where the part begins in the file, in bytes; aligned to [`Protocol::map_alignment`].
    pub foffset: u64,
    /// How long it is, in bytes.
    pub len: u64,
    /// What the mapping allows. Always with [`MapFlags::READ`].
    pub flags: MapFlags,
    /// Where it goes in the window, in bytes; aligned as `foffset`.
    pub moffset: u64,
}

impl Operation for Setupmapping {
    const OPCODE: Opcode = Opcode::SETUPMAPPING;

    fn node(&self) -> NodeId {
        self.node
    }

    fn write_body<'s>(&'s self, _: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        message.fixed(raw::SetupmappingIn {
            fh: self.fh.0,
            foffset: self.foffset,
            len: self.len,
            flags: self.flags.bits(),
            moffset: self.moffset,
        })
    }

    empty_reply!();
}

impl<'a> ParseRequest<'a> for Setupmapping {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let raw: raw::SetupmappingIn = input.fixed()?;
        Ok(Self {
            node: input.node(),
            fh: FileHandle(raw.fh),
            foffset: raw.foffset,
            len: raw.len,
            flags: MapFlags::from_bits_retain(raw.flags),
            moffset: raw.moffset,
        })
    }
}

/// Unmaps parts of the DAX window. The list is the message's [data](Message::data).
///
/// Since 7.31. Reply: no body. An error can come after some of the parts were unmapped: what is mapped then is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removemapping<'a> {
    /// The inode that is mapped; servers go by the window's offsets alone.
    pub node: NodeId,
    /// The parts, [`Removemapping::MAX_ENTRIES`] at most.
    pub ranges: List<'a, MappingRange>,
}

impl Removemapping<'_> {
    /// The most parts in one request: a page of 4096 bytes full.
    pub const MAX_ENTRIES: usize = 4096 / MappingRange::LEN;
}

impl Operation for Removemapping<'_> {
    const OPCODE: Opcode = Opcode::REMOVEMAPPING;

    fn node(&self) -> NodeId {
        self.node
    }

    fn write_body<'s>(&'s self, protocol: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        let count = self.ranges.len();
        if count > Self::MAX_ENTRIES {
            return Err(EncodeError::Field { field: "fuse_removemapping_in.count", value: count as u64 });
        }
        message.fixed(raw::RemovemappingIn { count: count as u32 })?;
        message.set_data(self.ranges.wire(protocol.byte_order())?);
        Ok(())
    }

    empty_reply!();
}

impl<'a> ParseRequest<'a> for Removemapping<'a> {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let raw: raw::RemovemappingIn = input.fixed()?;
        let order = input.protocol.byte_order();
        Ok(Self { node: input.node(), ranges: List::parse(order, raw.count.into(), input.rest())? })
    }
}
