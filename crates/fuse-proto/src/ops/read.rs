//! `READ`, `READDIR`, `READDIRPLUS`: one body (`fuse_read_in`), three kinds of reply.

use crate::{
    DecodeError, Directory, EncodeError, FileHandle, LockOwner, Message, NodeId, Opcode, OpenFlags, Operation,
    Protocol, ReadFlags, ReplySize,
    parse::{Input, ParseRequest},
    raw,
};

macro_rules! reading {
    (
        $(#[$meta:meta])*
        $name:ident = $opcode:ident {
            node: $node:literal, fh: $fh:literal, offset: $offset:literal, size: $size:literal, flags: $flags:literal,
            new: $new:literal $(,)?
        } -> $reply:ty = $decode:expr
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            #[doc = $node]
            pub node: NodeId,
            #[doc = $fh]
            pub fh: FileHandle,
            #[doc = $offset]
            pub offset: u64,
            #[doc = $size]
            pub size: u32,
            /// Which fields count (7.9).
            pub read_flags: ReadFlags,
            /// The owner of locks, when `read_flags` says so (7.9).
            pub lock_owner: LockOwner,
            #[doc = $flags]
            pub flags: OpenFlags,
        }

        impl $name {
            #[doc = $new]
            #[must_use]
            pub fn new(node: NodeId, fh: FileHandle, offset: u64, size: u32) -> Self {
                Self { node, fh, offset, size, ..Self::default() }
            }
        }

        impl Operation for $name {
            const OPCODE: Opcode = Opcode::$opcode;

            type Reply<'r> = $reply;

            fn node(&self) -> NodeId {
                self.node
            }

            fn write_body<'s>(&'s self, _: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
                message.fixed(raw::ReadIn {
                    fh: self.fh.0,
                    offset: self.offset,
                    size: self.size,
                    read_flags: self.read_flags.bits(),
                    lock_owner: self.lock_owner.0,
                    flags: self.flags.bits(),
                    padding: 0,
                })
            }

            fn reply_size(&self, _: &Protocol) -> ReplySize {
                ReplySize::up_to(self.size)
            }

            fn decode_body<'r>(&self, _: &Protocol, body: &'r [u8]) -> Result<$reply, DecodeError> {
                let decode: fn(&Self, &'r [u8]) -> $reply = $decode;
                Ok(decode(self, body))
            }
        }

        impl<'a> ParseRequest<'a> for $name {
            fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
                // Old clients send it short; Linux does not any more, whatever the version.
                let short = input.protocol.minor() < 9 && input.remaining() == 24;
                let raw: raw::ReadIn = input.prefix(if short { 24 } else { size_of::<raw::ReadIn>() })?;
                Ok(Self {
                    node: input.node(),
                    fh: FileHandle(raw.fh),
                    offset: raw.offset,
                    size: raw.size,
                    read_flags: ReadFlags::from_bits_retain(raw.read_flags),
                    lock_owner: LockOwner(raw.lock_owner),
                    flags: OpenFlags::from_bits_retain(raw.flags),
                })
            }
        }
    };
}

reading! {
    /// Reads from an open file.
    ///
    /// Since 7.1; from `lock_owner` on since 7.9 (24 bytes before, which Linux no longer sends). Reply: the bytes, fewer
    /// than `size` only at the end of the file.
    Read = READ {
        node: "The inode.",
        fh: "The open file.",
        offset: "Where to read from, in bytes.",
        size: "How many bytes to read.",
        flags: "How the file was opened (7.9).",
        new: "`size` bytes of an open file from `offset` on.",
    } -> &'r [u8] = |_, body| body
}

reading! {
    /// Reads entries of an open directory.
    ///
    /// Since 7.1; from `lock_owner` on since 7.9. Reply: [`Directory`], whole entries up to `size` bytes; none at the end.
    /// Read it with [`Directory::entries`].
    Readdir = READDIR {
        node: "The directory.",
        fh: "The open directory.",
        offset: "Where to go on: zero for the beginning, or the [offset](crate::DirEntry::offset) of the last entry.",
        size: "How many bytes of entries to send at most.",
        flags: "How the directory was opened (7.9).",
        new: "Entries of an open directory from `offset` on, `size` bytes at most.",
    } -> Directory<'r> = |_, body| Directory::new(body)
}

reading! {
    /// Reads entries of an open directory and looks each up, but `.` and `..`: every [`Entry`](crate::Entry) takes a
    /// reference.
    ///
    /// Since 7.21, with [`InitFlags::DO_READDIRPLUS`](crate::InitFlags::DO_READDIRPLUS). Reply: [`Directory`], whole
    /// entries up to `size` bytes; none at the end. Read it with [`Directory::entries_plus`].
    Readdirplus = READDIRPLUS {
        node: "The directory.",
        fh: "The open directory.",
        offset: "Where to go on: zero for the beginning, or the [offset](crate::DirEntry::offset) of the last entry.",
        size: "How many bytes of entries to send at most.",
        flags: "How the directory was opened.",
        new: "Entries of an open directory from `offset` on, `size` bytes at most.",
    } -> Directory<'r> = |_, body| Directory::new(body)
}
