//! Messages that are ready to be sent.

use zerocopy::IntoBytes;

use crate::{
    ByteOrder, Context, EncodeError, Errno, NodeId, Opcode, Protocol, ReplyHeader, RequestHeader, Unique, name, raw,
    raw::Layout,
};

/// Header and fixed body of the longest request, `SETATTR`.
const REQUEST_HEAD: usize = RequestHeader::LEN + size_of::<raw::SetattrIn>();
/// Header and fixed body of the longest reply, `STATX`.
const REPLY_HEAD: usize = ReplyHeader::LEN + size_of::<raw::StatxOut>();
/// `SYMLINK` has the most: a name, a target, their zero bytes, and extensions.
const MAX_PARTS: usize = 5;

/// The bytes that a message has of its own.
#[derive(Clone, Debug)]
struct Head<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Head<N> {
    const fn new(len: usize) -> Self {
        Self { bytes: [0; N], len }
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        let end = self.len.saturating_add(bytes.len());
        let Some(place) = self.bytes.get_mut(self.len..end) else {
            return Err(EncodeError::TooLong { len: end as u64 });
        };
        place.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    /// Adds the first `len` bytes of a structure.
    fn structure<T: Layout>(&mut self, order: ByteOrder, structure: T, len: usize) -> Result<(), EncodeError> {
        let structure = structure.in_order(order);
        let bytes = structure.as_bytes();
        self.push(&bytes[..len.min(bytes.len())])
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// A request that is ready to be sent: a header and a fixed body, held here, then the caller's own slices.
///
/// The bytes to send are [`head`](Self::head), then each of [`parts`](Self::parts), then [`data`](Self::data), with
/// nothing between them: give them to a descriptor chain one by one, or [copy](Self::copy_to) them into one buffer.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    head: Head<REQUEST_HEAD>,
    parts: [&'a [u8]; MAX_PARTS],
    parts_len: usize,
    data: &'a [u8],
    extensions: usize,
    order: ByteOrder,
}

impl<'a> Message<'a> {
    /// A message with nothing in it but room for its header, for [`Encode`](crate::Encode).
    #[must_use]
    pub const fn new(order: ByteOrder) -> Self {
        Self {
            head: Head::new(RequestHeader::LEN),
            parts: [&[]; MAX_PARTS],
            parts_len: 0,
            data: &[],
            extensions: 0,
            order,
        }
    }

    /// Adds a structure to the fixed body.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`] when the fixed bodies are longer than 88 bytes together.
    pub fn fixed<T: Layout>(&mut self, body: T) -> Result<(), EncodeError> {
        self.fixed_prefix(body, size_of::<T>())
    }

    /// Adds the first `len` bytes of a structure to the fixed body, as older versions of the protocol want it.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`] when the fixed bodies are longer than 88 bytes together.
    pub fn fixed_prefix<T: Layout>(&mut self, body: T, len: usize) -> Result<(), EncodeError> {
        self.head.structure(self.order, body, len)
    }

    /// Adds a name or path and the zero byte that ends it.
    ///
    /// # Errors
    /// [`EncodeError::Name`] if it is empty, too long or has a zero byte in it.
    pub fn text(&mut self, field: &'static str, text: &'a [u8]) -> Result<(), EncodeError> {
        name::check_text(text).map_err(|error| EncodeError::Name { field, error })?;
        self.part(text)?;
        self.part(&[0])
    }

    /// Adds the name of an entry and the zero byte that ends it.
    ///
    /// # Errors
    /// [`EncodeError::Name`] if it is no name.
    pub fn name(&mut self, field: &'static str, text: &'a [u8]) -> Result<(), EncodeError> {
        name::check_name(text).map_err(|error| EncodeError::Name { field, error })?;
        self.text(field, text)
    }

    /// Sets the data: the part that a driver may want to hand over without copying it.
    pub const fn set_data(&mut self, data: &'a [u8]) {
        self.data = data;
    }

    /// Adds extensions, which end the message. `counted` says whether the header has their length, as it does from
    /// 7.38 on.
    pub(crate) fn set_extensions(&mut self, extensions: &'a [u8], counted: bool) -> Result<(), EncodeError> {
        self.extensions = if counted { extensions.len() } else { 0 };
        if extensions.is_empty() { Ok(()) } else { self.part(extensions) }
    }

    fn part(&mut self, part: &'a [u8]) -> Result<(), EncodeError> {
        let Some(place) = self.parts.get_mut(self.parts_len) else {
            return Err(EncodeError::TooLong { len: (self.len() + part.len()) as u64 });
        };
        *place = part;
        self.parts_len += 1;
        Ok(())
    }

    /// The order of the bytes in the message.
    #[must_use]
    pub const fn byte_order(&self) -> ByteOrder {
        self.order
    }

    /// Writes the header of a message that has all of its body.
    #[inline(never)]
    pub(crate) fn finish(
        &mut self,
        opcode: Opcode,
        node: NodeId,
        unique: Unique,
        context: Context,
    ) -> Result<(), EncodeError> {
        let len = self.len();
        let too_long = |_| EncodeError::TooLong { len: len as u64 };
        let extensions = u16::try_from(self.extensions / 8)
            .map_err(|_| EncodeError::Field { field: "fuse_in_header.total_extlen", value: self.extensions as u64 })?;
        let len = u32::try_from(len).map_err(too_long)?;
        let header = RequestHeader { len, opcode, unique, node, context, extensions };
        let raw = header.to_raw().in_order(self.order);
        self.head.bytes[..RequestHeader::LEN].copy_from_slice(raw.as_bytes());
        Ok(())
    }

    /// The header and the fixed body.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        self.head.as_slice()
    }

    /// What follows the head: names, the zero bytes that end them, extensions. Never data of any size.
    #[must_use]
    pub fn parts(&self) -> &[&'a [u8]] {
        &self.parts[..self.parts_len]
    }

    /// What ends the message: the bytes to write, an attribute's value, a list. Empty in most requests.
    #[must_use]
    pub const fn data(&self) -> &'a [u8] {
        self.data
    }

    /// All pieces in order: the head, the parts and the data if there are any.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        core::iter::once(self.head())
            .chain(self.parts().iter().copied())
            .chain(core::iter::once(self.data).filter(|data| !data.is_empty()))
    }

    /// The length of the whole message in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a message is never empty")]
    pub fn len(&self) -> usize {
        self.control_len().saturating_add(self.data.len())
    }

    /// The length of the message without its data, in bytes.
    #[must_use]
    pub fn control_len(&self) -> usize {
        self.parts().iter().fold(self.head.len, |sum, part| sum.saturating_add(part.len()))
    }

    /// Writes the message without its data to the beginning of `buffer`, and gives its length in bytes.
    ///
    /// # Errors
    /// [`EncodeError::Buffer`] if `buffer` is too small.
    pub fn copy_control_to(&self, buffer: &mut [u8]) -> Result<usize, EncodeError> {
        let need = self.control_len();
        let have = buffer.len();
        let mut place = buffer.get_mut(..need).ok_or(EncodeError::Buffer { need: need as u64, have: have as u64 })?;
        for piece in core::iter::once(self.head()).chain(self.parts().iter().copied()) {
            let (this, rest) = place.split_at_mut(piece.len());
            this.copy_from_slice(piece);
            place = rest;
        }
        Ok(need)
    }

    /// Writes the whole message to the beginning of `buffer`, and gives its length in bytes.
    ///
    /// # Errors
    /// [`EncodeError::Buffer`] if `buffer` is too small.
    pub fn copy_to(&self, buffer: &mut [u8]) -> Result<usize, EncodeError> {
        let need = self.len();
        if buffer.len() < need {
            return Err(EncodeError::Buffer { need: need as u64, have: buffer.len() as u64 });
        }
        let control = self.copy_control_to(buffer)?;
        buffer[control..need].copy_from_slice(self.data);
        Ok(need)
    }
}

/// A reply that is ready to be sent: a header and a fixed body, held here, then the server's own data.
///
/// The bytes to send are [`head`](Self::head), then [`data`](Self::data).
#[derive(Clone, Debug)]
pub struct ReplyMessage<'a> {
    head: Head<REPLY_HEAD>,
    data: &'a [u8],
    order: ByteOrder,
}

impl<'a> ReplyMessage<'a> {
    const fn new(order: ByteOrder) -> Self {
        Self { head: Head::new(ReplyHeader::LEN), data: &[], order }
    }

    /// A reply that refuses.
    #[must_use]
    pub fn refusal(protocol: &Protocol, unique: Unique, errno: Errno) -> Self {
        let mut reply = Self::new(protocol.byte_order());
        reply.set_header(ReplyHeader::LEN as u32, -errno.number(), unique);
        reply
    }

    pub(crate) fn build(
        order: ByteOrder,
        error: i32,
        unique: Unique,
        write: impl FnOnce(&mut Self) -> Result<(), EncodeError>,
    ) -> Result<Self, EncodeError> {
        let mut reply = Self::new(order);
        write(&mut reply)?;
        reply.finish(error, unique)
    }

    /// Adds a structure to the fixed body.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`] when the fixed bodies are longer than 288 bytes together.
    pub fn fixed<T: Layout>(&mut self, body: T) -> Result<(), EncodeError> {
        self.fixed_prefix(body, size_of::<T>())
    }

    /// Adds the first `len` bytes of a structure to the fixed body, as older versions of the protocol want it.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`] when the fixed bodies are longer than 288 bytes together.
    pub fn fixed_prefix<T: Layout>(&mut self, body: T, len: usize) -> Result<(), EncodeError> {
        self.head.structure(self.order, body, len)
    }

    /// Sets the data that ends the reply.
    pub const fn set_data(&mut self, data: &'a [u8]) {
        self.data = data;
    }

    /// The order of the bytes in the reply.
    #[must_use]
    pub const fn byte_order(&self) -> ByteOrder {
        self.order
    }

    fn finish(mut self, error: i32, unique: Unique) -> Result<Self, EncodeError> {
        let len = self.len();
        let len = u32::try_from(len).map_err(|_| EncodeError::TooLong { len: len as u64 })?;
        self.set_header(len, error, unique);
        Ok(self)
    }

    fn set_header(&mut self, len: u32, error: i32, unique: Unique) {
        let raw = raw::OutHeader { len, error, unique: unique.0 }.in_order(self.order);
        self.head.bytes[..ReplyHeader::LEN].copy_from_slice(raw.as_bytes());
    }

    /// The header and the fixed body.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        self.head.as_slice()
    }

    /// What follows the head.
    #[must_use]
    pub const fn data(&self) -> &'a [u8] {
        self.data
    }

    /// The length of the whole reply in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a reply is never empty")]
    pub fn len(&self) -> usize {
        self.head.len.saturating_add(self.data.len())
    }

    /// Writes the whole reply to the beginning of `buffer`, and gives its length in bytes.
    ///
    /// # Errors
    /// [`EncodeError::Buffer`] if `buffer` is too small.
    pub fn copy_to(&self, buffer: &mut [u8]) -> Result<usize, EncodeError> {
        let need = self.len();
        let Some(place) = buffer.get_mut(..need) else {
            return Err(EncodeError::Buffer { need: need as u64, have: buffer.len() as u64 });
        };
        let (head, data) = place.split_at_mut(self.head.len);
        head.copy_from_slice(self.head());
        data.copy_from_slice(self.data);
        Ok(need)
    }
}
