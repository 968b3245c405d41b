//! Files on shared memory over FUSE, as posted and not merged: `GET_FMAP` in its two generations, and `GET_DAXDEV`.
//!
//! Behind the feature `experimental-famfs`. Mainline has given none of the numbers away for good: the first postings had 53
//! for `GET_FMAP`, later ones 54, with 55 for `GET_DAXDEV`; and bit 43 of the INIT flags, which announced them, is
//! `FUSE_HAS_IO_URING_BUFPOOL` in Linux 7.3. So the numbers are parameters of the types, nothing here is negotiated, and a
//! client sends these only where it knows from elsewhere what its server speaks.
//!
//! A map is checked as a whole when it is read. Whether its extents are inside their devices, are the file's own and are
//! long enough is for the file system to check.
//!
//! ```
//! use fuse_proto::{ByteOrder, Context, InitFlags, NodeId, Operation, Protocol, Unique, famfs};
//!
//! // Another number for this server.
//! let ask = famfs::GetFmap::<53> { node: NodeId(7) };
//! let request = ask.encode(&Protocol::INITIAL, Unique(2), Context::default())?;
//! assert_eq!(request.len(), 40);
//! # Ok::<(), fuse_proto::EncodeError>(())
//! ```

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{
    ByteOrder, DecodeError, EncodeError, Message, NodeId, Opcode, Operation, Protocol, ReplyBody, ReplyMessage,
    ReplySize, raw::Layout,
};

/// The opcode of `GET_FMAP` in the later postings.
pub const GET_FMAP: u32 = 54;
/// The opcode of `GET_DAXDEV`.
pub const GET_DAXDEV: u32 = 55;
/// The version of maps that is known here.
pub const FMAP_VERSION: u16 = 1;
/// How many devices there can be.
pub const MAX_DEVICES: u32 = 64;
/// How many bytes a map of the second generation can have, header included.
pub const MAX_FMAP: u32 = 16 << 20;
/// How many bytes a client makes room for in the first generation, which says nothing of the size: a page.
const FIRST_REPLY: u32 = 4096;

macro_rules! structures {
    ($($(#[$meta:meta])* $name:ident = $c_name:literal { $($field:ident: $ty:ty,)* } $({ $($bytes:ident: $bytes_ty:ty,)* })?)*) => { $(
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
        struct $name {
            $($field: $ty,)*
            $($($bytes: $bytes_ty,)*)?
        }

        impl Layout for $name {
            const NAME: &'static str = $c_name;

            fn swap_bytes(&mut self) {
                $(self.$field = self.$field.swap_bytes();)*
            }
        }
    )* };
}

structures! {
    RawHeader = "fuse_famfs_fmap_header" {
        file_type: u8, reserved_1: u8, version: u16, ext_type: u32, nextents: u32, size: u32, file_size: u64,
        reserved_2: u64,
    }
    RawExtent = "fuse_famfs_simple_ext" { device: u32, reserved: u32, offset: u64, len: u64, }
    RawStrips = "fuse_famfs_iext" { strips: u32, chunk: u32, bytes: u64, reserved: u64, }
    RawSizes = "fuse_get_fmap_in" { size: u32, padding: u32, }
    RawDevice = "fuse_daxdev_out" { index: u16, reserved_1: u16, reserved_2: u32, reserved_3: u64, reserved_4: u64, } { name: [u8; 256], }
}

const SIMPLE: u32 = 0;
const INTERLEAVED: u32 = 1;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileType {
    /// A regular file.
    Regular,
    /// The superblock.
    Superblock,
    /// The log.
    Log,
}

/// An extent or a strip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Which device, below [`MAX_DEVICES`].
    pub device: u32,
    /// Where on it, in bytes.
    pub offset: u64,
    /// How long it is, in bytes; not 0.
    pub len: u64,
}

impl Extent {
    /// How many bytes it takes in a message.
    pub const LEN: usize = size_of::<RawExtent>();

    fn parse(order: ByteOrder, bytes: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        let (raw, rest) = RawExtent::read_prefix(order, bytes)?;
        if raw.device >= MAX_DEVICES {
            return Err(DecodeError::Field { field: "fuse_famfs_simple_ext.se_devindex", value: raw.device.into() });
        }
        if raw.len == 0 || raw.offset.checked_add(raw.len).is_none() {
            return Err(DecodeError::Field { field: "fuse_famfs_simple_ext.se_len", value: raw.len });
        }
        Ok((Self { device: raw.device, offset: raw.offset, len: raw.len }, rest))
    }

    /// Its bytes in a message.
    #[must_use]
    pub fn wire(&self, order: ByteOrder) -> [u8; Self::LEN] {
        let raw = RawExtent { device: self.device, reserved: 0, offset: self.offset, len: self.len };
        zerocopy::transmute!(raw.in_order(order))
    }
}

/// Extents or strips one after the other in a message, each of them checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtentList<'a> {
    order: ByteOrder,
    bytes: &'a [u8],
}

impl<'a> ExtentList<'a> {
    /// Checks `count` of them at the beginning of `bytes`; gives what follows.
    fn parse(order: ByteOrder, count: u64, bytes: &'a [u8]) -> Result<(Self, &'a [u8]), DecodeError> {
        let need = count.saturating_mul(Extent::LEN as u64);
        let have = bytes.len() as u64;
        let split = usize::try_from(need).ok().and_then(|need| bytes.split_at_checked(need));
        let (bytes, rest) = split.ok_or(DecodeError::Truncated { what: "the extents of a map", need, have })?;
        let mut left = bytes;
        while !left.is_empty() {
            (_, left) = Extent::parse(order, left)?;
        }
        Ok((Self { order, bytes }, rest))
    }

    /// Those in `bytes`, in wire format, for a reply.
    ///
    /// # Errors
    /// As reading them.
    pub fn new(order: ByteOrder, bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (list, rest) = Self::parse(order, (bytes.len() / Extent::LEN) as u64, bytes)?;
        match rest.len() {
            0 => Ok(list),
            extra => Err(DecodeError::Trailing { what: "the extents of a map", extra: extra as u64 }),
        }
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len() / Extent::LEN
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = Extent> + use<'a> {
        let order = self.order;
        // Each was checked.
        self.bytes.chunks_exact(Extent::LEN).filter_map(move |bytes| Some(Extent::parse(order, bytes).ok()?.0))
    }
}

/// How a file's bytes lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement<'a> {
    /// Extents, one after the other.
    Simple(ExtentList<'a>),
    /// Strips that take turns of `chunk` bytes, a power of two. First generation only.
    Interleaved {
        /// The bytes of one turn.
        chunk: u32,
        /// How many bytes of the file lie in the strips.
        bytes: u64,
        /// The strips; at least one.
        strips: ExtentList<'a>,
    },
}

/// A file's map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fmap<'a> {
    /// What the file is.
    pub file_type: FileType,
    /// Its size in bytes.
    pub file_size: u64,
    /// How its bytes lie.
    pub placement: Placement<'a>,
}

/// The header of a map, checked.
struct Header {
    file_type: FileType,
    file_size: u64,
    ext_type: u32,
    extents: u32,
    size: u32,
}

impl Header {
    fn parse(order: ByteOrder, body: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        let (raw, rest) = RawHeader::read_prefix(order, body)?;
        let file_type = match raw.file_type {
            0 => FileType::Regular,
            1 => FileType::Superblock,
            2 => FileType::Log,
            other => {
                return Err(DecodeError::Field { field: "fuse_famfs_fmap_header.file_type", value: other.into() });
            }
        };
        if raw.version != FMAP_VERSION {
            return Err(DecodeError::Field { field: "fuse_famfs_fmap_header.fmap_version", value: raw.version.into() });
        }
        if raw.nextents == 0 {
            return Err(DecodeError::Field { field: "fuse_famfs_fmap_header.nextents", value: 0 });
        }
        let RawHeader { file_size, ext_type, nextents: extents, size, .. } = raw;
        Ok((Self { file_type, file_size, ext_type, extents, size }, rest))
    }

    /// The extents that follow, all of the rest.
    fn simple<'a>(&self, order: ByteOrder, rest: &'a [u8]) -> Result<Fmap<'a>, DecodeError> {
        let (extents, rest) = ExtentList::parse(order, self.extents.into(), rest)?;
        self.whole(Placement::Simple(extents), rest)
    }

    fn interleaved<'a>(&self, order: ByteOrder, rest: &'a [u8]) -> Result<Fmap<'a>, DecodeError> {
        if self.extents != 1 {
            let value = self.extents.into();
            return Err(DecodeError::Field { field: "fuse_famfs_fmap_header.nextents", value });
        }
        let (raw, rest) = RawStrips::read_prefix(order, rest)?;
        if !raw.chunk.is_power_of_two() {
            return Err(DecodeError::Field { field: "fuse_famfs_iext.ie_chunk_size", value: raw.chunk.into() });
        }
        if raw.strips == 0 {
            return Err(DecodeError::Field { field: "fuse_famfs_iext.ie_nstrips", value: 0 });
        }
        let (strips, rest) = ExtentList::parse(order, raw.strips.into(), rest)?;
        self.whole(Placement::Interleaved { chunk: raw.chunk, bytes: raw.bytes, strips }, rest)
    }

    fn whole<'a>(&self, placement: Placement<'a>, rest: &[u8]) -> Result<Fmap<'a>, DecodeError> {
        match rest.len() {
            0 => Ok(Fmap { file_type: self.file_type, file_size: self.file_size, placement }),
            extra => Err(DecodeError::Trailing { what: "a map", extra: extra as u64 }),
        }
    }

    fn unknown_type(&self) -> DecodeError {
        DecodeError::Field { field: "fuse_famfs_fmap_header.ext_type", value: self.ext_type.into() }
    }
}

impl Fmap<'_> {
    /// How many bytes it takes, header included.
    #[must_use]
    pub const fn size(&self) -> usize {
        let (between, extents) = match &self.placement {
            Placement::Simple(extents) => (0, extents),
            Placement::Interleaved { strips, .. } => (size_of::<RawStrips>(), strips),
        };
        size_of::<RawHeader>() + between + extents.bytes.len()
    }

    /// Writes it; in the second generation with its size, and only the header if it does not fit into `room`.
    fn write_to<'s>(
        &'s self,
        protocol: &Protocol,
        room: Option<u32>,
        reply: &mut ReplyMessage<'s>,
    ) -> Result<(), EncodeError> {
        let (ext_type, nextents, extents) = match &self.placement {
            Placement::Simple(extents) => (SIMPLE, extents.len(), extents),
            Placement::Interleaved { strips, .. } => (INTERLEAVED, 1, strips),
        };
        if extents.order != protocol.byte_order() {
            return Err(EncodeError::Field { field: "fuse_famfs_fmap_header.ext_type", value: ext_type.into() });
        }
        let size = self.size();
        let too_long = EncodeError::TooLong { len: size as u64 };
        let size = u32::try_from(size).map_err(|_| too_long)?;
        reply.fixed(RawHeader {
            file_type: self.file_type as u8,
            reserved_1: 0,
            version: FMAP_VERSION,
            ext_type,
            nextents: u32::try_from(nextents).map_err(|_| too_long)?,
            size: if room.is_some() { size } else { 0 },
            file_size: self.file_size,
            reserved_2: 0,
        })?;
        if room.is_some_and(|room| size > room) {
            return Ok(());
        }
        if let Placement::Interleaved { chunk, bytes, strips } = &self.placement {
            let count = u32::try_from(strips.len()).map_err(|_| too_long)?;
            reply.fixed(RawStrips { strips: count, chunk: *chunk, bytes: *bytes, reserved: 0 })?;
        }
        reply.set_data(extents.bytes);
        Ok(())
    }
}

/// First generation.
impl ReplyBody for Fmap<'_> {
    fn write<'s>(&'s self, protocol: &Protocol, reply: &mut ReplyMessage<'s>) -> Result<(), EncodeError> {
        self.write_to(protocol, None, reply)
    }
}

/// Asks for a file's map: the first generation. The request has no body, and the reply is a header and extents, or one
/// interleaved map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetFmap<const OPCODE: u32 = GET_FMAP> {
    /// The file.
    pub node: NodeId,
}

impl<const OPCODE: u32> Operation for GetFmap<OPCODE> {
    const OPCODE: Opcode = Opcode(OPCODE);

    type Reply<'r> = Fmap<'r>;

    fn node(&self) -> NodeId {
        self.node
    }

    fn write_body<'s>(&'s self, _: &Protocol, _: &mut Message<'s>) -> Result<(), EncodeError> {
        Ok(())
    }

    fn reply_size(&self, _: &Protocol) -> ReplySize {
        ReplySize { min: size_of::<RawHeader>() as u32, max: FIRST_REPLY }
    }

    fn decode_body<'r>(&self, protocol: &Protocol, body: &'r [u8]) -> Result<Fmap<'r>, DecodeError> {
        let order = protocol.byte_order();
        let (header, rest) = Header::parse(order, body)?;
        match header.ext_type {
            SIMPLE => header.simple(order, rest),
            INTERLEAVED => header.interleaved(order, rest),
            _ => Err(header.unknown_type()),
        }
    }
}

/// The answer to a [`GetFmapSized`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FmapAnswer<'a> {
    /// The map.
    Whole(Fmap<'a>),
    /// It takes this many bytes: to be asked for again, once, with room for them.
    TooLarge(u32),
}

/// What a server answers to a [`GetFmapSized`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizedReply<'a> {
    /// The map. It is cut to its header if it does not fit.
    pub answer: FmapAnswer<'a>,
    /// How many bytes the client has room for.
    pub room: u32,
}

impl ReplyBody for SizedReply<'_> {
    fn write<'s>(&'s self, protocol: &Protocol, reply: &mut ReplyMessage<'s>) -> Result<(), EncodeError> {
        match &self.answer {
            FmapAnswer::Whole(fmap) => fmap.write_to(protocol, Some(self.room), reply),
            FmapAnswer::TooLarge(size) => {
                Err(EncodeError::Field { field: "fuse_famfs_fmap_header.fmap_size", value: u64::from(*size) })
            }
        }
    }
}

/// Asks for a file's map: the second generation. The request says how much room there is; the reply has its size, and
/// nothing but its header if there is not enough. Simple extents only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GetFmapSized<const OPCODE: u32 = GET_FMAP> {
    /// The file.
    pub node: NodeId,
    /// How many bytes of reply there is room for, header included.
    pub size: u32,
    /// Whether it was asked for before, and `size` is what the answer said.
    again: bool,
}

impl<const OPCODE: u32> GetFmapSized<OPCODE> {
    /// Asks for the first time.
    #[must_use]
    pub const fn new(node: NodeId, size: u32) -> Self {
        Self { node, size, again: false }
    }

    /// Asks a second and last time, with as much room as the first answer said.
    ///
    /// # Errors
    /// [`DecodeError::Field`] for a map of more than [`MAX_FMAP`] bytes (EFBIG), and for one that did not fit the second
    /// time: it grew between the two, and might do so for ever.
    pub const fn again(&self, size: u32) -> Result<Self, DecodeError> {
        if size > MAX_FMAP || self.again {
            return Err(DecodeError::Field { field: "fuse_famfs_fmap_header.fmap_size", value: size as u64 });
        }
        Ok(Self { node: self.node, size, again: true })
    }
}

impl<const OPCODE: u32> Operation for GetFmapSized<OPCODE> {
    const OPCODE: Opcode = Opcode(OPCODE);

    type Reply<'r> = SizedReply<'r>;

    fn node(&self) -> NodeId {
        self.node
    }

    fn write_body<'s>(&'s self, _: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        message.fixed(RawSizes { size: self.size, padding: 0 })
    }

    fn reply_size(&self, _: &Protocol) -> ReplySize {
        let header = size_of::<RawHeader>() as u32;
        ReplySize { min: header, max: if self.size < header { header } else { self.size } }
    }

    fn decode_body<'r>(&self, protocol: &Protocol, body: &'r [u8]) -> Result<SizedReply<'r>, DecodeError> {
        let (header, rest) = Header::parse(protocol.byte_order(), body)?;
        if header.ext_type != SIMPLE {
            return Err(header.unknown_type());
        }
        let answer = if header.size > self.size {
            // Header only, and a size that can be asked for.
            if !rest.is_empty() {
                return Err(DecodeError::Trailing { what: "the header of a map", extra: rest.len() as u64 });
            }
            self.again(header.size)?;
            FmapAnswer::TooLarge(header.size)
        } else {
            if header.size as usize != body.len() {
                return Err(DecodeError::Field {
                    field: "fuse_famfs_fmap_header.fmap_size",
                    value: header.size.into(),
                });
            }
            FmapAnswer::Whole(header.simple(protocol.byte_order(), rest)?)
        };
        Ok(SizedReply { answer, room: self.size })
    }
}

/// A device of a file system.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Its index.
    pub index: u16,
    name: [u8; 256],
    len: usize,
}

impl Device {
    /// A device of this name; `None` if it is empty, has a zero byte or more than 255 bytes.
    #[must_use]
    pub fn new(index: u16, name: &[u8]) -> Option<Self> {
        let mut bytes = [0; 256];
        if name.is_empty() || name.len() > 255 || name.contains(&0) {
            return None;
        }
        bytes[..name.len()].copy_from_slice(name);
        Some(Self { index, name: bytes, len: name.len() })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name[..self.len]
    }
}

impl core::fmt::Debug for Device {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Device").field("index", &self.index).field("name", &self.name()).finish()
    }
}

impl ReplyBody for Device {
    fn write<'s>(&'s self, _: &Protocol, reply: &mut ReplyMessage<'s>) -> Result<(), EncodeError> {
        let (index, name) = (self.index, self.name);
        reply.fixed(RawDevice { index, reserved_1: 0, reserved_2: 0, reserved_3: 0, reserved_4: 0, name })
    }
}

/// Asks which device has an index, which stands where other requests have their inode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetDaxdev<const OPCODE: u32 = GET_DAXDEV> {
    /// The index.
    pub index: u16,
}

impl<const OPCODE: u32> Operation for GetDaxdev<OPCODE> {
    const OPCODE: Opcode = Opcode(OPCODE);

    type Reply<'r> = Device;

    fn node(&self) -> NodeId {
        NodeId(self.index.into())
    }

    fn write_body<'s>(&'s self, _: &Protocol, _: &mut Message<'s>) -> Result<(), EncodeError> {
        Ok(())
    }

    fn reply_size(&self, _: &Protocol) -> ReplySize {
        ReplySize::exactly(size_of::<RawDevice>())
    }

    fn decode_body(&self, protocol: &Protocol, body: &[u8]) -> Result<Device, DecodeError> {
        let (raw, _) = RawDevice::read_prefix(protocol.byte_order(), body)?;
        if raw.index != self.index {
            return Err(DecodeError::Field { field: "fuse_daxdev_out.index", value: raw.index.into() });
        }
        let end = raw.name.iter().position(|byte| *byte == 0);
        let device = end.and_then(|end| Device::new(raw.index, &raw.name[..end]));
        device.ok_or(DecodeError::Field { field: "fuse_daxdev_out.name", value: end.unwrap_or(raw.name.len()) as u64 })
    }
}
