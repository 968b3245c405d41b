//! Entries of directories, as `READDIR` and `READDIRPLUS` carry them.

use core::fmt;

use zerocopy::IntoBytes;

use crate::{
    ByteOrder, DecodeError, EncodeError, Entry, FileType, Protocol, ReplyBody, ReplyMessage, name, raw, raw::Layout,
};

/// A name in a directory (`fuse_dirent`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DirEntry<'a> {
    /// The inode's number, as programs see it; not a [`NodeId`](crate::NodeId).
    pub ino: u64,
    /// Where to go on after this entry: a cookie of the server's, to be given back as it is. It need not grow.
    pub offset: u64,
    /// What kind of file it is; `None` if the server does not say.
    pub file_type: Option<FileType>,
    /// The name: not empty, no zero byte, no slash. It can be `.` or `..`: see [`is_dot`](Self::is_dot).
    pub name: &'a [u8],
}

impl DirEntry<'_> {
    /// Whether this is the directory itself (`.`) or its parent (`..`), which servers list like other names.
    #[must_use]
    pub const fn is_dot(&self) -> bool {
        name::is_dot(self.name)
    }
}

impl fmt::Debug for DirEntry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirEntry")
            .field("ino", &self.ino)
            .field("offset", &self.offset)
            .field("file_type", &self.file_type)
            .field("name", &format_args!("\"{}\"", self.name.escape_ascii()))
            .finish()
    }
}

/// A name in a directory and what it stands for (`fuse_direntplus`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirEntryPlus<'a> {
    /// The name.
    pub dirent: DirEntry<'a>,
    /// What it stands for; `None` if the server did not look it up (its `nodeid` is zero), as it does with `.` and `..`.
    /// Each one takes a reference on the inode, as `LOOKUP` does, except with `.` and `..`.
    pub entry: Option<Entry>,
}

/// Part of a directory: the reply of `READDIR` or `READDIRPLUS`, whole entries one after another.
///
/// It has not been checked as a whole: each entry is when it is reached. A directory without entries is the end of the
/// listing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Directory<'a> {
    bytes: &'a [u8],
}

impl<'a> Directory<'a> {
    /// The entries in `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Whether there are none: the end of the listing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes of the entries.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The entries of a `READDIR`, `.` and `..` among them. Ends after the first error.
    ///
    /// # Errors
    /// The iterator gives [`DecodeError`] for an entry that overruns the reply, a name that is empty, too long, or has a
    /// zero byte or a slash in it, and for an offset of zero, which would begin the listing again. Offsets are the
    /// server's cookies: they come in no order, and file systems with names that collide in a hash give one to several
    /// entries. So a server can go round in circles over several replies: whoever reads on looks out for that.
    #[must_use]
    pub const fn entries(&self, protocol: &Protocol) -> DirEntries<'a> {
        DirEntries(Cursor { order: protocol.byte_order(), rest: self.bytes })
    }

    /// The entries of a `READDIRPLUS`, `.` and `..` among them. Ends after the first error.
    ///
    /// # Errors
    /// The iterator gives the errors of [`entries`](Self::entries), and those of attributes that cannot be.
    #[must_use]
    pub const fn entries_plus(&self, protocol: &Protocol) -> DirEntriesPlus<'a> {
        DirEntriesPlus(Cursor { order: protocol.byte_order(), rest: self.bytes })
    }
}

impl fmt::Debug for Directory<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory").field("len", &self.bytes.len()).finish()
    }
}

impl ReplyBody for Directory<'_> {
    fn write<'s>(&'s self, _: &Protocol, reply: &mut ReplyMessage<'s>) -> Result<(), EncodeError> {
        reply.set_data(self.bytes);
        Ok(())
    }
}

#[derive(Clone, Debug)]
struct Cursor<'a> {
    order: ByteOrder,
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Takes the next record: `prefix` bytes, an entry, its name, and padding to 8 bytes.
    fn next_record(&mut self, prefix: usize) -> Option<Result<(&'a [u8], DirEntry<'a>), DecodeError>> {
        if self.rest.is_empty() {
            return None;
        }
        let record = self.record(prefix);
        if record.is_err() {
            self.rest = &[];
        }
        Some(record)
    }

    fn record(&mut self, prefix: usize) -> Result<(&'a [u8], DirEntry<'a>), DecodeError> {
        let what = if prefix == 0 { raw::Dirent::NAME } else { raw::Direntplus::NAME };
        let have = self.rest.len() as u64;
        let fixed = prefix + size_of::<raw::Dirent>();
        let Some((before, after)) = self.rest.split_at_checked(prefix) else {
            return Err(DecodeError::Truncated { what, need: fixed as u64, have });
        };
        let (raw, _) = raw::Dirent::read_prefix(self.order, after)?;
        let len = raw.namelen as usize;
        if len > name::NAME_MAX {
            return Err(DecodeError::Field { field: "fuse_dirent.namelen", value: raw.namelen.into() });
        }
        let need = (fixed + len).next_multiple_of(8);
        let Some((record, rest)) = self.rest.split_at_checked(need) else {
            return Err(DecodeError::Truncated { what, need: need as u64, have });
        };
        let text = &record[fixed..fixed + len];
        name::check_component(text).map_err(|error| DecodeError::Name { field: "fuse_dirent.name", error })?;
        if raw.off == 0 {
            return Err(DecodeError::Field { field: "fuse_dirent.off", value: 0 });
        }
        self.rest = rest;
        let file_type = FileType::from_dirent(raw.kind);
        Ok((before, DirEntry { ino: raw.ino, offset: raw.off, file_type, name: text }))
    }
}

/// The entries of a `READDIR`. Ends after the first error.
#[derive(Clone, Debug)]
pub struct DirEntries<'a>(Cursor<'a>);

impl<'a> Iterator for DirEntries<'a> {
    type Item = Result<DirEntry<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.0.next_record(0)?.map(|(_, entry)| entry))
    }
}

impl core::iter::FusedIterator for DirEntries<'_> {}

/// The entries of a `READDIRPLUS`. Ends after the first error.
#[derive(Clone, Debug)]
pub struct DirEntriesPlus<'a>(Cursor<'a>);

impl<'a> Iterator for DirEntriesPlus<'a> {
    type Item = Result<DirEntryPlus<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let order = self.0.order;
        let record = self.0.next_record(size_of::<raw::EntryOut>())?.and_then(|(before, dirent)| {
            let (raw, _) = raw::EntryOut::read_prefix(order, before)?;
            let entry = Entry::from_raw(&raw)?;
            Ok(DirEntryPlus { dirent, entry: (!entry.is_negative()).then_some(entry) })
        });
        if record.is_err() {
            self.0.rest = &[];
        }
        Some(record)
    }
}

impl core::iter::FusedIterator for DirEntriesPlus<'_> {}

impl<'a> DirEntriesPlus<'a> {
    /// The bytes of the entries that are left; none after an error.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.0.rest
    }
}

/// Writes entries into a buffer of the server's, until it is full.
#[derive(Debug)]
pub struct DirectoryWriter<'b> {
    buffer: &'b mut [u8],
    len: usize,
    order: ByteOrder,
}

impl<'b> DirectoryWriter<'b> {
    /// A writer into `buffer`, as long as the client asked for.
    #[must_use]
    pub const fn new(protocol: &Protocol, buffer: &'b mut [u8]) -> Self {
        Self { buffer, len: 0, order: protocol.byte_order() }
    }

    /// Adds an entry of a `READDIR`; `false` if there is no room left for it.
    ///
    /// # Errors
    /// [`EncodeError::Name`] if the name is none; [`EncodeError::Field`] for an offset of zero.
    pub fn push(&mut self, entry: &DirEntry<'_>) -> Result<bool, EncodeError> {
        self.record(&[], entry)
    }

    /// Adds an entry of a `READDIRPLUS`; `false` if there is no room left for it.
    ///
    /// # Errors
    /// As [`push`](Self::push), and what the attributes cannot express.
    pub fn push_plus(&mut self, entry: &DirEntryPlus<'_>) -> Result<bool, EncodeError> {
        let raw = entry.entry.unwrap_or_default().to_raw()?.in_order(self.order);
        self.record(raw.as_bytes(), &entry.dirent)
    }

    /// What was written.
    #[must_use]
    pub fn finish(self) -> Directory<'b> {
        Directory::new(&self.buffer[..self.len])
    }

    fn record(&mut self, before: &[u8], entry: &DirEntry<'_>) -> Result<bool, EncodeError> {
        name::check_component(entry.name).map_err(|error| EncodeError::Name { field: "fuse_dirent.name", error })?;
        if entry.offset == 0 {
            return Err(EncodeError::Field { field: "fuse_dirent.off", value: 0 });
        }
        let raw = raw::Dirent {
            ino: entry.ino,
            off: entry.offset,
            namelen: entry.name.len() as u32,
            kind: entry.file_type.map_or(0, FileType::to_dirent),
        }
        .in_order(self.order);
        let fixed = before.len() + size_of::<raw::Dirent>();
        let need = (fixed + entry.name.len()).next_multiple_of(8);
        let Some(place) = self.buffer.get_mut(self.len..self.len.saturating_add(need)) else {
            return Ok(false);
        };
        let (place_before, rest) = place.split_at_mut(before.len());
        place_before.copy_from_slice(before);
        let (place_entry, rest) = rest.split_at_mut(size_of::<raw::Dirent>());
        place_entry.copy_from_slice(raw.as_bytes());
        let (place_name, padding) = rest.split_at_mut(entry.name.len());
        place_name.copy_from_slice(entry.name);
        padding.fill(0);
        self.len += need;
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
