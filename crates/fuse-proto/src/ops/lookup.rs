//! `LOOKUP`, `FORGET`, `BATCH_FORGET`: references on inodes.

use crate::{
    DecodeError, EncodeError, Entry, ForgetOne, InitFlags, List, Message, NameError, NodeId, Opcode, Operation,
    Protocol, ReplyBody, ReplyMessage, ReplyRule, name,
    parse::{Input, ParseRequest},
    raw,
};

impl ReplyBody for Entry {
    fn write<'s>(&'s self, protocol: &Protocol, reply: &mut ReplyMessage<'s>) -> Result<(), EncodeError> {
        reply.fixed_prefix(self.to_raw()?, Self::size(protocol))
    }
}

/// Finds a name in a directory. The entry takes a reference on the inode, to be given back with [`Forget`].
///
/// `.` and `..` can be looked up only with [`InitFlags::EXPORT_SUPPORT`]. Since 7.1. Reply: [`Entry`], 128 bytes (120
/// before 7.9), negative or `ENOENT` if there is no such name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookup<'a> {
    /// The directory.
    pub parent: NodeId,
    /// The name.
    pub name: &'a [u8],
}

const LOOKUP_NAME: &str = "LOOKUP name";

impl Operation for Lookup<'_> {
    const OPCODE: Opcode = Opcode::LOOKUP;

    fn node(&self) -> NodeId {
        self.parent
    }

    fn write_body<'s>(&'s self, protocol: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        if name::is_dot(self.name) && protocol.has(InitFlags::EXPORT_SUPPORT) {
            message.text(LOOKUP_NAME, self.name)
        } else {
            message.name(LOOKUP_NAME, self.name)
        }
    }

    sized_reply!(Entry, Entry::read);
}

impl<'a> ParseRequest<'a> for Lookup<'a> {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let name = input.component(LOOKUP_NAME)?;
        if name::is_dot(name) && !input.protocol.has(InitFlags::EXPORT_SUPPORT) {
            return Err(DecodeError::Name { field: LOOKUP_NAME, error: NameError::Dot });
        }
        Ok(Self { parent: input.node(), name })
    }
}

/// Gives references on an inode back. On virtio it goes to the queue for high priority.
///
/// Since 7.1. No reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forget {
    /// The inode.
    pub node: NodeId,
    /// How many look-ups to forget.
    pub nlookup: u64,
}

impl Operation for Forget {
    const OPCODE: Opcode = Opcode::FORGET;
    const REPLY: ReplyRule = ReplyRule::Never;

    fn node(&self) -> NodeId {
        self.node
    }

    fn write_body<'s>(&'s self, _: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        message.fixed(raw::ForgetIn { nlookup: self.nlookup })
    }

    empty_reply!();
}

impl<'a> ParseRequest<'a> for Forget {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let raw: raw::ForgetIn = input.fixed()?;
        Ok(Self { node: input.node(), nlookup: raw.nlookup })
    }
}

/// Gives references on many inodes back. On virtio it goes to the queue for high priority.
///
/// Since 7.16: refused in older versions, where a server would ignore it without a word. No reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchForget<'a> {
    /// What to forget.
    pub items: List<'a, ForgetOne>,
}

impl Operation for BatchForget<'_> {
    const OPCODE: Opcode = Opcode::BATCH_FORGET;
    const REPLY: ReplyRule = ReplyRule::Never;

    fn node(&self) -> NodeId {
        NodeId::NONE
    }

    fn write_body<'s>(&'s self, protocol: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        if protocol.minor() < 16 {
            return Err(EncodeError::Version { what: "BATCH_FORGET", minor: 16, have: protocol.minor() });
        }
        let len = self.items.len();
        let count = u32::try_from(len).map_err(|_| EncodeError::TooLong { len: len as u64 })?;
        message.fixed(raw::BatchForgetIn { count, dummy: 0 })?;
        message.set_data(self.items.wire(protocol.byte_order())?);
        Ok(())
    }

    empty_reply!();
}

impl<'a> ParseRequest<'a> for BatchForget<'a> {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let raw: raw::BatchForgetIn = input.fixed()?;
        let order = input.protocol.byte_order();
        Ok(Self { items: List::parse(order, raw.count.into(), input.rest())? })
    }
}
