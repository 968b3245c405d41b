//! Memory of the daemon's own that one request lies in while it is carried out.
//!
//! A request is copied here out of the guest's memory, once; what is checked and what virtiofsd's server executes is
//! this copy. Its reply is made here too, and copied to the guest when it is whole: so nothing is written into a
//! guest's memory after its device was stopped, and no queue is locked while the host works.

use std::io;

use virtio_queue::desc::{RawDescriptor, split::Descriptor};
use virtio_queue::{DescriptorChain, Queue, QueueT as _};
use virtiofsd::descriptor_utils::{Reader, Writer};
use vm_memory::{Address as _, Bytes as _, GuestAddress, GuestMemory as _, VolatileSlice};

use crate::memory::{IN_HEADER, Memory, OUT_HEADER};

/// Longest request and longest reply, in bytes: what virtiofsd serves at most in one, and its header.
pub const LONGEST: usize = (1 << 20) + 0x1000;

/// The queue by which the server is given the request.
const DESCRIPTORS: GuestAddress = GuestAddress(0);
const AVAILABLE: u64 = 0x100;
const USED: u64 = 0x200;
/// The request.
const REQUEST: u64 = 0x1000;
/// The reply.
const REPLY: u64 = REQUEST + LONGEST as u64;
const SIZE: usize = REPLY as usize + LONGEST;

/// `VIRTQ_DESC_F_NEXT`.
const NEXT: u16 = 1;
/// `VIRTQ_DESC_F_WRITE`.
const WRITE: u16 = 2;

type Part<'a> = VolatileSlice<'a, vhost_user_backend::bitmap::BitmapMmapRegion>;

/// Room for one request and its reply.
#[derive(Debug)]
pub struct Scratch {
    memory: Memory,
    queue: Queue,
    len: usize,
}

impl Scratch {
    /// Memory is taken from the host only as it is used.
    ///
    /// # Errors
    ///
    /// If the host has no memory.
    pub fn new() -> io::Result<Self> {
        let memory = Memory::from_ranges(&[(GuestAddress(0), SIZE)]).map_err(io::Error::other)?;
        let mut queue = Queue::new(2).map_err(io::Error::other)?;
        queue.try_set_desc_table_address(DESCRIPTORS).map_err(io::Error::other)?;
        queue.try_set_avail_ring_address(GuestAddress(AVAILABLE)).map_err(io::Error::other)?;
        queue.try_set_used_ring_address(GuestAddress(USED)).map_err(io::Error::other)?;
        queue.set_ready(true);
        Ok(Scratch { memory, queue, len: 0 })
    }

    /// Takes in a request that lies in `parts` of the guest's memory.
    ///
    /// # Errors
    ///
    /// If it is longer than [`LONGEST`].
    pub fn fill<'a>(&mut self, parts: impl Iterator<Item = Part<'a>>) -> io::Result<()> {
        self.len = 0;
        for part in parts {
            let end = self.len.checked_add(part.len()).filter(|&end| end <= LONGEST);
            let end = end.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))?;
            let to = self.slice(REQUEST, self.len, part.len())?;
            part.copy_to_volatile_slice(to);
            self.len = end;
        }
        Ok(())
    }

    /// Length of the request in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no request.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first bytes of the request, at most `most`.
    ///
    /// # Errors
    ///
    /// None in practice: it is the daemon's own memory.
    pub fn beginning(&self, most: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.len.min(most)];
        self.memory.read_slice(&mut bytes, GuestAddress(REQUEST)).map_err(io::Error::other)?;
        Ok(bytes)
    }

    /// Has `server` carry out the request, with room for a reply of at most `room` bytes.
    ///
    /// # Errors
    ///
    /// What `server` says.
    pub fn serve(
        &mut self,
        room: usize,
        server: impl FnOnce(Reader<'_>, Writer<'_>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let chain = chain(&self.memory, &mut self.queue, self.len, room.min(LONGEST))?;
        let reader = Reader::new(&self.memory, chain.clone()).map_err(io::Error::other)?;
        let writer = Writer::new(&self.memory, chain).map_err(io::Error::other)?;
        server(reader, writer)
    }

    /// Writes a reply that is only a header; returns its length in bytes.
    pub fn reply_header(&self, unique: u64, error: i32) -> usize {
        let mut header = [0; OUT_HEADER];
        header[0..4].copy_from_slice(&(OUT_HEADER as u32).to_ne_bytes());
        header[4..8].copy_from_slice(&error.to_ne_bytes());
        header[8..16].copy_from_slice(&unique.to_ne_bytes());
        match self.memory.write_slice(&header, GuestAddress(REPLY)) {
            Ok(()) => OUT_HEADER,
            Err(_) => 0,
        }
    }

    /// The error in the header of the reply.
    pub fn reply_error(&self) -> i32 {
        self.memory.read_obj(GuestAddress(REPLY + 4)).unwrap_or(0)
    }

    /// Changes the 32 bits at `offset` of the reply.
    pub fn amend(&self, offset: usize, change: impl FnOnce(u32) -> u32) {
        let at = GuestAddress(REPLY + offset as u64);
        if let Ok(bits) = self.memory.read_obj(at) {
            let _ = self.memory.write_obj(change(bits), at);
        }
    }

    /// `len` bytes of the reply from `offset` on.
    ///
    /// # Errors
    ///
    /// If they are more than [`LONGEST`] allows.
    pub fn reply(&self, offset: usize, len: usize) -> io::Result<Part<'_>> {
        self.slice(REPLY, offset, len)
    }

    fn slice(&self, base: u64, offset: usize, len: usize) -> io::Result<Part<'_>> {
        if offset.checked_add(len).is_none_or(|end| end > LONGEST) {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        self.memory.get_slice(GuestAddress(base + offset as u64), len).map_err(io::Error::other)
    }
}

/// The request and the room for its reply, as a queue's only chain.
fn chain<'a>(
    memory: &'a Memory,
    queue: &mut Queue,
    request: usize,
    room: usize,
) -> io::Result<DescriptorChain<&'a Memory>> {
    let len = |len: usize| u32::try_from(len).map_err(io::Error::other);
    let next = if room > 0 { NEXT } else { 0 };
    let request = RawDescriptor::from(Descriptor::new(REQUEST, len(request)?, next, 1));
    let reply = RawDescriptor::from(Descriptor::new(REPLY, len(room)?, WRITE, 0));
    memory.write_obj(request, DESCRIPTORS).map_err(io::Error::other)?;
    memory.write_obj(reply, DESCRIPTORS.unchecked_add(size_of::<RawDescriptor>() as u64)).map_err(io::Error::other)?;
    queue.set_next_avail(0);
    // Flags, index, and the head in the ring's first place.
    memory.write_obj([0u16, 1, 0], GuestAddress(AVAILABLE)).map_err(io::Error::other)?;
    queue.pop_descriptor_chain(memory).ok_or_else(|| io::Error::other("an empty queue"))
}

const _: () = assert!(IN_HEADER < LONGEST);

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn the_server_gets_the_copy_and_no_more_room_than_the_guest_has() -> io::Result<()> {
        let guest = Memory::from_ranges(&[(GuestAddress(0), 0x1000)]).map_err(io::Error::other)?;
        guest.write_slice(b"request", GuestAddress(0)).map_err(io::Error::other)?;
        let mut scratch = Scratch::new()?;
        for room in [0, 16, LONGEST, usize::MAX] {
            let part = |at, len| guest.get_slice(GuestAddress(at), len).map_err(io::Error::other);
            scratch.fill([part(0, 3)?, part(3, 4)?].into_iter())?;
            let len = scratch.serve(room, |mut reader, mut writer| {
                guest.write_slice(b"changed", GuestAddress(0)).map_err(io::Error::other)?;
                let mut bytes = Vec::new();
                reader.read_to_end(&mut bytes)?;
                assert_eq!(bytes, b"request");
                assert_eq!(writer.available_bytes(), room.min(LONGEST));
                writer.write(&[7; 20])
            })?;
            assert_eq!(len, room.min(20));
            guest.write_slice(b"request", GuestAddress(0)).map_err(io::Error::other)?;
        }
        Ok(())
    }

    #[test]
    fn what_is_too_long_is_refused() -> io::Result<()> {
        let guest = Memory::from_ranges(&[(GuestAddress(0), LONGEST)]).map_err(io::Error::other)?;
        let part = |len| guest.get_slice(GuestAddress(0), len).map_err(io::Error::other);
        let mut scratch = Scratch::new()?;
        scratch.fill([part(LONGEST)?].into_iter())?;
        assert_eq!(scratch.len(), LONGEST);
        assert!(scratch.fill([part(LONGEST)?, part(1)?].into_iter()).is_err());
        assert!(scratch.reply(1, LONGEST).is_err());
        Ok(())
    }
}
