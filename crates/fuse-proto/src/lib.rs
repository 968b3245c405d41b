//! The FUSE wire protocol, byte-exact in both directions, with no I/O and no allocation.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod attr;
mod byte_order;
mod dirent;
mod errno;
mod error;
mod extensions;
mod flags;
mod header;
mod ids;
mod list;
mod message;
mod name;
mod negotiation;
mod notification;
mod opcode;
mod operation;
pub mod ops;
mod parse;
mod protocol;
pub mod raw;
mod request;

pub use attr::{Attr, AttrReply, Entry, FileType, Timestamp};
pub use byte_order::ByteOrder;
pub use dirent::{DirEntries, DirEntriesPlus, DirEntry, DirEntryPlus, Directory, DirectoryWriter};
pub use errno::Errno;
pub use error::{DecodeError, EncodeError, NameError, ReplyError};
pub use extensions::{Extension, Extensions, ExtensionsBuilder, Groups, SecurityContext, SecurityContexts};
pub use flags::{
    AccessMask, AccessMode, AttrFlags, FallocateMode, FopenFlags, FsyncFlags, GetattrFlags, InitFlags, InvalEntryFlags,
    IoctlFlags, LockFlags, MapFlags, OpenExtraFlags, OpenFlags, PollEvents, PollFlags, ReadFlags, ReleaseFlags,
    RenameFlags, SetattrValid, SetxattrFlags, StatxMask, WriteFlags, XattrFlags,
};
pub use header::{Context, ReplyHeader, RequestHeader};
pub use ids::{FileHandle, LockOwner, NodeId, Unique};
pub use list::{ForgetOne, IoctlVector, List, ListItem, MappingRange, PrunedNode};
pub use message::{Message, ReplyMessage};
pub use name::{NAME_MAX, check_component, check_name, check_text, is_dot};
pub use negotiation::{Limits, Negotiation, NegotiationError, Offer, ServerAnswer, ServerNegotiation, ServerOffer};
pub use notification::Notification;
pub use opcode::Opcode;
pub use operation::{Operation, ReplyBody, ReplyRule, ReplySize};
pub use protocol::{DEFAULT_MAX_PAGES, MAJOR, MIN_MAX_WRITE, MINOR, Protocol};
pub use request::{Request, RequestBody};
