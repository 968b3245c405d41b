//! What can be wrong with a message.

use thiserror::Error;

use crate::{Errno, Opcode, Unique};

/// Why a name cannot stand in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NameError {
    /// It has no bytes.
    #[error("is empty")]
    Empty,
    /// It has a zero byte in it.
    #[error("has a zero byte at {at}")]
    Nul {
        /// Where, in bytes from the start.
        at: usize,
    },
    /// It has a slash in it.
    #[error("has a slash at {at}")]
    Slash {
        /// Where, in bytes from the start.
        at: usize,
    },
    /// It is `.` or `..`, which are places, not names.
    #[error("is \".\" or \"..\"")]
    Dot,
    /// It is longer than any system takes.
    #[error("has {len} bytes, more than {max}")]
    TooLong {
        /// Its length in bytes.
        len: usize,
        /// The longest one allowed.
        max: usize,
    },
    /// In a message: no zero byte ends it.
    #[error("has no end")]
    Unterminated,
}

/// Why bytes from the other side are not a message.
///
/// Lengths are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A structure does not fit into what there is.
    #[error("{what} needs {need} bytes, only {have} are there")]
    Truncated {
        /// The structure.
        what: &'static str,
        /// Its size.
        need: u64,
        /// What is there.
        have: u64,
    },
    /// A body has a size that this message cannot have.
    #[error("{what} has {have} bytes, not {min} to {max}")]
    Size {
        /// The message.
        what: &'static str,
        /// The least it can have.
        min: u64,
        /// The most it can have.
        max: u64,
        /// What it has.
        have: u64,
    },
    /// Something follows where the message should end.
    #[error("{extra} bytes follow {what}")]
    Trailing {
        /// What should have been the end.
        what: &'static str,
        /// How much follows.
        extra: u64,
    },
    /// The header's length is not that of the message.
    #[error("the header says {len} bytes, the message has {used}")]
    Length {
        /// `len` in the header.
        len: u32,
        /// The message's length; for a reply, what the device says it wrote.
        used: u64,
    },
    /// The reply is to another request.
    #[error("the reply is to request {found}, not {expected}")]
    Unique {
        /// The request's number.
        expected: Unique,
        /// The reply's number.
        found: Unique,
    },
    /// The error is not a negated error number.
    #[error("error {error} is outside -4095 to 0")]
    ErrorRange {
        /// `error` in the header.
        error: i32,
    },
    /// The reply refuses and has a body all the same.
    #[error("an answer of {errno} has {len} bytes, not 16")]
    ErrorWithBody {
        /// The error.
        errno: Errno,
        /// `len` in the header.
        len: u32,
    },
    /// A reply came to a request that has none.
    #[error("{opcode} has no reply, yet {used} bytes came")]
    UnexpectedReply {
        /// The request's opcode.
        opcode: Opcode,
        /// What the device says it wrote.
        used: u64,
    },
    /// A field has a value that it cannot have.
    #[error("{field} cannot be {value:#x}")]
    Field {
        /// The field, as `structure.field` of `linux/fuse.h`.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// A name is not one.
    #[error("{field} {error}")]
    Name {
        /// Where the name stands.
        field: &'static str,
        /// What is wrong with it.
        error: NameError,
    },
    /// No operation has this code.
    #[error("unknown {0}")]
    UnknownOpcode(Opcode),
    /// No notification has this code.
    #[error("unknown notification {code}")]
    UnknownNotification {
        /// `error` in the header.
        code: i32,
    },
}

/// Why a message cannot be written as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A name is not one.
    #[error("{field} {error}")]
    Name {
        /// Which name.
        field: &'static str,
        /// What is wrong with it.
        error: NameError,
    },
    /// A field has a value that it cannot have.
    #[error("{field} cannot be {value:#x}")]
    Field {
        /// The field, as `structure.field` of `linux/fuse.h`.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// The message is longer than its length field can say, or its parts are more than a message has.
    #[error("the message is too long: {len} bytes")]
    TooLong {
        /// Its length in bytes.
        len: u64,
    },
    /// The buffer is too small.
    #[error("the buffer has {have} bytes, {need} are needed")]
    Buffer {
        /// The message's length in bytes.
        need: u64,
        /// The buffer's length in bytes.
        have: u64,
    },
    /// The operation has no reply to write.
    #[error("{0} has no reply")]
    NoReply(Opcode),
    /// A list that was borrowed in one byte order cannot be sent in the other.
    #[error("the list is not in the connection's byte order")]
    ByteOrder,
    /// The version in force has no such request, and none of its replies would tell.
    #[error("{what} needs version 7.{minor}, and the connection speaks 7.{have}")]
    Version {
        /// What is asked for.
        what: &'static str,
        /// The minor version that brought it.
        minor: u32,
        /// The minor version in force.
        have: u32,
    },
    /// What the request needs was not negotiated.
    #[error("{what} was not negotiated")]
    NotNegotiated {
        /// What is asked for.
        what: &'static str,
    },
}

/// Why there is no answer: the server refused, or what came is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReplyError {
    /// The server refused the request.
    #[error("refused: {0}")]
    Refused(#[source] Errno),
    /// What came is not a reply to the request: the server is broken or hostile.
    #[error("invalid reply: {0}")]
    Invalid(#[from] DecodeError),
}

impl ReplyError {
    /// The server's error number, if that is what this is.
    #[must_use]
    pub const fn errno(self) -> Option<Errno> {
        match self {
            Self::Refused(errno) => Some(errno),
            Self::Invalid(_) => None,
        }
    }
}
