//! The FUSE wire protocol, byte-exact in both directions, with no I/O and no allocation.
//!
//! For kernels that are clients of a file system outside of them, over virtio-fs or anything else that carries bytes; for
//! servers that answer them; and for tools that read captures. Everything of `linux/fuse.h` 7.45 is here: all 51 requests
//! with their replies, the notifications, the sizes of messages in older versions, and the negotiation at the start.
//!
//! A client opens a connection, looks a name up, and maps a part of the file:
//!
//! ```
//! use fuse_proto::{Context, InitFlags, MapFlags, Negotiation, NodeId, Offer, Operation, Protocol, Unique, ops};
//! # use fuse_proto::{ByteOrder, Entry, Request, RequestBody, ServerAnswer, ServerNegotiation, ServerOffer};
//! # /// A server in a closure: writes its reply over the request, and gives its length.
//! # fn exchange(protocol: &Protocol, buffer: &mut [u8], len: usize) -> usize {
//! #     let mut request = [0; 4096];
//! #     request[..len].copy_from_slice(&buffer[..len]);
//! #     let request = Request::parse(protocol, &request[..len]).unwrap();
//! #     let unique = request.header.unique;
//! #     match &request.body {
//! #         RequestBody::Init(init) => {
//! #             let server = ServerNegotiation::new(ServerOffer::new(InitFlags::MAX_PAGES | InitFlags::BIG_WRITES));
//! #             let ServerAnswer::Agreed { reply, .. } = server.answer(init, ByteOrder::NATIVE) else { panic!() };
//! #             init.reply(protocol, unique, &reply).unwrap().copy_to(buffer).unwrap()
//! #         }
//! #         RequestBody::Lookup(lookup) => {
//! #             let mut entry = Entry { node: NodeId(2), ..Entry::default() };
//! #             entry.attr.mode = 0o100_644;
//! #             lookup.reply(protocol, unique, &entry).unwrap().copy_to(buffer).unwrap()
//! #         }
//! #         RequestBody::Setupmapping(map) => map.reply(protocol, unique, &()).unwrap().copy_to(buffer).unwrap(),
//! #         other => panic!("{other:?}"),
//! #     }
//! # }
//! # fn main() -> Result<(), Box<dyn core::error::Error>> {
//! let mut buffer = [0; 4096];
//! let caller = Context::default();
//!
//! // INIT is the first request, and the only one until it is answered. `exchange` stands for a virtqueue.
//! let negotiation = Negotiation::new(Offer::new(InitFlags::MAX_PAGES | InitFlags::MAP_ALIGNMENT));
//! let init = negotiation.init();
//! let len = init.encode(&Protocol::INITIAL, Unique(2), caller)?.copy_to(&mut buffer)?;
//! let used = exchange(&Protocol::INITIAL, &mut buffer, len);
//! let reply = init.decode_whole(&Protocol::INITIAL, Unique(2), used, &buffer);
//! let protocol = negotiation.answer(reply)?;
//!
//! let lookup = ops::Lookup { parent: NodeId::ROOT, name: b"hello.txt" };
//! let len = lookup.encode(&protocol, Unique(4), caller)?.copy_to(&mut buffer)?;
//! let used = exchange(&protocol, &mut buffer, len);
//! let entry = lookup.decode_whole(&protocol, Unique(4), used, &buffer)?;
//! assert!(entry.attr.is_file());
//!
//! let map = ops::Setupmapping {
//!     node: entry.node,
//!     len: 2 << 20,
//!     flags: MapFlags::READ,
//!     ..Default::default()
//! };
//! let len = map.encode(&protocol, Unique(6), caller)?.copy_to(&mut buffer)?;
//! let used = exchange(&protocol, &mut buffer, len);
//! map.decode_whole(&protocol, Unique(6), used, &buffer)?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//!
//! - Writing a request copies no data: a [`Message`] is a header and a fixed body, and the caller's own slices after them,
//!   ready for a chain of descriptors. Reading borrows.
//! - What comes from the other side is not trusted. A number that lies, a name that is none, a list that overruns, a
//!   listing that does not advance is a [`DecodeError`] that names the field and the number. No function here panics on
//!   what the other side sent, loops without end, or reads beyond what the transport says was written.
//! - Flags, opcodes and error numbers that are not known here are kept, not lost.
//! - No `unsafe`, no allocator, and no features but one: `experimental-famfs` adds messages that were posted and not
//!   merged, and changes nothing else. It is correct on machines of either byte order and of 32 bits; messages from
//!   a machine of the other order can be read too ([`ByteOrder`]).
//!
//! It does not do I/O, does not remember which requests are in flight (whoever owns the queue checks that a reply's
//! [`Unique`] belongs to one), and does not speak CUSE or the `io_uring` transport of `/dev/fuse`.
//!
//! # Modules
//!
//! - [`ops`]: one type for each request, with [`Operation`] for what they have in common.
//! - [`Negotiation`], [`ServerNegotiation`] and [`Protocol`]: what the two sides agree on.
//! - [`Message`], [`ReplyMessage`]: what is ready to be sent. [`Request`]: what a server gets. [`Notification`]: what a
//!   server says without being asked.
//! - [`Attr`], [`Entry`], [`Directory`]: what replies are made of.
//! - [`raw`]: the structures of the header as they lie in memory.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod attr;
mod byte_order;
mod detect;
mod dirent;
mod error;
mod extensions;
#[cfg(feature = "experimental-famfs")]
pub mod famfs;
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
pub use error::{DecodeError, EncodeError, NameError, ReplyError};
pub use extensions::{Extension, Extensions, ExtensionsBuilder, Groups, SecurityContext, SecurityContexts};
pub use flags::{
    AccessMask, AccessMode, AttrFlags, FallocateMode, FopenFlags, FsyncFlags, GetattrFlags, InitFlags, InvalEntryFlags,
    IoctlFlags, LockFlags, MapFlags, OpenExtraFlags, OpenFlags, PollEvents, PollFlags, ReadFlags, ReleaseFlags,
    RenameFlags, SetattrValid, SetxattrFlags, StatxMask, WriteFlags, XattrFlags,
};
pub use fs_errno::Errno;
pub use header::{Context, ReplyHeader, RequestHeader};
pub use ids::{FileHandle, LockOwner, NodeId, Unique};
pub use list::{ForgetOne, IoctlVector, List, ListItem, MappingRange, PrunedNode};
pub use message::{Message, ReplyMessage};
pub use name::{NAME_MAX, check_component, check_name, check_text, is_dot};
pub use negotiation::{Limits, Negotiation, NegotiationError, Offer, ServerAnswer, ServerNegotiation, ServerOffer};
pub use notification::Notification;
pub use opcode::Opcode;
pub use operation::{Encode, Operation, ReplyBody, ReplyRule, ReplySize, Shape};
pub use protocol::{DEFAULT_MAX_PAGES, MAJOR, MIN_MAX_WRITE, MINOR, Protocol};
pub use request::{Request, RequestBody};
