//! Locks on files: `GETLK`, `SETLK`, `SETLKW`.

use crate::{
    DecodeError, EncodeError, FileHandle, LockFlags, LockOwner, Message, NodeId, Opcode, Operation, Protocol,
    ReplyBody, ReplyMessage, ReplySize,
    parse::{Input, ParseRequest},
    raw,
};

/// What a lock does: Linux's `F_RDLCK` and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LockKind {
    /// Others may read.
    Read,
    /// Nobody else may do anything.
    Write,
    /// No lock: drops one, or says that there is none.
    Unlock,
}

impl LockKind {
    const fn from_wire(kind: u32) -> Option<Self> {
        match kind {
            0 => Some(Self::Read),
            1 => Some(Self::Write),
            2 => Some(Self::Unlock),
            _ => None,
        }
    }

    const fn to_wire(self) -> u32 {
        match self {
            Self::Read => 0,
            Self::Write => 1,
            Self::Unlock => 2,
        }
    }
}

/// A lock on a part of a file (`fuse_file_lock`): the reply of `GETLK`, 24 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileLock {
    /// The first byte.
    pub start: u64,
    /// The last byte; `i64::MAX` for the end of the file, wherever that is.
    pub end: u64,
    /// What it does.
    pub kind: LockKind,
    /// The process that holds it, or zero.
    pub pid: u32,
}

impl FileLock {
    fn from_raw(raw: raw::FileLock) -> Result<Self, DecodeError> {
        let kind = LockKind::from_wire(raw.kind)
            .ok_or(DecodeError::Field { field: "fuse_file_lock.type", value: raw.kind.into() })?;
        let lock = Self { start: raw.start, end: raw.end, kind, pid: raw.pid };
        match lock.wrong_field() {
            Some((field, value)) => Err(DecodeError::Field { field, value }),
            None => Ok(lock),
        }
    }

    const fn to_raw(self) -> raw::FileLock {
        raw::FileLock { start: self.start, end: self.end, kind: self.kind.to_wire(), pid: self.pid }
    }

    /// The field that no lock can have: ends beyond all files or before the start. The range of "no lock" is not looked
    /// at.
    const fn wrong_field(&self) -> Option<(&'static str, u64)> {
        if matches!(self.kind, LockKind::Unlock) {
            None
        } else if self.start > i64::MAX as u64 {
            Some(("fuse_file_lock.start", self.start))
        } else if self.end > i64::MAX as u64 || self.end < self.start {
            Some(("fuse_file_lock.end", self.end))
        } else {
            None
        }
    }
}

impl ReplyBody for FileLock {
    fn write<'s>(&'s self, _: &Protocol, reply: &mut ReplyMessage<'s>) -> Result<(), EncodeError> {
        reply.fixed(raw::LkOut { lk: self.to_raw() })
    }
}

macro_rules! locking {
    ($(#[$meta:meta])* $name:ident = $opcode:ident { $($reply:tt)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name {
            /// The inode.
            pub node: NodeId,
            /// The open file.
            pub fh: FileHandle,
            /// Who asks.
            pub owner: LockOwner,
            /// Which lock.
            pub lock: FileLock,
            /// Which kind of lock (7.9).
            pub flags: LockFlags,
        }

        impl Operation for $name {
            const OPCODE: Opcode = Opcode::$opcode;

            fn node(&self) -> NodeId {
                self.node
            }

            fn write_body<'s>(&'s self, protocol: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
                if let Some((field, value)) = self.lock.wrong_field() {
                    return Err(EncodeError::Field { field, value });
                }
                let raw = raw::LkIn {
                    fh: self.fh.0,
                    owner: self.owner.0,
                    lk: self.lock.to_raw(),
                    lk_flags: self.flags.bits(),
                    padding: 0,
                };
                message.fixed_prefix(raw, if protocol.minor() < 9 { 40 } else { size_of::<raw::LkIn>() })
            }

            $($reply)*
        }

        impl<'a> ParseRequest<'a> for $name {
            fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
                let raw: raw::LkIn = input.compat(9, 40)?;
                Ok(Self {
                    node: input.node(),
                    fh: FileHandle(raw.fh),
                    owner: LockOwner(raw.owner),
                    lock: FileLock::from_raw(raw.lk)?,
                    flags: LockFlags::from_bits_retain(raw.lk_flags),
                })
            }
        }
    };
}

locking! {
    /// Asks whether a lock could be taken, and if not, who stands against it.
    ///
    /// Since 7.7. Reply: [`FileLock`], 24 bytes: [`LockKind::Unlock`] if nothing stands against it.
    Getlk = GETLK {
        type Reply<'r> = FileLock;

        fn reply_size(&self, _: &Protocol) -> ReplySize {
            ReplySize::exactly(size_of::<raw::LkOut>())
        }

        fn decode_body(&self, protocol: &Protocol, body: &[u8]) -> Result<FileLock, DecodeError> {
            let raw: raw::LkOut = crate::attr::read_exact(protocol.byte_order(), body)?;
            FileLock::from_raw(raw.lk)
        }
    }
}

locking! {
    /// Takes or drops a lock, without waiting for it.
    ///
    /// Since 7.7. Reply: no body; `EAGAIN` if somebody else holds it.
    Setlk = SETLK {
        empty_reply!();
    }
}

locking! {
    /// Takes a lock, and waits for it. The reply can take for ever: it is what [`Interrupt`](crate::ops::Interrupt) is for.
    ///
    /// Since 7.7. Reply: no body.
    Setlkw = SETLKW {
        empty_reply!();
    }
}
