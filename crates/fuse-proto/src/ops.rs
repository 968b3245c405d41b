//! One type for each request: its body, and the shape of its reply.
//!
//! The fields are those of `linux/fuse.h` with types of their own; every type says what it asks for, which version
//! brought it and which sizes its reply has. Sizes are given without the headers (40 bytes of request, 16 of reply).

#[macro_use]
mod shapes;

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
