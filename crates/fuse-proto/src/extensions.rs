//! Extensions at the end of requests that create: security contexts and supplementary groups.

use core::fmt;

use zerocopy::IntoBytes;

use crate::{ByteOrder, DecodeError, EncodeError, attr, name, raw, raw::Layout};

/// Types up to this one are not types but the number of security contexts (`FUSE_MAX_NR_SECCTX`).
const MAX_CONTEXTS: u32 = 31;
/// The type of the supplementary groups (`FUSE_EXT_GROUPS`).
const GROUPS: u32 = 32;

/// The extensions of a request that creates (`CREATE`, `MKNOD`, `MKDIR`, `SYMLINK`, `TMPFILE`).
///
/// Security contexts came with 7.36 ([`InitFlags::SECURITY_CTX`](crate::InitFlags::SECURITY_CTX)), groups with 7.38
/// ([`InitFlags::CREATE_SUPP_GROUP`](crate::InitFlags::CREATE_SUPP_GROUP)). A client that negotiated them makes them with
/// an [`ExtensionsBuilder`].
#[derive(Clone, Copy, Eq)]
pub struct Extensions<'a> {
    bytes: &'a [u8],
    order: ByteOrder,
}

impl PartialEq for Extensions<'_> {
    fn eq(&self, other: &Self) -> bool {
        // Nothing has no order.
        self.bytes == other.bytes && (self.order == other.order || self.is_empty())
    }
}

impl Default for Extensions<'_> {
    fn default() -> Self {
        Self { bytes: &[], order: ByteOrder::NATIVE }
    }
}

impl<'a> Extensions<'a> {
    /// No extensions.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Reads extensions and checks all of them.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(order: ByteOrder, bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let extensions = Self { bytes, order };
        for extension in extensions.iter() {
            if let Extension::SecurityContexts(contexts) = extension? {
                contexts.check()?;
            }
        }
        Ok(extensions)
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Their bytes, a multiple of 8.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The extensions in order; ends after the first error.
    pub fn iter(&self) -> impl Iterator<Item = Result<Extension<'a>, DecodeError>> + use<'a> {
        let order = self.order;
        let mut rest = self.bytes;
        core::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let extension = Extension::split(order, rest);
            rest = extension.as_ref().map_or(&[], |(_, rest)| rest);
            Some(extension.map(|(extension, _)| extension))
        })
    }

    pub(crate) fn wire(&self, order: ByteOrder) -> Result<&'a [u8], EncodeError> {
        if self.order == order || self.is_empty() { Ok(self.bytes) } else { Err(EncodeError::ByteOrder) }
    }
}

impl fmt::Debug for Extensions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// One extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Extension<'a> {
    /// Security contexts for the new inode.
    SecurityContexts(SecurityContexts<'a>),
    /// Groups that the caller is in beside its own.
    Groups(Groups<'a>),
    /// One that is not known here.
    Unknown {
        /// `fuse_ext_header.type`.
        kind: u32,
        /// What follows the header.
        bytes: &'a [u8],
    },
}

impl<'a> Extension<'a> {
    fn split(order: ByteOrder, bytes: &'a [u8]) -> Result<(Self, &'a [u8]), DecodeError> {
        let (header, _) = raw::ExtHeader::read_prefix(order, bytes)?;
        let size = header.size as usize;
        if size < size_of::<raw::ExtHeader>() || !size.is_multiple_of(8) {
            return Err(DecodeError::Field { field: "fuse_ext_header.size", value: header.size.into() });
        }
        let Some((this, rest)) = bytes.split_at_checked(size) else {
            return Err(DecodeError::Truncated {
                what: "an extension",
                need: header.size.into(),
                have: bytes.len() as u64,
            });
        };
        let body = &this[size_of::<raw::ExtHeader>()..];
        let extension = match header.kind {
            count @ ..=MAX_CONTEXTS => Self::SecurityContexts(SecurityContexts { bytes: body, count, order }),
            GROUPS => Self::Groups(Groups::parse(order, body)?),
            kind => Self::Unknown { kind, bytes: body },
        };
        Ok((extension, rest))
    }
}

/// Security contexts (`fuse_secctx_header`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SecurityContexts<'a> {
    bytes: &'a [u8],
    count: u32,
    order: ByteOrder,
}

/// One security context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecurityContext<'a> {
    /// The extended attribute that holds it, such as `security.selinux`.
    pub name: &'a [u8],
    /// Its value, with whatever zero bytes it has.
    pub value: &'a [u8],
}

impl<'a> SecurityContexts<'a> {
    /// How many there are; 31 at most.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Checks all contexts, and that they fill the extension.
    fn check(&self) -> Result<(), DecodeError> {
        let mut rest = self.bytes;
        for _ in 0..self.count {
            (_, rest) = SecurityContext::split(self.order, rest)?;
        }
        attr::no_more("fuse_secctx_header", rest)
    }

    /// The contexts in order; ends after the first error.
    pub fn iter(&self) -> impl Iterator<Item = Result<SecurityContext<'a>, DecodeError>> + use<'a> {
        let (order, mut rest, mut count) = (self.order, self.bytes, self.count);
        core::iter::from_fn(move || {
            if count == 0 {
                return None;
            }
            let context = SecurityContext::split(order, rest);
            match &context {
                Ok((_, after)) => (rest, count) = (after, count - 1),
                Err(_) => count = 0,
            }
            Some(context.map(|(context, _)| context))
        })
    }
}

impl fmt::Debug for SecurityContexts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> SecurityContext<'a> {
    fn split(order: ByteOrder, bytes: &'a [u8]) -> Result<(Self, &'a [u8]), DecodeError> {
        let (header, body) = raw::Secctx::read_prefix(order, bytes)?;
        let (name, after) = name::split_text("fuse_secctx name", body)?;
        name::check_text(name).map_err(|error| DecodeError::Name { field: "fuse_secctx name", error })?;
        let Some(value) = after.get(..header.size as usize) else {
            return Err(DecodeError::Truncated {
                what: "fuse_secctx",
                need: header.size.into(),
                have: after.len() as u64,
            });
        };
        let len = (size_of::<raw::Secctx>() + name.len() + 1 + value.len()).next_multiple_of(8);
        Ok((Self { name, value }, bytes.get(len..).unwrap_or(&[])))
    }
}

/// Supplementary groups (`fuse_supp_groups`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Groups<'a> {
    bytes: &'a [u8],
    order: ByteOrder,
}

impl<'a> Groups<'a> {
    fn parse(order: ByteOrder, body: &'a [u8]) -> Result<Self, DecodeError> {
        let (header, groups) = raw::SuppGroups::read_prefix(order, body)?;
        let need = u64::from(header.nr_groups) * 4;
        let bytes = usize::try_from(need).ok().and_then(|need| groups.get(..need)).ok_or(DecodeError::Truncated {
            what: raw::SuppGroups::NAME,
            need,
            have: groups.len() as u64,
        })?;
        let padding = &groups[bytes.len()..];
        if padding.len() >= 8 {
            return Err(DecodeError::Trailing { what: raw::SuppGroups::NAME, extra: padding.len() as u64 });
        }
        Ok(Self { bytes, order })
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len() / 4
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The group ids in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + use<'a> {
        let order = self.order;
        self.bytes.as_chunks::<4>().0.iter().map(move |&bytes| match order {
            ByteOrder::Little => u32::from_le_bytes(bytes),
            ByteOrder::Big => u32::from_be_bytes(bytes),
        })
    }
}

impl fmt::Debug for Groups<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Writes extensions into a buffer of the caller's, in native byte order.
///
/// ```
/// use fuse_proto::{ExtensionsBuilder, SecurityContext};
///
/// let mut buffer = [0; 128];
/// let mut builder = ExtensionsBuilder::new(&mut buffer);
/// builder.security_contexts(&[SecurityContext { name: b"security.selinux", value: b"user_u\0" }])?;
/// builder.groups(&[100])?;
/// let extensions = builder.finish();
/// assert_eq!(extensions.iter().count(), 2);
/// # Ok::<(), fuse_proto::EncodeError>(())
/// ```
#[derive(Debug)]
pub struct ExtensionsBuilder<'b> {
    buffer: &'b mut [u8],
    len: usize,
}

impl<'b> ExtensionsBuilder<'b> {
    /// A builder that has written nothing.
    #[must_use]
    pub const fn new(buffer: &'b mut [u8]) -> Self {
        Self { buffer, len: 0 }
    }

    /// Adds security contexts, 31 at most. A client that negotiated them sends the extension even when it has none.
    ///
    /// # Errors
    /// [`EncodeError::Buffer`] if the buffer is too small, [`EncodeError::Field`] for too many, [`EncodeError::Name`].
    pub fn security_contexts(&mut self, contexts: &[SecurityContext<'_>]) -> Result<(), EncodeError> {
        let count = contexts.len();
        if count > MAX_CONTEXTS as usize {
            return Err(EncodeError::Field { field: "fuse_secctx_header.nr_secctx", value: count as u64 });
        }
        self.extension(count as u32, |this| {
            for context in contexts {
                let field = "fuse_secctx name";
                name::check_text(context.name).map_err(|error| EncodeError::Name { field, error })?;
                let size = u32::try_from(context.value.len())
                    .map_err(|_| EncodeError::TooLong { len: context.value.len() as u64 })?;
                this.push(raw::Secctx { size, padding: 0 }.as_bytes())?;
                this.push(context.name)?;
                this.push(&[0])?;
                this.push(context.value)?;
                this.pad()?;
            }
            Ok(())
        })
    }

    /// Adds supplementary groups.
    ///
    /// # Errors
    /// [`EncodeError::Buffer`] if the buffer is too small.
    pub fn groups(&mut self, groups: &[u32]) -> Result<(), EncodeError> {
        let nr_groups = u32::try_from(groups.len()).map_err(|_| EncodeError::TooLong { len: groups.len() as u64 })?;
        self.extension(GROUPS, |this| {
            this.push(raw::SuppGroups { nr_groups }.as_bytes())?;
            this.push(groups.as_bytes())?;
            this.pad()
        })
    }

    /// The extensions that were written.
    #[must_use]
    pub fn finish(self) -> Extensions<'b> {
        Extensions { bytes: &self.buffer[..self.len], order: ByteOrder::NATIVE }
    }

    /// Writes one extension whole, or leaves what was there before.
    fn extension(
        &mut self,
        kind: u32,
        body: impl FnOnce(&mut Self) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let start = self.len;
        let header_len = size_of::<raw::ExtHeader>();
        let written = self.push(raw::ExtHeader { size: 0, kind }.as_bytes()).and_then(|()| body(self)).and_then(|()| {
            let size = self.len - start;
            u32::try_from(size).map_err(|_| EncodeError::TooLong { len: size as u64 })
        });
        match written {
            Ok(size) => {
                self.buffer[start..start + header_len].copy_from_slice(raw::ExtHeader { size, kind }.as_bytes());
                Ok(())
            }
            Err(error) => {
                self.len = start;
                Err(error)
            }
        }
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        let have = self.buffer.len();
        let end = self.len.saturating_add(bytes.len());
        let place =
            self.buffer.get_mut(self.len..end).ok_or(EncodeError::Buffer { need: end as u64, have: have as u64 })?;
        place.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    fn pad(&mut self) -> Result<(), EncodeError> {
        self.push(&[0; 8][..self.len.next_multiple_of(8) - self.len])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn what_is_written_is_read() {
        let mut buffer = [0xff; 256];
        let mut builder = ExtensionsBuilder::new(&mut buffer);
        let contexts = [
            SecurityContext { name: b"security.selinux", value: b"a:b:c\0" },
            SecurityContext { name: b"security.x", value: b"" },
        ];
        builder.security_contexts(&contexts).unwrap();
        builder.groups(&[7, 0xffff_0000, 9]).unwrap();
        let extensions = builder.finish();
        let parsed = Extensions::parse(ByteOrder::NATIVE, extensions.as_bytes()).unwrap();
        let all: Vec<_> = parsed.iter().map(Result::unwrap).collect();
        let [Extension::SecurityContexts(read), Extension::Groups(groups)] = all[..] else { panic!("{all:?}") };
        assert!(read.iter().map(Result::unwrap).eq(contexts));
        assert!(groups.iter().eq([7, 0xffff_0000, 9]));
        assert_eq!(extensions.as_bytes().len() % 8, 0);
    }

    #[test]
    fn a_small_buffer_keeps_what_was_whole() {
        let mut buffer = [0; 24];
        let mut builder = ExtensionsBuilder::new(&mut buffer);
        builder.groups(&[1]).unwrap();
        assert!(matches!(builder.groups(&[1]), Err(EncodeError::Buffer { .. })));
        assert_eq!(builder.finish().iter().count(), 1);
    }

    #[test]
    fn lengths_that_lie() {
        let header = |size, kind| raw::ExtHeader { size, kind };
        let parse = |bytes: &[u8]| Extensions::parse(ByteOrder::NATIVE, bytes).map(|_| ());
        assert!(matches!(parse(header(7, 99).as_bytes()), Err(DecodeError::Field { value: 7, .. })));
        assert!(matches!(parse(header(0, 99).as_bytes()), Err(DecodeError::Field { value: 0, .. })));
        assert!(matches!(parse(header(12, 99).as_bytes()), Err(DecodeError::Field { value: 12, .. })));
        assert!(matches!(parse(header(16, 99).as_bytes()), Err(DecodeError::Truncated { need: 16, have: 8, .. })));
        assert!(matches!(parse(header(8, 1).as_bytes()), Err(DecodeError::Truncated { need: 8, have: 0, .. })));
        assert!(matches!(parse(header(8, GROUPS).as_bytes()), Err(DecodeError::Truncated { need: 4, have: 0, .. })));
        assert_eq!(parse(header(8, 0).as_bytes()), Ok(()));
        let mut groups = [0; 16];
        groups[..8].copy_from_slice(header(16, GROUPS).as_bytes());
        groups[8..12].copy_from_slice(&2_u32.to_ne_bytes());
        assert!(matches!(parse(&groups), Err(DecodeError::Truncated { need: 8, have: 4, .. })));
        let mut context = [0; 24];
        context[..8].copy_from_slice(header(24, 1).as_bytes());
        context[8..12].copy_from_slice(&99_u32.to_ne_bytes());
        context[16..18].copy_from_slice(b"n\0");
        assert!(matches!(parse(&context), Err(DecodeError::Truncated { need: 99, have: 6, .. })));
        // Only padding may follow what was counted.
        let mut more = [0; 32];
        more[..8].copy_from_slice(header(24, GROUPS).as_bytes());
        more[8..12].copy_from_slice(&2_u32.to_ne_bytes());
        assert_eq!(parse(&more[..24]), Ok(()));
        more[8..12].copy_from_slice(&1_u32.to_ne_bytes());
        assert!(matches!(parse(&more[..24]), Err(DecodeError::Trailing { extra: 8, .. })));
        more[..8].copy_from_slice(header(32, 1).as_bytes());
        more[8..12].copy_from_slice(&0_u32.to_ne_bytes());
        more[16..18].copy_from_slice(b"n\0");
        assert!(matches!(parse(&more), Err(DecodeError::Trailing { extra: 8, .. })));
        more[..8].copy_from_slice(header(24, 1).as_bytes());
        assert_eq!(parse(&more[..24]), Ok(()));
        assert!(matches!(parse(&[header(16, 0).as_bytes(), &[0; 8]].concat()), Err(DecodeError::Trailing { .. })));
    }
}
