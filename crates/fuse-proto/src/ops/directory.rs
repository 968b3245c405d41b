//! `OPENDIR`, `RELEASEDIR`, `FSYNCDIR`.

use crate::{
    DecodeError, EncodeError, FileHandle, FsyncFlags, LockOwner, Message, NodeId, Opcode, OpenExtraFlags, OpenFlags,
    Operation, Protocol, ReleaseFlags,
    ops::{Fsync, Open, Opened, Release},
    parse::{Input, ParseRequest},
};

/// Opens a directory. With [`InitFlags::NO_OPENDIR_SUPPORT`](crate::InitFlags::NO_OPENDIR_SUPPORT), `ENOSYS` says that
/// directories need no opening.
///
/// Since 7.1. Reply: [`Opened`], 16 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opendir {
    /// The directory.
    pub node: NodeId,
    /// How to open it.
    pub flags: OpenFlags,
    /// What else is asked for.
    pub extra: OpenExtraFlags,
}

impl Operation for Opendir {
    const OPCODE: Opcode = Opcode::OPENDIR;

    fn node(&self) -> NodeId {
        self.node
    }

    fn write_body<'s>(&'s self, _: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        let Self { node, flags, extra } = *self;
        message.fixed(Open { node, flags, extra }.raw())
    }

    sized_reply!(Opened, Opened::read);
}

impl<'a> ParseRequest<'a> for Opendir {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let Open { node, flags, extra } = Open::parse(input)?;
        Ok(Self { node, flags, extra })
    }
}

/// Closes an open directory.
///
/// Since 7.1. Reply: no body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Releasedir {
    /// The directory.
    pub node: NodeId,
    /// The open directory.
    pub fh: FileHandle,
    /// How it was opened.
    pub flags: OpenFlags,
    /// What else to do.
    pub release_flags: ReleaseFlags,
    /// Whose locks to drop.
    pub lock_owner: LockOwner,
}

impl Operation for Releasedir {
    const OPCODE: Opcode = Opcode::RELEASEDIR;

    fn node(&self) -> NodeId {
        self.node
    }

    fn write_body<'s>(&'s self, protocol: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        let Self { node, fh, flags, release_flags, lock_owner } = *self;
        Release { node, fh, flags, release_flags, lock_owner }.write(protocol, message)
    }

    empty_reply!();
}

impl<'a> ParseRequest<'a> for Releasedir {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let Release { node, fh, flags, release_flags, lock_owner } = Release::parse(input)?;
        Ok(Self { node, fh, flags, release_flags, lock_owner })
    }
}

/// Makes a directory durable.
///
/// Since 7.2. Reply: no body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fsyncdir {
    /// The directory.
    pub node: NodeId,
    /// The open directory.
    pub fh: FileHandle,
    /// Whether data alone is enough.
    pub flags: FsyncFlags,
}

impl Operation for Fsyncdir {
    const OPCODE: Opcode = Opcode::FSYNCDIR;

    fn node(&self) -> NodeId {
        self.node
    }

    fn write_body<'s>(&'s self, _: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        let Self { node, fh, flags } = *self;
        message.fixed(Fsync { node, fh, flags }.raw())
    }

    empty_reply!();
}

impl<'a> ParseRequest<'a> for Fsyncdir {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let Fsync { node, fh, flags } = Fsync::parse(input)?;
        Ok(Self { node, fh, flags })
    }
}
