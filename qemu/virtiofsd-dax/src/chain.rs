//! Requests in guest memory: they are copied out once, and replies are copied in.

use std::io;

use vhost_user_backend::bitmap::BitmapMmapRegion;
use virtiofsd::filesystem::Context;
use virtiofsd::fuse::InHeader;
use virtiofsd::soft_idmap::Id as _;
use vm_memory::{ByteValued as _, Bytes as _, GuestAddress, GuestMemory as _, GuestMemoryLoadGuard, VolatileSlice};

use crate::memory::{Chain, IN_HEADER, Memory};
use crate::opcode;
use crate::scratch::Scratch;

/// How much of a request's body the daemon looks at itself, in bytes: the fixed part of what it carries out.
const BODY: usize = 512;

/// A request, as far as the daemon looks at it itself.
#[derive(Debug, Clone)]
pub struct Request {
    /// The header.
    pub header: InHeader,
    /// What follows it, or the beginning of that.
    pub body: Vec<u8>,
}

impl Request {
    /// Reads the request that was copied into `scratch`; `None` if it is shorter than a header.
    pub fn read(scratch: &Scratch) -> Option<Self> {
        let header = *InHeader::from_slice(&scratch.beginning(IN_HEADER).ok()?)?;
        let most = if header.opcode == opcode::REMOVEMAPPING { usize::MAX } else { IN_HEADER + BODY };
        let body = scratch.beginning(most).ok()?.split_off(IN_HEADER);
        Some(Request { header, body })
    }

    /// Whether its header says how long it is, `len` bytes.
    pub fn is_honest(&self, len: usize) -> bool {
        usize::try_from(self.header.len).is_ok_and(|said| said == len)
    }

    /// Who asks, as virtiofsd wants it.
    pub fn context(&self) -> Context {
        Context::from(self.header)
    }

    /// The asking user.
    pub fn uid(&self) -> u32 {
        self.header.uid.into_inner()
    }

    /// The asking user's group.
    pub fn gid(&self) -> u32 {
        self.header.gid.into_inner()
    }

    /// A number in the body, at an offset in bytes; `None` if the body ends before.
    pub fn u32_at(&self, offset: usize) -> Option<u32> {
        let bytes = self.body.get(offset..offset.checked_add(4)?)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    }

    /// A number in the body, at an offset in bytes; `None` if the body ends before.
    pub fn u64_at(&self, offset: usize) -> Option<u64> {
        let bytes = self.body.get(offset..offset.checked_add(8)?)?;
        Some(u64::from_ne_bytes(bytes.try_into().ok()?))
    }
}

/// The opcode of a request that nobody has copied yet; only good for a guess.
pub fn peek_opcode(chain: Chain) -> Option<u32> {
    let memory = chain.memory();
    let first = chain.clone().readable().next()?;
    let at = first.addr().0.checked_add(4).filter(|_| first.len() >= 8)?;
    memory.read_obj(GuestAddress(at)).ok()
}

/// Where in the guest's memory a reply goes. The guest can no longer change it.
#[derive(Debug)]
pub struct ReplyRoom {
    memory: GuestMemoryLoadGuard<Memory>,
    parts: Vec<(GuestAddress, usize)>,
    len: usize,
}

/// Copies a request into `scratch`; returns where its reply goes.
///
/// # Errors
///
/// If the chain leads outside the guest's memory, is too long, does not end, or has room for a reply before its request
/// ends.
pub fn take(memory: &GuestMemoryLoadGuard<Memory>, chain: Chain, scratch: &mut Scratch) -> io::Result<ReplyRoom> {
    let mut request: Vec<VolatileSlice<'_, BitmapMmapRegion>> = Vec::new();
    let mut room = ReplyRoom::none(memory);
    let mut ends = false;
    for descriptor in chain {
        // Of a loop, and of one that leads nowhere, the last that is given has a next.
        ends = !descriptor.has_next();
        let len = descriptor.len() as usize;
        let slice = memory.get_slice(descriptor.addr(), len).map_err(io::Error::other)?;
        if descriptor.is_write_only() {
            room.parts.push((descriptor.addr(), len));
            room.len = room.len.checked_add(len).ok_or_else(|| io::Error::other("too much room"))?;
        } else if room.parts.is_empty() {
            request.push(slice);
        } else {
            return Err(io::Error::other("a readable descriptor after a writable one"));
        }
    }
    if !ends {
        return Err(io::Error::other("a chain without an end"));
    }
    scratch.fill(request.into_iter())?;
    Ok(room)
}

impl ReplyRoom {
    /// No room at all.
    pub fn none(memory: &GuestMemoryLoadGuard<Memory>) -> Self {
        ReplyRoom { memory: memory.clone(), parts: Vec::new(), len: 0 }
    }

    /// How many bytes fit.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no room at all, as for requests without a reply.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies the first `len` bytes of a reply into the guest's memory.
    ///
    /// # Errors
    ///
    /// If there is no room for it.
    pub fn write(&self, scratch: &Scratch, len: usize) -> io::Result<()> {
        let mut done = 0;
        for &(address, part) in &self.parts {
            let count = part.min(len - done);
            if count == 0 {
                continue;
            }
            let to = self.memory.get_slice(address, count).map_err(io::Error::other)?;
            scratch.reply(done, count)?.copy_to_volatile_slice(to);
            done += count;
        }
        if done == len { Ok(()) } else { Err(io::Error::from(io::ErrorKind::UnexpectedEof)) }
    }
}
