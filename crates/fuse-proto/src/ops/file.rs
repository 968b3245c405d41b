//! What is done with an open file: `WRITE`, `FLUSH`, `FSYNC`, `FALLOCATE`, `LSEEK`, `COPY_FILE_RANGE`.

use crate::{
    DecodeError, EncodeError, FallocateMode, FileHandle, FsyncFlags, LockOwner, Message, NodeId, Opcode, OpenFlags,
    Operation, Protocol, ReplyBody, ReplyMessage, ReplySize, WriteFlags,
    parse::{Input, ParseRequest},
    raw,
};

/// Writes to an open file. The data is the message's [data](Message::data), which is never copied.
///
/// At most [`Protocol::max_write`] bytes. Since 7.1; from `lock_owner` on since 7.9 (24 bytes before). Reply:
/// [`Written`], 8 bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Write<'a> {
    /// The inode.
    pub node: NodeId,
    /// The open file.
    pub fh: FileHandle,
    /// Where to write to, in bytes.
    pub offset: u64,
    /// What to write.
    pub data: &'a [u8],
    /// Which fields count, and more.
    pub write_flags: WriteFlags,
    /// The owner of locks, when `write_flags` says so.
    pub lock_owner: LockOwner,
    /// How the file was opened.
    pub flags: OpenFlags,
}

impl core::fmt::Debug for Write<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Write")
            .field("node", &self.node)
            .field("fh", &self.fh)
            .field("offset", &self.offset)
            .field("data", &format_args!("{} bytes", self.data.len()))
            .field("write_flags", &self.write_flags)
            .field("lock_owner", &self.lock_owner)
            .field("flags", &self.flags)
            .finish()
    }
}

impl<'a> Write<'a> {
    /// `data` to an open file from `offset` on.
    #[must_use]
    pub fn new(node: NodeId, fh: FileHandle, offset: u64, data: &'a [u8]) -> Self {
        Self { node, fh, offset, data, ..Self::default() }
    }

    /// Size of the body before the data in this version.
    const fn fixed_size(protocol: &Protocol) -> usize {
        if protocol.minor() < 9 { 24 } else { size_of::<raw::WriteIn>() }
    }
}

impl Operation for Write<'_> {
    const OPCODE: Opcode = Opcode::WRITE;

    type Reply<'r> = Written;

    fn node(&self) -> NodeId {
        self.node
    }

    fn write_body<'s>(&'s self, protocol: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        let len = self.data.len();
        let size = u32::try_from(len).map_err(|_| EncodeError::TooLong { len: len as u64 })?;
        let raw = raw::WriteIn {
            fh: self.fh.0,
            offset: self.offset,
            size,
            write_flags: self.write_flags.bits(),
            lock_owner: self.lock_owner.0,
            flags: self.flags.bits(),
            padding: 0,
        };
        message.fixed_prefix(raw, Self::fixed_size(protocol))?;
        message.set_data(self.data);
        Ok(())
    }

    fn reply_size(&self, _: &Protocol) -> ReplySize {
        ReplySize::exactly(size_of::<raw::WriteOut>())
    }

    fn decode_body(&self, protocol: &Protocol, body: &[u8]) -> Result<Written, DecodeError> {
        Written::read(protocol, body, self.data.len() as u64)
    }
}

impl<'a> ParseRequest<'a> for Write<'a> {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let raw: raw::WriteIn = input.compat(9, 24)?;
        Ok(Self {
            node: input.node(),
            fh: FileHandle(raw.fh),
            offset: raw.offset,
            data: input.data("the data of WRITE", raw.size)?,
            write_flags: WriteFlags::from_bits_retain(raw.write_flags),
            lock_owner: LockOwner(raw.lock_owner),
            flags: OpenFlags::from_bits_retain(raw.flags),
        })
    }
}

/// How much was written (`fuse_write_out`), 8 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Written {
    /// Bytes written, at most as many as were sent.
    pub size: u32,
}

impl Written {
    fn read(protocol: &Protocol, body: &[u8], most: u64) -> Result<Self, DecodeError> {
        let raw: raw::WriteOut = crate::attr::read_exact(protocol.byte_order(), body)?;
        at_most("fuse_write_out.size", raw.size.into(), most)?;
        Ok(Self { size: raw.size })
    }
}

impl ReplyBody for Written {
    fn write<'s>(&'s self, _: &Protocol, reply: &mut ReplyMessage<'s>) -> Result<(), EncodeError> {
        reply.fixed(raw::WriteOut { size: self.size, padding: 0 })
    }
}

/// One descriptor of an open file is being closed: the last chance to report an error of writing, and the end of the
/// owner's POSIX locks.
///
/// Since 7.1; `lock_owner` since 7.7. Reply: no body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flush {
    /// The inode.
    pub node: NodeId,
    /// The open file.
    pub fh: FileHandle,
    /// Whose locks to drop.
    pub lock_owner: LockOwner,
}

impl Operation for Flush {
    const OPCODE: Opcode = Opcode::FLUSH;

    fn node(&self) -> NodeId {
        self.node
    }

    fn write_body<'s>(&'s self, _: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        message.fixed(raw::FlushIn { fh: self.fh.0, unused: 0, padding: 0, lock_owner: self.lock_owner.0 })
    }

    empty_reply!();
}

impl<'a> ParseRequest<'a> for Flush {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let raw: raw::FlushIn = input.fixed()?;
        Ok(Self { node: input.node(), fh: FileHandle(raw.fh), lock_owner: LockOwner(raw.lock_owner) })
    }
}

/// Makes a file durable. Data in DAX mappings is covered as the host's page cache is: the server calls `fsync`.
///
/// Since 7.1. Reply: no body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fsync {
    /// The inode.
    pub node: NodeId,
    /// The open file.
    pub fh: FileHandle,
    /// Whether data alone is enough.
    pub flags: FsyncFlags,
}

impl Fsync {
    pub(super) const fn raw(&self) -> raw::FsyncIn {
        raw::FsyncIn { fh: self.fh.0, fsync_flags: self.flags.bits(), padding: 0 }
    }
}

impl Operation for Fsync {
    const OPCODE: Opcode = Opcode::FSYNC;

    fn node(&self) -> NodeId {
        self.node
    }

    fn write_body<'s>(&'s self, _: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        message.fixed(self.raw())
    }

    empty_reply!();
}

impl<'a> ParseRequest<'a> for Fsync {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let raw: raw::FsyncIn = input.fixed()?;
        Ok(Self { node: input.node(), fh: FileHandle(raw.fh), flags: FsyncFlags::from_bits_retain(raw.fsync_flags) })
    }
}

/// Allocates, frees or moves a part of a file, as `mode` says.
///
/// Since 7.19. Reply: no body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fallocate {
    /// The inode.
    pub node: NodeId,
    /// The open file.
    pub fh: FileHandle,
    /// Where the part begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub length: u64,
    /// What to do with it.
    pub mode: FallocateMode,
}

impl Operation for Fallocate {
    const OPCODE: Opcode = Opcode::FALLOCATE;

    fn node(&self) -> NodeId {
        self.node
    }

    fn write_body<'s>(&'s self, _: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        let Self { fh, offset, length, mode, .. } = *self;
        message.fixed(raw::FallocateIn { fh: fh.0, offset, length, mode: mode.bits(), padding: 0 })
    }

    empty_reply!();
}

impl<'a> ParseRequest<'a> for Fallocate {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let raw: raw::FallocateIn = input.fixed()?;
        Ok(Self {
            node: input.node(),
            fh: FileHandle(raw.fh),
            offset: raw.offset,
            length: raw.length,
            mode: FallocateMode::from_bits_retain(raw.mode),
        })
    }
}

/// From where [`Lseek`] counts or what it looks for: Linux's `SEEK_*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Whence(pub u32);

impl Whence {
    /// From the beginning.
    pub const SET: Self = Self(0);
    /// From the current position.
    pub const CUR: Self = Self(1);
    /// From the end.
    pub const END: Self = Self(2);
    /// The next data at or after the offset.
    pub const DATA: Self = Self(3);
    /// The next hole at or after the offset; the end of the file counts as one.
    pub const HOLE: Self = Self(4);
}

/// Finds data or a hole in an open file.
///
/// Since 7.24. Reply: [`Sought`], 8 bytes; `ENXIO` past the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lseek {
    /// The inode.
    pub node: NodeId,
    /// The open file.
    pub fh: FileHandle,
    /// Where to look from, in bytes.
    pub offset: u64,
    /// What to look for.
    pub whence: Whence,
}

impl Operation for Lseek {
    const OPCODE: Opcode = Opcode::LSEEK;

    type Reply<'r> = Sought;

    fn node(&self) -> NodeId {
        self.node
    }

    fn write_body<'s>(&'s self, _: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        message.fixed(raw::LseekIn { fh: self.fh.0, offset: self.offset, whence: self.whence.0, padding: 0 })
    }

    fn reply_size(&self, _: &Protocol) -> ReplySize {
        ReplySize::exactly(size_of::<raw::LseekOut>())
    }

    fn decode_body(&self, protocol: &Protocol, body: &[u8]) -> Result<Sought, DecodeError> {
        let raw: raw::LseekOut = crate::attr::read_exact(protocol.byte_order(), body)?;
        Ok(Sought { offset: at_most("fuse_lseek_out.offset", raw.offset, i64::MAX as u64)? })
    }
}

impl<'a> ParseRequest<'a> for Lseek {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let raw: raw::LseekIn = input.fixed()?;
        Ok(Self { node: input.node(), fh: FileHandle(raw.fh), offset: raw.offset, whence: Whence(raw.whence) })
    }
}

/// A place in a file (`fuse_lseek_out`), 8 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sought {
    /// Offset in bytes, at most `i64::MAX`.
    pub offset: u64,
}

impl ReplyBody for Sought {
    fn write<'s>(&'s self, _: &Protocol, reply: &mut ReplyMessage<'s>) -> Result<(), EncodeError> {
        reply.fixed(raw::LseekOut { offset: self.offset })
    }
}

macro_rules! copying {
    ($(#[$meta:meta])* $name:ident = $opcode:ident -> $reply:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            /// The inode to copy from.
            pub node_in: NodeId,
            /// The open file to copy from.
            pub fh_in: FileHandle,
            /// Where to copy from, in bytes.
            pub off_in: u64,
            /// The inode to copy to.
            pub node_out: NodeId,
            /// The open file to copy to.
            pub fh_out: FileHandle,
            /// Where to copy to, in bytes.
            pub off_out: u64,
            /// How much to copy, in bytes.
            pub len: u64,
            /// Flags of the system call; none are defined.
            pub flags: u64,
        }

        impl Operation for $name {
            const OPCODE: Opcode = Opcode::$opcode;

            type Reply<'r> = $reply;

            fn node(&self) -> NodeId {
                self.node_in
            }

            fn write_body<'s>(&'s self, _: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
                message.fixed(raw::CopyFileRangeIn {
                    fh_in: self.fh_in.0,
                    off_in: self.off_in,
                    nodeid_out: self.node_out.0,
                    fh_out: self.fh_out.0,
                    off_out: self.off_out,
                    len: self.len,
                    flags: self.flags,
                })
            }

            fn reply_size(&self, _: &Protocol) -> ReplySize {
                ReplySize::exactly(8)
            }

            fn decode_body(&self, protocol: &Protocol, body: &[u8]) -> Result<$reply, DecodeError> {
                $reply::read(protocol, body, self.len)
            }
        }

        impl<'a> ParseRequest<'a> for $name {
            fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
                let raw: raw::CopyFileRangeIn = input.fixed()?;
                Ok(Self {
                    node_in: input.node(),
                    fh_in: FileHandle(raw.fh_in),
                    off_in: raw.off_in,
                    node_out: NodeId(raw.nodeid_out),
                    fh_out: FileHandle(raw.fh_out),
                    off_out: raw.off_out,
                    len: raw.len,
                    flags: raw.flags,
                })
            }
        }
    };
}

copying! {
    /// Copies from one open file to another on the server.
    ///
    /// Since 7.28. Reply: [`Copied`], 8 bytes. The count is 32 bits wide: ask for less than 4 GiB at once.
    CopyFileRange = COPY_FILE_RANGE -> Copied
}

copying! {
    /// [`CopyFileRange`] with a count of 64 bits.
    ///
    /// Since 7.45. Reply: [`Copied64`], 8 bytes.
    CopyFileRange64 = COPY_FILE_RANGE_64 -> Copied64
}

/// How much was copied (`fuse_write_out`), 8 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Copied {
    /// Bytes copied, at most as many as were asked for.
    pub size: u32,
}

impl Copied {
    fn read(protocol: &Protocol, body: &[u8], most: u64) -> Result<Self, DecodeError> {
        let Written { size } = Written::read(protocol, body, most)?;
        Ok(Self { size })
    }
}

impl ReplyBody for Copied {
    fn write<'s>(&'s self, _: &Protocol, reply: &mut ReplyMessage<'s>) -> Result<(), EncodeError> {
        reply.fixed(raw::WriteOut { size: self.size, padding: 0 })
    }
}

/// How much was copied (`fuse_copy_file_range_out`), 8 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Copied64 {
    /// Bytes copied, at most as many as were asked for.
    pub size: u64,
}

impl Copied64 {
    fn read(protocol: &Protocol, body: &[u8], most: u64) -> Result<Self, DecodeError> {
        let raw: raw::CopyFileRangeOut = crate::attr::read_exact(protocol.byte_order(), body)?;
        Ok(Self { size: at_most("fuse_copy_file_range_out.bytes_copied", raw.bytes_copied, most)? })
    }
}

impl ReplyBody for Copied64 {
    fn write<'s>(&'s self, _: &Protocol, reply: &mut ReplyMessage<'s>) -> Result<(), EncodeError> {
        reply.fixed(raw::CopyFileRangeOut { bytes_copied: self.size })
    }
}

/// Checks that a count which the server gives is not more than was asked for.
fn at_most(field: &'static str, value: u64, most: u64) -> Result<u64, DecodeError> {
    if value <= most { Ok(value) } else { Err(DecodeError::Field { field, value }) }
}
