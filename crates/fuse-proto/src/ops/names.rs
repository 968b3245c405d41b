//! Names: `UNLINK`, `RMDIR`, `RENAME`, `RENAME2`, `READLINK`.

use crate::{
    DecodeError, EncodeError, Message, NodeId, Opcode, Operation, Protocol, RenameFlags, ReplySize,
    name::{self, NAME_MAX},
    parse::{Input, ParseRequest},
    raw,
};

macro_rules! removing {
    ($(#[$meta:meta])* $name:ident = $opcode:ident, $field:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name<'a> {
            /// The directory that the name is in.
            pub parent: NodeId,
            /// The name.
            pub name: &'a [u8],
        }

        impl Operation for $name<'_> {
            const OPCODE: Opcode = Opcode::$opcode;

            fn node(&self) -> NodeId {
                self.parent
            }

            fn write_body<'s>(&'s self, _: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
                message.name($field, self.name)
            }

            empty_reply!();
        }

        impl<'a> ParseRequest<'a> for $name<'a> {
            fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
                Ok(Self { parent: input.node(), name: input.name($field)? })
            }
        }
    };
}

removing! {
    /// Removes a name that is not a directory. The inode lives on while it is referred to.
    ///
    /// Since 7.1. Reply: no body.
    Unlink = UNLINK, "UNLINK name"
}

removing! {
    /// Removes an empty directory.
    ///
    /// Since 7.1. Reply: no body.
    Rmdir = RMDIR, "RMDIR name"
}

/// Moves a name, over the new one if that is there.
///
/// Since 7.1. Reply: no body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rename<'a> {
    /// The directory that the name is in.
    pub parent: NodeId,
    /// The name.
    pub name: &'a [u8],
    /// The directory to move it to.
    pub new_parent: NodeId,
    /// The new name.
    pub new_name: &'a [u8],
}

const OLD_NAME: &str = "RENAME old name";
const NEW_NAME: &str = "RENAME new name";

impl Operation for Rename<'_> {
    const OPCODE: Opcode = Opcode::RENAME;

    fn node(&self) -> NodeId {
        self.parent
    }

    fn write_body<'s>(&'s self, _: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        message.fixed(raw::RenameIn { newdir: self.new_parent.0 })?;
        message.name(OLD_NAME, self.name)?;
        message.name(NEW_NAME, self.new_name)
    }

    empty_reply!();
}

impl<'a> ParseRequest<'a> for Rename<'a> {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let raw: raw::RenameIn = input.fixed()?;
        Ok(Self {
            parent: input.node(),
            new_parent: NodeId(raw.newdir),
            name: input.name(OLD_NAME)?,
            new_name: input.name(NEW_NAME)?,
        })
    }
}

/// Moves a name, as the flags say.
///
/// Since 7.23. Reply: no body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rename2<'a> {
    /// The directory that the name is in.
    pub parent: NodeId,
    /// The name.
    pub name: &'a [u8],
    /// The directory to move it to.
    pub new_parent: NodeId,
    /// The new name.
    pub new_name: &'a [u8],
    /// How to treat the new name.
    pub flags: RenameFlags,
}

impl Operation for Rename2<'_> {
    const OPCODE: Opcode = Opcode::RENAME2;

    fn node(&self) -> NodeId {
        self.parent
    }

    fn write_body<'s>(&'s self, _: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        message.fixed(raw::Rename2In { newdir: self.new_parent.0, flags: self.flags.bits(), padding: 0 })?;
        message.name(OLD_NAME, self.name)?;
        message.name(NEW_NAME, self.new_name)
    }

    empty_reply!();
}

impl<'a> ParseRequest<'a> for Rename2<'a> {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let raw: raw::Rename2In = input.fixed()?;
        Ok(Self {
            parent: input.node(),
            new_parent: NodeId(raw.newdir),
            name: input.name(OLD_NAME)?,
            new_name: input.name(NEW_NAME)?,
            flags: RenameFlags::from_bits_retain(raw.flags),
        })
    }
}

/// Reads where a symbolic link points.
///
/// Since 7.1. Reply: the path, 1 to 4095 bytes without a zero byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readlink {
    /// The symbolic link.
    pub node: NodeId,
}

impl Operation for Readlink {
    const OPCODE: Opcode = Opcode::READLINK;

    type Reply<'r> = &'r [u8];

    fn node(&self) -> NodeId {
        self.node
    }

    fn write_body<'s>(&'s self, _: &Protocol, _: &mut Message<'s>) -> Result<(), EncodeError> {
        Ok(())
    }

    fn reply_size(&self, _: &Protocol) -> ReplySize {
        ReplySize::up_to(NAME_MAX as u32)
    }

    fn decode_body<'r>(&self, _: &Protocol, body: &'r [u8]) -> Result<&'r [u8], DecodeError> {
        name::check_text(body).map_err(|error| DecodeError::Name { field: "READLINK target", error })?;
        Ok(body)
    }
}

impl<'a> ParseRequest<'a> for Readlink {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        Ok(Self { node: input.node() })
    }
}
