//! Requests of any kind, as a server gets them.

use crate::{
    Context, DecodeError, EncodeError, Message, Opcode, Operation, Protocol, ReplyRule, RequestHeader, Unique,
    ops::*,
    parse::{Input, ParseRequest},
};

/// A request with its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The header.
    pub header: RequestHeader,
    /// What is asked for.
    pub body: RequestBody<'a>,
}

macro_rules! requests {
    ($($name:ident $(<$life:lifetime>)? = $opcode:ident,)*) => {
        /// What a request asks for: one of the [operations](crate::ops).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum RequestBody<'a> {
            $(
                #[doc = concat!("`", stringify!($opcode), "`.")]
                $name($name $(<$life>)?),
            )*
        }

        impl<'a> RequestBody<'a> {
            fn parse(input: Input<'a>) -> Result<Self, DecodeError> {
                match input.header.opcode {
                    $(<$name $(<$life>)?>::OPCODE => Ok(Self::$name(ParseRequest::parse_whole(input)?)),)*
                    opcode => Err(DecodeError::UnknownOpcode(opcode)),
                }
            }

            /// The request's code.
            #[must_use]
            pub const fn opcode(&self) -> Opcode {
                match self {
                    $(Self::$name(_) => Opcode::$opcode,)*
                }
            }

            /// Whether the request has a reply.
            #[must_use]
            pub const fn reply_rule(&self) -> ReplyRule {
                match self {
                    $(Self::$name(_) => <$name $(<$life>)? as Operation>::REPLY,)*
                }
            }

            /// Makes the request ready to be sent.
            ///
            /// # Errors
            /// As [`Operation::encode`].
            pub fn encode(
                &self,
                protocol: &Protocol,
                unique: Unique,
                context: Context,
            ) -> Result<Message<'_>, EncodeError> {
                match self {
                    $(Self::$name(operation) => operation.encode(protocol, unique, context),)*
                }
            }
        }

        $(
            impl<'a> From<$name $(<$life>)?> for RequestBody<'a> {
                fn from(operation: $name $(<$life>)?) -> Self {
                    Self::$name(operation)
                }
            }
        )*
    };
}

requests! {
    Lookup<'a> = LOOKUP,
    Forget = FORGET,
    Getattr = GETATTR,
    Setattr = SETATTR,
    Readlink = READLINK,
    Symlink<'a> = SYMLINK,
    Mknod<'a> = MKNOD,
    Mkdir<'a> = MKDIR,
    Unlink<'a> = UNLINK,
    Rmdir<'a> = RMDIR,
    Rename<'a> = RENAME,
    Link<'a> = LINK,
    Open = OPEN,
    Read = READ,
    Write<'a> = WRITE,
    Statfs = STATFS,
    Release = RELEASE,
    Fsync = FSYNC,
    Setxattr<'a> = SETXATTR,
    Getxattr<'a> = GETXATTR,
    Listxattr = LISTXATTR,
    Removexattr<'a> = REMOVEXATTR,
    Flush = FLUSH,
    Init = INIT,
    Opendir = OPENDIR,
    Readdir = READDIR,
    Releasedir = RELEASEDIR,
    Fsyncdir = FSYNCDIR,
    Getlk = GETLK,
    Setlk = SETLK,
    Setlkw = SETLKW,
    Access = ACCESS,
    Create<'a> = CREATE,
    Interrupt = INTERRUPT,
    Bmap = BMAP,
    Destroy = DESTROY,
    Ioctl<'a> = IOCTL,
    Poll = POLL,
    NotifyReply<'a> = NOTIFY_REPLY,
    BatchForget<'a> = BATCH_FORGET,
    Fallocate = FALLOCATE,
    Readdirplus = READDIRPLUS,
    Rename2<'a> = RENAME2,
    Lseek = LSEEK,
    CopyFileRange = COPY_FILE_RANGE,
    Setupmapping = SETUPMAPPING,
    Removemapping<'a> = REMOVEMAPPING,
    Syncfs = SYNCFS,
    Tmpfile<'a> = TMPFILE,
    Statx = STATX,
    CopyFileRange64 = COPY_FILE_RANGE_64,
}

impl<'a> Request<'a> {
    /// Reads a request, of which `bytes` must be the whole. Nothing is copied.
    ///
    /// # Errors
    /// What is wrong with it; [`DecodeError::UnknownOpcode`] for one that is to be answered with `ENOSYS`.
    pub fn parse(protocol: &Protocol, bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let input = Input::new(protocol, bytes)?;
        Ok(Self { header: input.header, body: RequestBody::parse(input)? })
    }
}
