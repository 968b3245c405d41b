//! Taking requests apart, on a server.

use crate::{
    DecodeError, Extensions, InitFlags, NodeId, Operation, Protocol, RequestHeader, attr,
    name::{self, split_name, split_text},
    raw::Layout,
};

/// The body of a request, of which the read parts are gone.
pub(crate) struct Input<'a> {
    pub(crate) protocol: Protocol,
    pub(crate) header: RequestHeader,
    body: &'a [u8],
    extensions: &'a [u8],
}

/// An operation that can be read from a request.
pub(crate) trait ParseRequest<'a>: Operation + Sized {
    fn parse(input: &mut Input<'a>) -> Result<Self, DecodeError>;

    /// Reads the operation and checks that nothing is left over.
    fn parse_whole(mut input: Input<'a>) -> Result<Self, DecodeError> {
        let what = Self::OPCODE.name().unwrap_or("request");
        let operation = Self::parse(&mut input)?;
        attr::no_more(what, input.body)?;
        attr::no_more(what, input.extensions)?;
        Ok(operation)
    }
}

impl<'a> Input<'a> {
    /// Takes a whole request.
    pub(crate) fn new(protocol: &Protocol, bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let header = RequestHeader::parse(protocol.byte_order(), bytes)?;
        let body = &bytes[RequestHeader::LEN..];
        // The header was checked: the extensions fit into the body.
        let (body, extensions) = body.split_at(body.len() - usize::from(header.extensions) * 8);
        Ok(Self { protocol: *protocol, header, body, extensions })
    }

    pub(crate) const fn node(&self) -> NodeId {
        self.header.node
    }

    pub(crate) fn fixed<T: Layout>(&mut self) -> Result<T, DecodeError> {
        let (value, rest) = T::read_prefix(self.protocol.byte_order(), self.body)?;
        self.body = rest;
        Ok(value)
    }

    /// Reads a structure that had `len` bytes before version 7.`minor`.
    pub(crate) fn compat<T: Layout>(&mut self, minor: u32, len: usize) -> Result<T, DecodeError> {
        let len = if self.protocol.minor() < minor { len } else { size_of::<T>() };
        self.prefix(len)
    }

    /// Reads the first `len` bytes of a structure.
    pub(crate) fn prefix<T: Layout>(&mut self, len: usize) -> Result<T, DecodeError> {
        let (value, rest) = T::read_compat(self.protocol.byte_order(), self.body, len)?;
        self.body = rest;
        Ok(value)
    }

    pub(crate) fn text(&mut self, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let (text, rest) = split_text(field, self.body)?;
        name::check_text(text).map_err(|error| DecodeError::Name { field, error })?;
        self.body = rest;
        Ok(text)
    }

    pub(crate) fn name(&mut self, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let (name, rest) = split_name(field, self.body)?;
        self.body = rest;
        Ok(name)
    }

    /// Reads one component of a path, which may be `.` or `..`.
    pub(crate) fn component(&mut self, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let (name, rest) = split_text(field, self.body)?;
        name::check_component(name).map_err(|error| DecodeError::Name { field, error })?;
        self.body = rest;
        Ok(name)
    }

    /// How much is left.
    pub(crate) const fn remaining(&self) -> usize {
        self.body.len()
    }

    /// Takes what is left.
    pub(crate) const fn rest(&mut self) -> &'a [u8] {
        let rest = self.body;
        self.body = &[];
        rest
    }

    /// Takes what is left as the data of which the request gives the size.
    pub(crate) fn data(&mut self, what: &'static str, size: u32) -> Result<&'a [u8], DecodeError> {
        let have = self.body.len() as u64;
        if have < size.into() {
            return Err(DecodeError::Truncated { what, need: size.into(), have });
        }
        if have > size.into() {
            return Err(DecodeError::Trailing { what, extra: have - u64::from(size) });
        }
        Ok(self.rest())
    }

    /// Takes the extensions. Before 7.38 the header did not count them, and security contexts were simply last.
    pub(crate) fn extensions(&mut self) -> Result<Extensions<'a>, DecodeError> {
        let agreed = self.protocol.flags().intersects(InitFlags::SECURITY_CTX | InitFlags::CREATE_SUPP_GROUP);
        let bytes = if !self.extensions.is_empty() {
            if !agreed {
                let field = "fuse_in_header.total_extlen";
                return Err(DecodeError::Field { field, value: self.header.extensions.into() });
            }
            core::mem::take(&mut self.extensions)
        } else if agreed && self.protocol.minor() < 38 {
            self.rest()
        } else {
            &[]
        };
        Extensions::parse(self.protocol.byte_order(), bytes)
    }
}
