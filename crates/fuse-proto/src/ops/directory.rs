//! `OPENDIR`, `READDIR`, `READDIRPLUS`, `RELEASEDIR`, `FSYNCDIR`.

use crate::{
    DecodeError, Directory, EncodeError, FileHandle, FsyncFlags, LockOwner, Message, NodeId, Opcode, OpenExtraFlags,
    OpenFlags, Operation, Protocol, ReadFlags, ReleaseFlags, ReplySize,
    ops::{Fsync, Open, Opened, Read, Release},
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

macro_rules! reading {
    ($(#[$meta:meta])* $name:ident = $opcode:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            /// The directory.
            pub node: NodeId,
            /// The open directory.
            pub fh: FileHandle,
            /// Where to go on: zero for the beginning, or the [offset](crate::DirEntry::offset) of the last entry.
            pub offset: u64,
            /// How many bytes of entries to send at most.
            pub size: u32,
            /// Flags of the request.
            pub read_flags: ReadFlags,
            /// The owner of locks, when `read_flags` says so.
            pub lock_owner: LockOwner,
            /// How the directory was opened.
            pub flags: OpenFlags,
        }

        impl $name {
            /// Entries of an open directory from `offset` on, `size` bytes at most.
            #[must_use]
            pub fn new(node: NodeId, fh: FileHandle, offset: u64, size: u32) -> Self {
                Self { node, fh, offset, size, ..Self::default() }
            }
        }

        impl Operation for $name {
            const OPCODE: Opcode = Opcode::$opcode;

            type Reply<'r> = Directory<'r>;

            fn node(&self) -> NodeId {
                self.node
            }

            fn write_body<'s>(&'s self, _: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
                let Self { node, fh, offset, size, read_flags, lock_owner, flags } = *self;
                message.fixed(Read { node, fh, offset, size, read_flags, lock_owner, flags }.raw())
            }

            fn reply_size(&self, _: &Protocol) -> ReplySize {
                ReplySize::up_to(self.size)
            }

            fn decode_body<'r>(&self, _: &Protocol, body: &'r [u8]) -> Result<Directory<'r>, DecodeError> {
                Ok(Directory::new(body, self.offset))
            }
        }

        impl<'a> ParseRequest<'a> for $name {
            fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
                let Read { node, fh, offset, size, read_flags, lock_owner, flags } = Read::parse(input)?;
                Ok(Self { node, fh, offset, size, read_flags, lock_owner, flags })
            }
        }
    };
}

reading! {
    /// Reads entries of an open directory.
    ///
    /// Since 7.1. Reply: [`Directory`], whole entries up to `size` bytes; none at the end. Read it with
    /// [`Directory::entries`].
    Readdir = READDIR
}

reading! {
    /// Reads entries of an open directory and looks each up, but `.` and `..`: every [`Entry`](crate::Entry) takes a
    /// reference.
    ///
    /// Since 7.21, with [`InitFlags::DO_READDIRPLUS`](crate::InitFlags::DO_READDIRPLUS). Reply: [`Directory`], whole
    /// entries up to `size` bytes; none at the end. Read it with [`Directory::entries_plus`].
    Readdirplus = READDIRPLUS
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
