//! `OPEN`, `RELEASE`.

use crate::{
    DecodeError, EncodeError, FileHandle, FopenFlags, LockOwner, Message, NodeId, Opcode, OpenExtraFlags, OpenFlags,
    Operation, Protocol, ReleaseFlags, ReplyBody, ReplyMessage,
    parse::{Input, ParseRequest},
    raw::{self, Layout},
};

/// An open file (`fuse_open_out`): the reply of `OPEN` and `OPENDIR`, and part of that of `CREATE`. 16 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Opened {
    /// The server's handle, to be given back with `RELEASE`.
    pub fh: FileHandle,
    /// How the file is to be treated.
    pub flags: FopenFlags,
    /// With [`FopenFlags::PASSTHROUGH`], which file of the host's kernel to use (7.40).
    pub backing_id: i32,
}

impl Opened {
    /// Size in bytes.
    #[must_use]
    pub const fn size(_: &Protocol) -> usize {
        size_of::<raw::OpenOut>()
    }

    pub(crate) fn read<'a>(protocol: &Protocol, bytes: &'a [u8]) -> Result<(Self, &'a [u8]), DecodeError> {
        let (raw, rest) = raw::OpenOut::read_prefix(protocol.byte_order(), bytes)?;
        let flags = FopenFlags::from_bits_retain(raw.open_flags);
        Ok((Self { fh: FileHandle(raw.fh), flags, backing_id: raw.backing_id }, rest))
    }

    pub(crate) const fn to_raw(self) -> raw::OpenOut {
        raw::OpenOut { fh: self.fh.0, open_flags: self.flags.bits(), backing_id: self.backing_id }
    }
}

impl ReplyBody for Opened {
    fn write<'s>(&'s self, _: &Protocol, reply: &mut ReplyMessage<'s>) -> Result<(), EncodeError> {
        reply.fixed(self.to_raw())
    }
}

/// Opens a file. With [`InitFlags::NO_OPEN_SUPPORT`](crate::InitFlags::NO_OPEN_SUPPORT), `ENOSYS` says that files need no
/// opening.
///
/// Since 7.1; `extra` since 7.33. Reply: [`Opened`], 16 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// The inode.
    pub node: NodeId,
    /// How to open it, without `CREAT`, `EXCL` and `NOCTTY`; without `TRUNC` unless
    /// [`InitFlags::ATOMIC_O_TRUNC`](crate::InitFlags::ATOMIC_O_TRUNC) is in force.
    pub flags: OpenFlags,
    /// What else is asked for.
    pub extra: OpenExtraFlags,
}

impl Open {
    pub(super) const fn raw(&self) -> raw::OpenIn {
        raw::OpenIn { flags: self.flags.bits(), open_flags: self.extra.bits() }
    }
}

impl Operation for Open {
    const OPCODE: Opcode = Opcode::OPEN;

    fn node(&self) -> NodeId {
        self.node
    }

    fn write_body<'s>(&'s self, _: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        message.fixed(self.raw())
    }

    sized_reply!(Opened, Opened::read);
}

impl<'a> ParseRequest<'a> for Open {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let raw: raw::OpenIn = input.fixed()?;
        Ok(Self {
            node: input.node(),
            flags: OpenFlags::from_bits_retain(raw.flags),
            extra: OpenExtraFlags::from_bits_retain(raw.open_flags),
        })
    }
}

/// Closes an open file for good.
///
/// Since 7.1; `release_flags` and `lock_owner` since 7.8 (16 bytes before). Reply: no body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Release {
    /// The inode.
    pub node: NodeId,
    /// The open file.
    pub fh: FileHandle,
    /// How it was opened.
    pub flags: OpenFlags,
    /// What else to do.
    pub release_flags: ReleaseFlags,
    /// Whose locks to drop.
    pub lock_owner: LockOwner,
}

impl Release {
    pub(super) fn write(&self, protocol: &Protocol, message: &mut Message<'_>) -> Result<(), EncodeError> {
        let raw = raw::ReleaseIn {
            fh: self.fh.0,
            flags: self.flags.bits(),
            release_flags: self.release_flags.bits(),
            lock_owner: self.lock_owner.0,
        };
        message.fixed_prefix(raw, if protocol.minor() < 8 { 16 } else { size_of::<raw::ReleaseIn>() })
    }

    pub(super) fn read(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let raw: raw::ReleaseIn = input.compat(8, 16)?;
        Ok(Self {
            node: input.node(),
            fh: FileHandle(raw.fh),
            flags: OpenFlags::from_bits_retain(raw.flags),
            release_flags: ReleaseFlags::from_bits_retain(raw.release_flags),
            lock_owner: LockOwner(raw.lock_owner),
        })
    }
}

impl Operation for Release {
    const OPCODE: Opcode = Opcode::RELEASE;

    fn node(&self) -> NodeId {
        self.node
    }

    fn write_body<'s>(&'s self, protocol: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        self.write(protocol, message)
    }

    empty_reply!();
}

impl<'a> ParseRequest<'a> for Release {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        Self::read(input)
    }
}
