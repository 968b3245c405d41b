//! Listing directories.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use fuse_proto::{Attr, DecodeError, Errno, FileHandle, FileType, InitFlags, Opcode};
use lock_api::RawMutex;

use crate::inode::Inode;
use crate::leave::UnlinkedGuard;
use crate::shared::Shared;
use crate::{Credentials, Error};

/// The most bytes of entries asked for at once.
const CHUNK: usize = 64 << 10;
/// A directory of more entries than this is taken for a server going round in circles.
const MAX_ENTRIES: u64 = 1 << 32;

/// An entry of a directory.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DirEntry {
    /// Its name: never empty, `.`, `..`, or with a `/` or NUL in it.
    pub name: Vec<u8>,
    /// The inode number as the host shows it.
    pub ino: u64,
    /// What it is; `None` if the server does not say.
    pub file_type: Option<FileType>,
    /// Its attributes, where the server gives them with the listing (READDIRPLUS).
    pub attr: Option<Attr>,
}

/// Goes through the entries of a directory, in the host's order, without `.` and `..`.
///
/// What is created or removed meanwhile may or may not be seen, as with any directory. After an error it ends.
pub struct ReadDir<R: RawMutex + Send + Sync + 'static> {
    shared: Arc<Shared<R>>,
    inode: Arc<Inode<R>>,
    who: Credentials,
    fh: Option<FileHandle>,
    plus: bool,
    buffer: Vec<u8>,
    ready: VecDeque<DirEntry>,
    offset: u64,
    /// An offset seen earlier, how many replies ago, and after how many the next takes its place: one that comes again is
    /// a circle, which is found within twice its length.
    mark: (u64, u32, u32),
    seen: u64,
    done: bool,
    leave: UnlinkedGuard<R>,
}

impl<R: RawMutex + Send + Sync + 'static> core::fmt::Debug for ReadDir<R> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ReadDir").field("nodeid", &self.inode.nodeid).field("seen", &self.seen).finish_non_exhaustive()
    }
}

impl<R: RawMutex + Send + Sync + 'static> ReadDir<R> {
    pub(crate) fn open(shared: Arc<Shared<R>>, inode: Arc<Inode<R>>, who: Credentials) -> Result<Self, Error> {
        let fh = shared.op_opendir(who, inode.nodeid)?;
        let len = CHUNK.min(shared.connection.data_buffer_size());
        let leave = UnlinkedGuard::new(&shared, &inode);
        Ok(Self {
            shared,
            inode,
            who,
            fh,
            plus: false,
            buffer: vec![0; len],
            ready: VecDeque::new(),
            offset: 0,
            mark: (0, 0, 1),
            seen: 0,
            done: false,
            leave,
        })
    }

    /// Asks the server for the attributes of each entry with the listing (READDIRPLUS), where it can: dearer than the
    /// names alone, far cheaper than a look-up for each.
    #[must_use]
    pub fn with_attributes(mut self) -> Self {
        self.plus = self.shared.protocol.has(InitFlags::DO_READDIRPLUS);
        self
    }

    /// Fetches the next entries. `done` once there are no more.
    fn fetch(&mut self) -> Result<(), Error> {
        self.shared.check_mounted()?;
        let fh = self.fh.unwrap_or_default();
        let nodeid = self.inode.nodeid;
        let opcode = if self.plus { Opcode::READDIRPLUS } else { Opcode::READDIR };
        let malformed = |error: DecodeError| Error::Reply { opcode, error };
        let before = self.seen;
        if self.plus {
            let mut found = Vec::new();
            let offset = self.offset;
            let directory = self.shared.op_readdir(self.who, nodeid, fh, offset, true, &mut self.buffer)?;
            let mut failed = None;
            for entry in directory.entries_plus(&self.shared.protocol) {
                match entry {
                    Ok(entry) => {
                        self.seen += 1;
                        self.offset = entry.dirent.offset;
                        if entry.dirent.is_dot() {
                            continue;
                        }
                        found.push((entry.dirent.name.to_vec(), entry.dirent.ino, entry.dirent.file_type, entry.entry));
                    }
                    Err(error) => {
                        failed = Some(malformed(error));
                        break;
                    }
                }
            }
            for (name, ino, file_type, entry) in found {
                let mut attr = None;
                if let Some(entry) = entry {
                    attr = Some(entry.attr);
                    // Each counts as a look-up on the server: taken over even when the listing is dropped.
                    self.shared.adopt(&self.inode, &name, &entry)?;
                }
                self.ready.push_back(DirEntry { name, ino, file_type, attr });
            }
            failed.map_or(Ok(()), Err)?;
        } else {
            let directory = self.shared.op_readdir(self.who, nodeid, fh, self.offset, false, &mut self.buffer)?;
            for entry in directory.entries(&self.shared.protocol) {
                let entry = entry.map_err(malformed)?;
                self.seen += 1;
                self.offset = entry.offset;
                if !entry.is_dot() {
                    self.ready.push_back(DirEntry {
                        name: entry.name.to_vec(),
                        ino: entry.ino,
                        file_type: entry.file_type,
                        attr: None,
                    });
                }
            }
        }
        if self.seen == before {
            self.done = true;
            return Ok(());
        }
        if self.seen > MAX_ENTRIES || self.goes_in_circles() {
            self.ready.clear();
            return Err(Error::refused(Errno::EIO, "the directory has no end"));
        }
        Ok(())
    }

    /// Whether the listing has come back to where it was (Brent's algorithm: no memory but one offset).
    fn goes_in_circles(&mut self) -> bool {
        let (mark, replies, limit) = &mut self.mark;
        if self.offset == *mark {
            return true;
        }
        *replies += 1;
        if *replies == *limit {
            *mark = self.offset;
            *replies = 0;
            *limit = limit.saturating_mul(2);
        }
        false
    }
}

impl<R: RawMutex + Send + Sync + 'static> Iterator for ReadDir<R> {
    type Item = Result<DirEntry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                return Some(Ok(entry));
            }
            if self.done {
                return None;
            }
            if let Err(error) = self.fetch() {
                self.done = true;
                return Some(Err(error));
            }
        }
    }
}

impl<R: RawMutex + Send + Sync + 'static> Drop for ReadDir<R> {
    fn drop(&mut self) {
        self.leave.from(&self.inode);
        if let Some(fh) = self.fh.take()
            && self.shared.check_mounted().is_ok()
            && let Err(error) =
                self.shared.op_release(self.who, self.inode.nodeid, fh, fuse_proto::OpenFlags::RDONLY, true)
        {
            log::warn!("virtio-fs: RELEASEDIR was not sent: {error}");
        }
    }
}
