//! Extended attributes: `SETXATTR`, `GETXATTR`, `LISTXATTR`, `REMOVEXATTR`.

use crate::{
    DecodeError, EncodeError, InitFlags, Message, NodeId, Opcode, Operation, Protocol, ReplyBody, ReplyMessage,
    ReplySize, SetxattrFlags, XattrFlags,
    name::{self, split_text},
    parse::{Input, ParseRequest},
    raw,
};

/// Sets an extended attribute. The value is the message's [data](Message::data).
///
/// Since 7.1; `setxattr_flags` since 7.33 with [`InitFlags::SETXATTR_EXT`] (8 bytes without). Reply: no body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setxattr<'a> {
    /// The inode.
    pub node: NodeId,
    /// The attribute's name with its namespace, such as `user.mime_type`.
    pub name: &'a [u8],
    /// The new value.
    pub value: &'a [u8],
    /// Whether the attribute must or must not be there.
    pub flags: XattrFlags,
    /// What else to do; none without [`InitFlags::SETXATTR_EXT`].
    pub setxattr_flags: SetxattrFlags,
}

const XATTR_NAME: &str = "extended attribute name";

impl Setxattr<'_> {
    const fn fixed_size(protocol: &Protocol) -> usize {
        if protocol.has(InitFlags::SETXATTR_EXT) { size_of::<raw::SetxattrIn>() } else { 8 }
    }
}

impl Operation for Setxattr<'_> {
    const OPCODE: Opcode = Opcode::SETXATTR;

    fn node(&self) -> NodeId {
        self.node
    }

    fn write_body<'s>(&'s self, protocol: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        let len = self.value.len();
        let size = u32::try_from(len).map_err(|_| EncodeError::TooLong { len: len as u64 })?;
        if !self.setxattr_flags.is_empty() && !protocol.has(InitFlags::SETXATTR_EXT) {
            return Err(EncodeError::NotNegotiated { what: "fuse_setxattr_in.setxattr_flags" });
        }
        let raw =
            raw::SetxattrIn { size, flags: self.flags.bits(), setxattr_flags: self.setxattr_flags.bits(), padding: 0 };
        message.fixed_prefix(raw, Self::fixed_size(protocol))?;
        message.text(XATTR_NAME, self.name)?;
        message.set_data(self.value);
        Ok(())
    }

    empty_reply!();
}

impl<'a> ParseRequest<'a> for Setxattr<'a> {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let size = Self::fixed_size(&input.protocol);
        let raw: raw::SetxattrIn = input.prefix(size)?;
        Ok(Self {
            node: input.node(),
            name: input.text(XATTR_NAME)?,
            value: input.data("the value of SETXATTR", raw.size)?,
            flags: XattrFlags::from_bits_retain(raw.flags),
            setxattr_flags: SetxattrFlags::from_bits_retain(raw.setxattr_flags),
        })
    }
}

/// What [`Getxattr`] and [`Listxattr`] answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XattrReply<'a> {
    /// How large the answer is, in bytes, when the request asked with size zero (`fuse_getxattr_out`, 8 bytes).
    Size(u32),
    /// The value, or for `LISTXATTR` the [names](xattr_names).
    Value(&'a [u8]),
}

impl XattrReply<'_> {
    const fn size(asked: u32) -> ReplySize {
        if asked == 0 { ReplySize::exactly(size_of::<raw::GetxattrOut>()) } else { ReplySize::up_to(asked) }
    }

    fn read<'r>(protocol: &Protocol, asked: u32, body: &'r [u8]) -> Result<XattrReply<'r>, DecodeError> {
        if asked != 0 {
            return Ok(XattrReply::Value(body));
        }
        let raw: raw::GetxattrOut = crate::attr::read_exact(protocol.byte_order(), body)?;
        Ok(XattrReply::Size(raw.size))
    }
}

impl ReplyBody for XattrReply<'_> {
    fn write<'s>(&'s self, _: &Protocol, reply: &mut ReplyMessage<'s>) -> Result<(), EncodeError> {
        match self {
            Self::Size(size) => reply.fixed(raw::GetxattrOut { size: *size, padding: 0 }),
            Self::Value(value) => {
                reply.set_data(value);
                Ok(())
            }
        }
    }
}

/// Reads an extended attribute, or with size zero asks how large it is.
///
/// Since 7.1. Reply: [`XattrReply`]; `ERANGE` if the value is larger than `size`, `ENODATA` if there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Getxattr<'a> {
    /// The inode.
    pub node: NodeId,
    /// The attribute's name with its namespace.
    pub name: &'a [u8],
    /// The largest value that is of use, in bytes; zero to ask for its size.
    pub size: u32,
}

impl Operation for Getxattr<'_> {
    const OPCODE: Opcode = Opcode::GETXATTR;

    type Reply<'r> = XattrReply<'r>;

    fn node(&self) -> NodeId {
        self.node
    }

    fn write_body<'s>(&'s self, _: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        message.fixed(raw::GetxattrIn { size: self.size, padding: 0 })?;
        message.text(XATTR_NAME, self.name)
    }

    fn reply_size(&self, _: &Protocol) -> ReplySize {
        XattrReply::size(self.size)
    }

    fn decode_body<'r>(&self, protocol: &Protocol, body: &'r [u8]) -> Result<XattrReply<'r>, DecodeError> {
        XattrReply::read(protocol, self.size, body)
    }
}

impl<'a> ParseRequest<'a> for Getxattr<'a> {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let raw: raw::GetxattrIn = input.fixed()?;
        Ok(Self { node: input.node(), name: input.text(XATTR_NAME)?, size: raw.size })
    }
}

/// Lists the names of the extended attributes, or with size zero asks how large the list is.
///
/// Since 7.1. Reply: [`XattrReply`], to be read with [`xattr_names`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listxattr {
    /// The inode.
    pub node: NodeId,
    /// The largest list that is of use, in bytes; zero to ask for its size.
    pub size: u32,
}

impl Operation for Listxattr {
    const OPCODE: Opcode = Opcode::LISTXATTR;

    type Reply<'r> = XattrReply<'r>;

    fn node(&self) -> NodeId {
        self.node
    }

    fn write_body<'s>(&'s self, _: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        message.fixed(raw::GetxattrIn { size: self.size, padding: 0 })
    }

    fn reply_size(&self, _: &Protocol) -> ReplySize {
        XattrReply::size(self.size)
    }

    fn decode_body<'r>(&self, protocol: &Protocol, body: &'r [u8]) -> Result<XattrReply<'r>, DecodeError> {
        XattrReply::read(protocol, self.size, body)
    }
}

impl<'a> ParseRequest<'a> for Listxattr {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let raw: raw::GetxattrIn = input.fixed()?;
        Ok(Self { node: input.node(), size: raw.size })
    }
}

/// The names in a list of extended attributes. Ends after the first error.
///
/// # Errors
/// The iterator gives [`DecodeError::Name`] for a name that is empty, too long or without an end.
#[must_use]
pub const fn xattr_names(list: &[u8]) -> XattrNames<'_> {
    XattrNames { rest: list }
}

/// See [`xattr_names`].
#[derive(Clone, Debug)]
pub struct XattrNames<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for XattrNames<'a> {
    type Item = Result<&'a [u8], DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let split = split_text(XATTR_NAME, self.rest).and_then(|(text, rest)| {
            name::check_text(text).map_err(|error| DecodeError::Name { field: XATTR_NAME, error })?;
            Ok((text, rest))
        });
        self.rest = split.as_ref().map_or(&[], |(_, rest)| rest);
        Some(split.map(|(text, _)| text))
    }
}

impl core::iter::FusedIterator for XattrNames<'_> {}

/// Removes an extended attribute.
///
/// Since 7.1. Reply: no body; `ENODATA` if there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removexattr<'a> {
    /// The inode.
    pub node: NodeId,
    /// The attribute's name with its namespace.
    pub name: &'a [u8],
}

impl Operation for Removexattr<'_> {
    const OPCODE: Opcode = Opcode::REMOVEXATTR;

    fn node(&self) -> NodeId {
        self.node
    }

    fn write_body<'s>(&'s self, _: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        message.text(XATTR_NAME, self.name)
    }

    empty_reply!();
}

impl<'a> ParseRequest<'a> for Removexattr<'a> {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        Ok(Self { node: input.node(), name: input.text(XATTR_NAME)? })
    }
}
