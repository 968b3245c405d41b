//! Requests in guest memory: what is read of them, and replies that are written or amended there.

use std::io::{self, Read as _};

use vhost_user_backend::bitmap::BitmapMmapRegion;
use virtio_queue::DescriptorChain;
use virtiofsd::descriptor_utils::Reader;
use virtiofsd::filesystem::Context;
use virtiofsd::fuse::InHeader;
use virtiofsd::soft_idmap::Id as _;
use vm_memory::{Address as _, Bytes as _, GuestAddress, GuestMemoryAtomic, GuestMemoryLoadGuard, GuestMemoryMmap};

/// The guest's memory.
pub type Memory = GuestMemoryMmap<BitmapMmapRegion>;
/// The guest's memory, which may be replaced while it is used.
pub type SharedMemory = GuestMemoryAtomic<Memory>;
/// One request and the room for its reply.
pub type Chain = DescriptorChain<GuestMemoryLoadGuard<Memory>>;

/// Length of `fuse_in_header` in bytes.
pub const IN_HEADER: usize = 40;
/// Length of `fuse_out_header` in bytes.
pub const OUT_HEADER: usize = 16;

/// How much of a request's body is kept: the fixed part of all that is looked at, and names.
const BODY: u64 = 512;

/// A request, as far as the daemon looks at it itself.
#[derive(Debug, Clone)]
pub struct Request {
    /// The header.
    pub header: InHeader,
    /// What follows it, or the beginning of that.
    pub body: Vec<u8>,
}

impl Request {
    /// Reads a request's header and the beginning of its body.
    ///
    /// # Errors
    ///
    /// If the chain leads outside the guest's memory or is shorter than a header.
    pub fn read(memory: &Memory, chain: Chain) -> io::Result<Self> {
        let mut reader = Reader::new(memory, chain).map_err(io::Error::other)?;
        let header: InHeader = reader.read_obj()?;
        let len = u64::from(header.len).saturating_sub(IN_HEADER as u64).min(BODY);
        let mut body = Vec::new();
        reader.take(len).read_to_end(&mut body)?;
        Ok(Request { header, body })
    }

    /// Reads the first `len` bytes of a request's body, however long.
    ///
    /// # Errors
    ///
    /// If the chain leads outside the guest's memory or is shorter.
    pub fn whole_body(memory: &Memory, chain: Chain, len: usize) -> io::Result<Vec<u8>> {
        let mut reader = Reader::new(memory, chain).map_err(io::Error::other)?;
        let _: InHeader = reader.read_obj()?;
        if reader.available_bytes() < len {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        let mut body = vec![0; len];
        reader.read_exact(&mut body)?;
        Ok(body)
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

/// The room for a reply, readable and writable at any offset.
#[derive(Debug)]
pub struct ReplyRoom<'a> {
    memory: &'a Memory,
    parts: Vec<(GuestAddress, usize)>,
}

impl<'a> ReplyRoom<'a> {
    /// The writable part of a chain.
    pub fn new(memory: &'a Memory, chain: Chain) -> Self {
        let parts = chain.writable().map(|part| (part.addr(), part.len() as usize)).collect();
        ReplyRoom { memory, parts }
    }

    /// How many bytes fit.
    pub fn len(&self) -> usize {
        self.parts.iter().fold(0, |sum, &(_, len)| sum.saturating_add(len))
    }

    /// Whether there is no room at all, as for requests without a reply.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `bytes` from `offset` on.
    ///
    /// # Errors
    ///
    /// If that leaves the room, or the room is not in the guest's memory.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) -> io::Result<()> {
        self.each(offset, bytes.len(), |at, range| {
            self.memory.read_slice(&mut bytes[range], at).map_err(io::Error::other)
        })
    }

    /// Writes `bytes` from `offset` on.
    ///
    /// # Errors
    ///
    /// If that leaves the room, or the room is not in the guest's memory.
    pub fn write(&self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        self.each(offset, bytes.len(), |at, range| self.memory.write_slice(&bytes[range], at).map_err(io::Error::other))
    }

    /// Changes the 32 bits at `offset`.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read) and [`write`](Self::write).
    pub fn amend(&self, offset: usize, change: impl FnOnce(u32) -> u32) -> io::Result<()> {
        let mut bytes = [0; 4];
        self.read(offset, &mut bytes)?;
        self.write(offset, &change(u32::from_ne_bytes(bytes)).to_ne_bytes())
    }

    /// Writes a reply that is only a header; returns its length, which is 0 if there is no room for one.
    pub fn write_header(&self, unique: u64, error: i32) -> usize {
        let mut header = [0; OUT_HEADER];
        header[0..4].copy_from_slice(&(OUT_HEADER as u32).to_ne_bytes());
        header[4..8].copy_from_slice(&error.to_ne_bytes());
        header[8..16].copy_from_slice(&unique.to_ne_bytes());
        match self.write(0, &header) {
            Ok(()) => OUT_HEADER,
            Err(error) => {
                log::warn!("no room for the reply to request {unique}: {error}");
                0
            }
        }
    }

    /// The error in the header of a reply that was written.
    pub fn error(&self) -> i32 {
        let mut bytes = [0; 4];
        match self.read(4, &mut bytes) {
            Ok(()) => i32::from_ne_bytes(bytes),
            Err(_) => 0,
        }
    }

    fn each(
        &self,
        offset: usize,
        len: usize,
        mut act: impl FnMut(GuestAddress, std::ops::Range<usize>) -> io::Result<()>,
    ) -> io::Result<()> {
        let (mut skip, mut done) = (offset, 0);
        for &(start, part) in &self.parts {
            if done == len {
                break;
            }
            if skip >= part {
                skip -= part;
                continue;
            }
            let count = (part - skip).min(len - done);
            let at = start.checked_add(skip as u64).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
            act(at, done..done + count)?;
            done += count;
            skip = 0;
        }
        if done == len { Ok(()) } else { Err(io::Error::from(io::ErrorKind::UnexpectedEof)) }
    }
}
