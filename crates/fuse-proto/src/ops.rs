//! One type for each request: its body, and the shape of its reply.
//!
//! The fields are those of `linux/fuse.h` with types of their own; every type says what it asks for, which version
//! brought it and which sizes its reply has. Sizes are given without the headers (40 bytes of request, 16 of reply).

use crate::{DecodeError, EncodeError, Extensions, InitFlags, Message, Protocol};

/// A request whose reply has no body.
macro_rules! empty_reply {
    () => {
        type Reply<'r> = ();

        fn reply_size(&self, _: &crate::Protocol) -> crate::ReplySize {
            crate::ReplySize::EMPTY
        }

        fn decode_body(&self, _: &crate::Protocol, _: &[u8]) -> Result<(), crate::DecodeError> {
            Ok(())
        }
    };
}

/// A request whose reply is a structure with one size in each version.
macro_rules! sized_reply {
    ($reply:ty, $read:path) => {
        type Reply<'r> = $reply;

        fn reply_size(&self, protocol: &crate::Protocol) -> crate::ReplySize {
            crate::ReplySize::exactly(<$reply>::size(protocol))
        }

        fn decode_body(&self, protocol: &crate::Protocol, body: &[u8]) -> Result<$reply, crate::DecodeError> {
            let (reply, rest) = $read(protocol, body)?;
            crate::attr::no_more(stringify!($reply), rest)?;
            Ok(reply)
        }
    };
}

mod attributes;
mod create;
mod dax;
mod directory;
mod file;
mod init;
mod lock;
mod lookup;
mod misc;
mod names;
mod open;
mod read;
mod xattr;

pub use attributes::{Getattr, Setattr, Statx, StatxReply, StatxTimes};
pub use create::{Create, Created, Link, Mkdir, Mknod, Symlink, Tmpfile};
pub use dax::{Removemapping, Setupmapping};
pub use directory::{Fsyncdir, Opendir, Releasedir};
pub use file::{
    Copied, Copied64, CopyFileRange, CopyFileRange64, Fallocate, Flush, Fsync, Lseek, Sought, Whence, Write, Written,
};
pub use init::{Init, InitReply, InitReplySize};
pub use lock::{FileLock, Getlk, LockKind, Setlk, Setlkw};
pub use lookup::{BatchForget, Forget, Lookup};
pub use misc::{
    Access, Block, Bmap, Destroy, Interrupt, Ioctl, IoctlReply, NotifyReply, Poll, Polled, Statfs, StatfsReply, Syncfs,
};
pub use names::{Readlink, Rename, Rename2, Rmdir, Unlink};
pub use open::{Open, Opened, Release};
pub use read::{Read, Readdir, Readdirplus};
pub use xattr::{Getxattr, Listxattr, Removexattr, Setxattr, XattrNames, XattrReply, xattr_names};

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

/// Checks that a count which the server gives is not more than was asked for.
fn at_most(field: &'static str, value: u64, most: u64) -> Result<u64, DecodeError> {
    if value <= most { Ok(value) } else { Err(DecodeError::Field { field, value }) }
}
