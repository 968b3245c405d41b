//! Requests that make a name: `MKNOD`, `MKDIR`, `SYMLINK`, `LINK`, `CREATE`, `TMPFILE`.

use crate::{
    DecodeError, EncodeError, Entry, Extensions, InitFlags, Message, NodeId, Opcode, OpenExtraFlags, OpenFlags,
    Operation, Protocol, ReplyBody, ReplyMessage,
    ops::Opened,
    parse::{Input, ParseRequest},
    raw,
};

/// Makes a file of any kind but a directory or a symbolic link.
///
/// Since 7.1; `umask` since 7.12 (8 bytes before). Reply: [`Entry`], 128 bytes (120 before 7.9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mknod<'a> {
    /// The directory.
    pub parent: NodeId,
    /// The new name.
    pub name: &'a [u8],
    /// Type and permissions, as in `st_mode`.
    pub mode: u32,
    /// For devices, which one.
    pub rdev: u32,
    /// The caller's umask, with [`InitFlags::DONT_MASK`](crate::InitFlags::DONT_MASK).
    pub umask: u32,
    /// Security contexts and groups.
    pub extensions: Extensions<'a>,
}

impl Operation for Mknod<'_> {
    const OPCODE: Opcode = Opcode::MKNOD;

    fn node(&self) -> NodeId {
        self.parent
    }

    fn write_body<'s>(&'s self, protocol: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        let raw = raw::MknodIn { mode: self.mode, rdev: self.rdev, umask: self.umask, padding: 0 };
        message.fixed_prefix(raw, if protocol.minor() < 12 { 8 } else { size_of::<raw::MknodIn>() })?;
        message.name("MKNOD name", self.name)?;
        write_extensions(protocol, message, &self.extensions)
    }

    sized_reply!(Entry, Entry::read_new);
}

impl<'a> ParseRequest<'a> for Mknod<'a> {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let raw: raw::MknodIn = input.compat(12, 8)?;
        Ok(Self {
            parent: input.node(),
            name: input.name("MKNOD name")?,
            mode: raw.mode,
            rdev: raw.rdev,
            umask: raw.umask,
            extensions: input.extensions()?,
        })
    }
}

/// Makes a directory.
///
/// Since 7.1; `umask` since 7.12 (padding before). Reply: [`Entry`], 128 bytes (120 before 7.9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mkdir<'a> {
    /// The directory to make it in.
    pub parent: NodeId,
    /// The new name.
    pub name: &'a [u8],
    /// Permissions.
    pub mode: u32,
    /// The caller's umask, with [`InitFlags::DONT_MASK`](crate::InitFlags::DONT_MASK).
    pub umask: u32,
    /// Security contexts and groups.
    pub extensions: Extensions<'a>,
}

impl Operation for Mkdir<'_> {
    const OPCODE: Opcode = Opcode::MKDIR;

    fn node(&self) -> NodeId {
        self.parent
    }

    fn write_body<'s>(&'s self, protocol: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        message.fixed(raw::MkdirIn { mode: self.mode, umask: self.umask })?;
        message.name("MKDIR name", self.name)?;
        write_extensions(protocol, message, &self.extensions)
    }

    sized_reply!(Entry, Entry::read_new);
}

impl<'a> ParseRequest<'a> for Mkdir<'a> {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let raw: raw::MkdirIn = input.fixed()?;
        Ok(Self {
            parent: input.node(),
            name: input.name("MKDIR name")?,
            mode: raw.mode,
            umask: raw.umask,
            extensions: input.extensions()?,
        })
    }
}

/// Makes a symbolic link.
///
/// Since 7.1. Reply: [`Entry`], 128 bytes (120 before 7.9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Symlink<'a> {
    /// The directory.
    pub parent: NodeId,
    /// The new name.
    pub name: &'a [u8],
    /// Where it points: any path.
    pub target: &'a [u8],
    /// Security contexts and groups.
    pub extensions: Extensions<'a>,
}

impl Operation for Symlink<'_> {
    const OPCODE: Opcode = Opcode::SYMLINK;

    fn node(&self) -> NodeId {
        self.parent
    }

    fn write_body<'s>(&'s self, protocol: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        message.name("SYMLINK name", self.name)?;
        message.text("SYMLINK target", self.target)?;
        write_extensions(protocol, message, &self.extensions)
    }

    sized_reply!(Entry, Entry::read_new);
}

impl<'a> ParseRequest<'a> for Symlink<'a> {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            parent: input.node(),
            name: input.name("SYMLINK name")?,
            target: input.text("SYMLINK target")?,
            extensions: input.extensions()?,
        })
    }
}

/// Gives an inode another name.
///
/// Since 7.1. Reply: [`Entry`] of the inode, 128 bytes (120 before 7.9), which takes another reference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link<'a> {
    /// The inode.
    pub target: NodeId,
    /// The directory for the new name.
    pub new_parent: NodeId,
    /// The new name.
    pub new_name: &'a [u8],
}

impl Operation for Link<'_> {
    const OPCODE: Opcode = Opcode::LINK;

    fn node(&self) -> NodeId {
        self.new_parent
    }

    fn write_body<'s>(&'s self, _: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        message.fixed(raw::LinkIn { oldnodeid: self.target.0 })?;
        message.name("LINK name", self.new_name)
    }

    sized_reply!(Entry, Entry::read_new);
}

impl<'a> ParseRequest<'a> for Link<'a> {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let raw: raw::LinkIn = input.fixed()?;
        Ok(Self { target: NodeId(raw.oldnodeid), new_parent: input.node(), new_name: input.name("LINK name")? })
    }
}

/// A new open file: an entry and a handle. 144 bytes (136 before 7.9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Created {
    /// The inode, with a reference taken.
    pub entry: Entry,
    /// The open file.
    pub opened: Opened,
}

impl Created {
    /// Size in bytes in this version of the protocol.
    #[must_use]
    pub const fn size(protocol: &Protocol) -> usize {
        Entry::size(protocol) + Opened::size(protocol)
    }

    fn read<'a>(protocol: &Protocol, bytes: &'a [u8]) -> Result<(Self, &'a [u8]), DecodeError> {
        let (entry, rest) = Entry::read_new(protocol, bytes)?;
        if !entry.attr.is_file() {
            return Err(DecodeError::Field { field: "fuse_attr.mode", value: entry.attr.mode.into() });
        }
        let (opened, rest) = Opened::read(protocol, rest)?;
        Ok((Self { entry, opened }, rest))
    }
}

impl ReplyBody for Created {
    fn write<'s>(&'s self, protocol: &Protocol, reply: &mut ReplyMessage<'s>) -> Result<(), EncodeError> {
        self.entry.write(protocol, reply)?;
        self.opened.write(protocol, reply)
    }
}

/// Makes a regular file and opens it, in one step.
///
/// Since 7.3; `umask` since 7.12 (8 bytes before), `extra` since 7.33. Reply: [`Created`], 144 bytes (136 before 7.9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Create<'a> {
    /// The directory.
    pub parent: NodeId,
    /// The new name.
    pub name: &'a [u8],
    /// How to open it.
    pub flags: OpenFlags,
    /// Type and permissions.
    pub mode: u32,
    /// The caller's umask, with [`InitFlags::DONT_MASK`](crate::InitFlags::DONT_MASK).
    pub umask: u32,
    /// What else is asked for.
    pub extra: OpenExtraFlags,
    /// Security contexts and groups.
    pub extensions: Extensions<'a>,
}

impl Operation for Create<'_> {
    const OPCODE: Opcode = Opcode::CREATE;

    fn node(&self) -> NodeId {
        self.parent
    }

    fn write_body<'s>(&'s self, protocol: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        let raw = raw::CreateIn {
            flags: self.flags.bits(),
            mode: self.mode,
            umask: self.umask,
            open_flags: self.extra.bits(),
        };
        message.fixed_prefix(raw, if protocol.minor() < 12 { 8 } else { size_of::<raw::CreateIn>() })?;
        message.name("CREATE name", self.name)?;
        write_extensions(protocol, message, &self.extensions)
    }

    sized_reply!(Created, Created::read);
}

impl<'a> ParseRequest<'a> for Create<'a> {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let raw: raw::CreateIn = input.compat(12, 8)?;
        Ok(Self {
            parent: input.node(),
            name: input.name("CREATE name")?,
            flags: OpenFlags::from_bits_retain(raw.flags),
            mode: raw.mode,
            umask: raw.umask,
            extra: OpenExtraFlags::from_bits_retain(raw.open_flags),
            extensions: input.extensions()?,
        })
    }
}

/// Makes a regular file without a name and opens it.
///
/// Linux sends the name `/` all the same, and so does this; a server does not look at it. Since 7.37. Reply: [`Created`],
/// 144 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tmpfile<'a> {
    /// The directory that is on the file's file system.
    pub parent: NodeId,
    /// How to open it.
    pub flags: OpenFlags,
    /// Type and permissions.
    pub mode: u32,
    /// The caller's umask, with [`InitFlags::DONT_MASK`](crate::InitFlags::DONT_MASK).
    pub umask: u32,
    /// What else is asked for.
    pub extra: OpenExtraFlags,
    /// Security contexts and groups.
    pub extensions: Extensions<'a>,
}

impl Operation for Tmpfile<'_> {
    const OPCODE: Opcode = Opcode::TMPFILE;

    fn node(&self) -> NodeId {
        self.parent
    }

    fn write_body<'s>(&'s self, protocol: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        message.fixed(raw::CreateIn {
            flags: self.flags.bits(),
            mode: self.mode,
            umask: self.umask,
            open_flags: self.extra.bits(),
        })?;
        message.text("TMPFILE name", b"/")?;
        write_extensions(protocol, message, &self.extensions)
    }

    sized_reply!(Created, Created::read);
}

impl<'a> ParseRequest<'a> for Tmpfile<'a> {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let raw: raw::CreateIn = input.fixed()?;
        input.text("TMPFILE name")?;
        Ok(Self {
            parent: input.node(),
            flags: OpenFlags::from_bits_retain(raw.flags),
            mode: raw.mode,
            umask: raw.umask,
            extra: OpenExtraFlags::from_bits_retain(raw.open_flags),
            extensions: input.extensions()?,
        })
    }
}

/// Adds extensions to a request that creates, if they were negotiated.
fn write_extensions<'s>(
    protocol: &Protocol,
    message: &mut Message<'s>,
    extensions: &Extensions<'s>,
) -> Result<(), EncodeError> {
    if extensions.is_empty() {
        return Ok(());
    }
    if !protocol.flags().intersects(InitFlags::SECURITY_CTX | InitFlags::CREATE_SUPP_GROUP) {
        return Err(EncodeError::NotNegotiated { what: "extensions of requests that create" });
    }
    let bytes = extensions.wire(protocol.byte_order())?;
    message.set_extensions(bytes, protocol.minor() >= 38)
}
