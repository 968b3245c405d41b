//! The rest: `STATFS`, `ACCESS`, `INTERRUPT`, `BMAP`, `DESTROY`, `IOCTL`, `POLL`, `NOTIFY_REPLY`, `SYNCFS`.

use crate::{
    AccessMask, DecodeError, EncodeError, FileHandle, IoctlFlags, IoctlVector, List, Message, NodeId, Opcode,
    Operation, PollEvents, PollFlags, Protocol, ReplyBody, ReplyMessage, ReplyRule, ReplySize, Unique,
    attr::read_exact,
    parse::{Input, ParseRequest},
    raw::{self, Layout},
};

/// Reads the file system's totals.
///
/// Since 7.1. Reply: [`StatfsReply`], 80 bytes (48 before 7.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statfs {
    /// Any inode of the file system.
    pub node: NodeId,
}

impl Operation for Statfs {
    const OPCODE: Opcode = Opcode::STATFS;

    fn node(&self) -> NodeId {
        self.node
    }

    fn write_body<'s>(&'s self, _: &Protocol, _: &mut Message<'s>) -> Result<(), EncodeError> {
        Ok(())
    }

    sized_reply!(StatfsReply, StatfsReply::read);
}

impl<'a> ParseRequest<'a> for Statfs {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        Ok(Self { node: input.node() })
    }
}

/// A file system's totals (`fuse_statfs_out`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StatfsReply {
    /// Blocks of `frsize` bytes.
    pub blocks: u64,
    /// Free ones.
    pub bfree: u64,
    /// Free ones that anybody can have.
    pub bavail: u64,
    /// Inodes.
    pub files: u64,
    /// Free ones.
    pub ffree: u64,
    /// Size for efficient I/O in bytes.
    pub bsize: u32,
    /// The longest name in bytes.
    pub namelen: u32,
    /// Size of a block in bytes; zero before 7.4, when `bsize` is that.
    pub frsize: u32,
}

impl StatfsReply {
    /// Size in bytes in this version of the protocol.
    #[must_use]
    pub const fn size(protocol: &Protocol) -> usize {
        if protocol.minor() < 4 { 48 } else { size_of::<raw::StatfsOut>() }
    }

    fn read<'a>(protocol: &Protocol, bytes: &'a [u8]) -> Result<(Self, &'a [u8]), DecodeError> {
        let (raw, rest) = raw::StatfsOut::read_compat(protocol.byte_order(), bytes, Self::size(protocol))?;
        let raw::KStatfs { blocks, bfree, bavail, files, ffree, bsize, namelen, frsize, .. } = raw.st;
        Ok((Self { blocks, bfree, bavail, files, ffree, bsize, namelen, frsize }, rest))
    }
}

impl ReplyBody for StatfsReply {
    fn write<'s>(&'s self, protocol: &Protocol, reply: &mut ReplyMessage<'s>) -> Result<(), EncodeError> {
        let Self { blocks, bfree, bavail, files, ffree, bsize, namelen, frsize } = *self;
        let st =
            raw::KStatfs { blocks, bfree, bavail, files, ffree, bsize, namelen, frsize, padding: 0, spare: [0; 6] };
        reply.fixed_prefix(raw::StatfsOut { st }, Self::size(protocol))
    }
}

/// Asks whether access is granted.
///
/// Since 7.3. Reply: no body; `EACCES` if it is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The inode.
    pub node: NodeId,
    /// What for.
    pub mask: AccessMask,
}

impl Operation for Access {
    const OPCODE: Opcode = Opcode::ACCESS;

    fn node(&self) -> NodeId {
        self.node
    }

    fn write_body<'s>(&'s self, _: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        message.fixed(raw::AccessIn { mask: self.mask.bits(), padding: 0 })
    }

    empty_reply!();
}

impl<'a> ParseRequest<'a> for Access {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let raw: raw::AccessIn = input.fixed()?;
        Ok(Self { node: input.node(), mask: AccessMask::from_bits_retain(raw.mask) })
    }
}

/// Asks the server to give up on a request, which is then answered with `EINTR`. On virtio it goes to the queue for high
/// priority.
///
/// Since 7.7. Usually not answered; `EAGAIN` asks to send it again, `ENOSYS` never to. Its own `unique` is by custom the
/// request's with [`Unique::INTERRUPT_BIT`] set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interrupt {
    /// The request to give up on.
    pub unique: Unique,
}

impl Operation for Interrupt {
    const OPCODE: Opcode = Opcode::INTERRUPT;
    const REPLY: ReplyRule = ReplyRule::Optional;

    fn node(&self) -> NodeId {
        NodeId::NONE
    }

    fn write_body<'s>(&'s self, _: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        message.fixed(raw::InterruptIn { unique: self.unique.0 })
    }

    empty_reply!();
}

impl<'a> ParseRequest<'a> for Interrupt {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let raw: raw::InterruptIn = input.fixed()?;
        Ok(Self { unique: Unique(raw.unique) })
    }
}

/// Maps a file's block to a block of the device that the file system is on.
///
/// Since 7.8, for file systems on a block device. Reply: [`Block`], 8 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bmap {
    /// The inode.
    pub node: NodeId,
    /// Which block of the file.
    pub block: u64,
    /// Size of a block in bytes.
    pub blocksize: u32,
}

impl Operation for Bmap {
    const OPCODE: Opcode = Opcode::BMAP;

    type Reply<'r> = Block;

    fn node(&self) -> NodeId {
        self.node
    }

    fn write_body<'s>(&'s self, _: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        message.fixed(raw::BmapIn { block: self.block, blocksize: self.blocksize, padding: 0 })
    }

    fn reply_size(&self, _: &Protocol) -> ReplySize {
        ReplySize::exactly(size_of::<raw::BmapOut>())
    }

    fn decode_body(&self, protocol: &Protocol, body: &[u8]) -> Result<Block, DecodeError> {
        let raw: raw::BmapOut = read_exact(protocol.byte_order(), body)?;
        Ok(Block { block: raw.block })
    }
}

impl<'a> ParseRequest<'a> for Bmap {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let raw: raw::BmapIn = input.fixed()?;
        Ok(Self { node: input.node(), block: raw.block, blocksize: raw.blocksize })
    }
}

/// A block of a device (`fuse_bmap_out`), 8 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Block {
    /// Its number; zero for a hole.
    pub block: u64,
}

impl ReplyBody for Block {
    fn write<'s>(&'s self, _: &Protocol, reply: &mut ReplyMessage<'s>) -> Result<(), EncodeError> {
        reply.fixed(raw::BmapOut { block: self.block })
    }
}

/// Ends the connection: all references are gone.
///
/// Since 7.8. Reply: no body, and from some servers no reply at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Destroy;

impl Operation for Destroy {
    const OPCODE: Opcode = Opcode::DESTROY;
    const REPLY: ReplyRule = ReplyRule::Optional;

    fn node(&self) -> NodeId {
        NodeId::NONE
    }

    fn write_body<'s>(&'s self, _: &Protocol, _: &mut Message<'s>) -> Result<(), EncodeError> {
        Ok(())
    }

    empty_reply!();
}

impl<'a> ParseRequest<'a> for Destroy {
    fn parse(_: &mut Input<'a>) -> Result<Self, DecodeError> {
        Ok(Self)
    }
}

/// Device control on an open file. The data to send is the message's [data](Message::data).
///
/// Since 7.11. Reply: [`IoctlReply`], 16 bytes and the command's data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ioctl<'a> {
    /// The inode.
    pub node: NodeId,
    /// The open file.
    pub fh: FileHandle,
    /// Where the command comes from.
    pub flags: IoctlFlags,
    /// The command.
    pub cmd: u32,
    /// Its argument: a number, or an address in the caller.
    pub arg: u64,
    /// What the command reads.
    pub data: &'a [u8],
    /// How much the command may write, in bytes.
    pub out_size: u32,
}

impl Ioctl<'_> {
    /// The most vectors in a reply that asks for another try, in and out together (`FUSE_IOCTL_MAX_IOV`).
    pub const MAX_VECTORS: u32 = 256;

    /// How much may follow the fixed part of the reply.
    fn most_data(&self) -> u32 {
        if self.flags.contains(IoctlFlags::UNRESTRICTED) {
            self.out_size.max(Self::MAX_VECTORS * IoctlVector::LEN as u32)
        } else {
            self.out_size
        }
    }
}

impl Operation for Ioctl<'_> {
    const OPCODE: Opcode = Opcode::IOCTL;

    type Reply<'r> = IoctlReply<'r>;

    fn node(&self) -> NodeId {
        self.node
    }

    fn write_body<'s>(&'s self, _: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        let len = self.data.len();
        let in_size = u32::try_from(len).map_err(|_| EncodeError::TooLong { len: len as u64 })?;
        let Self { fh, flags, cmd, arg, out_size, .. } = *self;
        message.fixed(raw::IoctlIn { fh: fh.0, flags: flags.bits(), cmd, arg, in_size, out_size })?;
        message.set_data(self.data);
        Ok(())
    }

    fn reply_size(&self, _: &Protocol) -> ReplySize {
        let fixed = size_of::<raw::IoctlOut>() as u32;
        ReplySize { min: fixed, max: fixed.saturating_add(self.most_data()) }
    }

    fn decode_body<'r>(&self, protocol: &Protocol, body: &'r [u8]) -> Result<IoctlReply<'r>, DecodeError> {
        let order = protocol.byte_order();
        let (raw, data) = raw::IoctlOut::read_prefix(order, body)?;
        let flags = IoctlFlags::from_bits_retain(raw.flags);
        if !flags.contains(IoctlFlags::RETRY) {
            if data.len() as u64 > self.out_size.into() {
                return Err(DecodeError::Trailing {
                    what: "the data of IOCTL",
                    extra: data.len() as u64 - u64::from(self.out_size),
                });
            }
            return Ok(IoctlReply::Done { result: raw.result, flags, data });
        }
        if !self.flags.contains(IoctlFlags::UNRESTRICTED) {
            return Err(DecodeError::Field { field: "fuse_ioctl_out.flags", value: raw.flags.into() });
        }
        let count = u64::from(raw.in_iovs) + u64::from(raw.out_iovs);
        if count > u64::from(Self::MAX_VECTORS) {
            return Err(DecodeError::Field { field: "fuse_ioctl_out.in_iovs + out_iovs", value: count });
        }
        Ok(IoctlReply::Retry { flags, in_iovs: raw.in_iovs, vectors: List::parse(order, count, data)? })
    }
}

impl<'a> ParseRequest<'a> for Ioctl<'a> {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let raw: raw::IoctlIn = input.fixed()?;
        Ok(Self {
            node: input.node(),
            fh: FileHandle(raw.fh),
            flags: IoctlFlags::from_bits_retain(raw.flags),
            cmd: raw.cmd,
            arg: raw.arg,
            data: input.data("the data of IOCTL", raw.in_size)?,
            out_size: raw.out_size,
        })
    }
}

/// What a command answers (`fuse_ioctl_out`): 16 bytes and data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoctlReply<'a> {
    /// The command was carried out.
    Done {
        /// Its result.
        result: i32,
        /// Flags of the reply, without `RETRY`.
        flags: IoctlFlags,
        /// What it wrote.
        data: &'a [u8],
    },
    /// The command is to be sent again with these pieces of the caller's memory (7.16); only to a request with
    /// [`IoctlFlags::UNRESTRICTED`].
    Retry {
        /// Flags of the reply, with `RETRY`.
        flags: IoctlFlags,
        /// How many of the vectors are to be read; the rest is to be written.
        in_iovs: u32,
        /// The vectors.
        vectors: List<'a, IoctlVector>,
    },
}

impl ReplyBody for IoctlReply<'_> {
    fn write<'s>(&'s self, protocol: &Protocol, reply: &mut ReplyMessage<'s>) -> Result<(), EncodeError> {
        match self {
            Self::Done { result, flags, data } => {
                let flags = flags.difference(IoctlFlags::RETRY).bits();
                reply.fixed(raw::IoctlOut { result: *result, flags, in_iovs: 0, out_iovs: 0 })?;
                reply.set_data(data);
            }
            Self::Retry { flags, in_iovs, vectors } => {
                let count = vectors.len();
                if count > Ioctl::MAX_VECTORS as usize {
                    return Err(EncodeError::Field { field: "fuse_ioctl_out.in_iovs + out_iovs", value: count as u64 });
                }
                let out_iovs = (count as u32)
                    .checked_sub(*in_iovs)
                    .ok_or(EncodeError::Field { field: "fuse_ioctl_out.in_iovs", value: (*in_iovs).into() })?;
                let flags = flags.union(IoctlFlags::RETRY).bits();
                reply.fixed(raw::IoctlOut { result: 0, flags, in_iovs: *in_iovs, out_iovs })?;
                reply.set_data(vectors.wire(protocol.byte_order())?);
            }
        }
        Ok(())
    }
}

/// Asks what an open file is ready for.
///
/// Since 7.11; `events` since 7.21. Reply: [`Polled`], 8 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Poll {
    /// The inode.
    pub node: NodeId,
    /// The open file.
    pub fh: FileHandle,
    /// The client's name for the waiting, given back in a [`Poll`](crate::Notification::Poll) notification.
    pub kh: u64,
    /// Whether to notify.
    pub flags: PollFlags,
    /// What the client waits for.
    pub events: PollEvents,
}

impl Operation for Poll {
    const OPCODE: Opcode = Opcode::POLL;

    type Reply<'r> = Polled;

    fn node(&self) -> NodeId {
        self.node
    }

    fn write_body<'s>(&'s self, _: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        let Self { fh, kh, flags, events, .. } = *self;
        message.fixed(raw::PollIn { fh: fh.0, kh, flags: flags.bits(), events: events.bits() })
    }

    fn reply_size(&self, _: &Protocol) -> ReplySize {
        ReplySize::exactly(size_of::<raw::PollOut>())
    }

    fn decode_body(&self, protocol: &Protocol, body: &[u8]) -> Result<Polled, DecodeError> {
        let raw: raw::PollOut = read_exact(protocol.byte_order(), body)?;
        Ok(Polled { revents: PollEvents::from_bits_retain(raw.revents) })
    }
}

impl<'a> ParseRequest<'a> for Poll {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let raw: raw::PollIn = input.fixed()?;
        Ok(Self {
            node: input.node(),
            fh: FileHandle(raw.fh),
            kh: raw.kh,
            flags: PollFlags::from_bits_retain(raw.flags),
            events: PollEvents::from_bits_retain(raw.events),
        })
    }
}

/// What an open file is ready for (`fuse_poll_out`), 8 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Polled {
    /// What it is ready for.
    pub revents: PollEvents,
}

impl ReplyBody for Polled {
    fn write<'s>(&'s self, _: &Protocol, reply: &mut ReplyMessage<'s>) -> Result<(), EncodeError> {
        reply.fixed(raw::PollOut { revents: self.revents.bits(), padding: 0 })
    }
}

/// Answers a [`Retrieve`](crate::Notification::Retrieve) notification with cached data. Its `unique` is the
/// notification's `notify_unique`.
///
/// Since 7.15. No reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NotifyReply<'a> {
    /// The inode.
    pub node: NodeId,
    /// Where the data begins in the file, in bytes.
    pub offset: u64,
    /// The data, which may be less than was asked for.
    pub data: &'a [u8],
}

impl Operation for NotifyReply<'_> {
    const OPCODE: Opcode = Opcode::NOTIFY_REPLY;
    const REPLY: ReplyRule = ReplyRule::Never;

    fn node(&self) -> NodeId {
        self.node
    }

    fn write_body<'s>(&'s self, _: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        let len = self.data.len();
        let size = u32::try_from(len).map_err(|_| EncodeError::TooLong { len: len as u64 })?;
        message.fixed(raw::NotifyRetrieveIn { offset: self.offset, size, ..Default::default() })?;
        message.set_data(self.data);
        Ok(())
    }

    empty_reply!();
}

impl<'a> ParseRequest<'a> for NotifyReply<'a> {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let raw: raw::NotifyRetrieveIn = input.fixed()?;
        Ok(Self { node: input.node(), offset: raw.offset, data: input.data("the data of NOTIFY_REPLY", raw.size)? })
    }
}

/// Makes the whole file system durable.
///
/// Since 7.34. Reply: no body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Syncfs {
    /// Any inode of the file system; Linux sends the root of the mount.
    pub node: NodeId,
}

impl Operation for Syncfs {
    const OPCODE: Opcode = Opcode::SYNCFS;

    fn node(&self) -> NodeId {
        self.node
    }

    fn write_body<'s>(&'s self, _: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        message.fixed(raw::SyncfsIn { padding: 0 })
    }

    empty_reply!();
}

impl<'a> ParseRequest<'a> for Syncfs {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let _: raw::SyncfsIn = input.fixed()?;
        Ok(Self { node: input.node() })
    }
}
