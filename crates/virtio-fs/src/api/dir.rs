//! Listing directories.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use fuse_proto::{Attr, DecodeError, Directory, Errno, FileHandle, FileType, InitFlags, Opcode};

use super::mounted::Mounted;
use crate::rpc::credentials::Credentials;
use crate::rpc::{handles, names};
use crate::volume::inode::{Inode, changes_so_far};
use crate::volume::listed::ListedId;
use crate::volume::unlinked::UnlinkedGuard;
use crate::{DefaultLock, Error, Lock};

/// The most bytes of entries asked for at once.
const BUFFER_SIZE: usize = 64 << 10;
/// A directory of more entries than this is taken for a server going round in circles.
const MAX_ENTRIES: u64 = 1 << 32;
/// After so many replies in a row without a name (`.` and `..` only) the server is taken for one without an end.
const MAX_NAMELESS: u32 = 16;

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
    /// Where a listing goes on after this entry: for [`ReadDir::seek`], of this listing or another one of the same directory.
    pub cookie: u64,
    /// Its attributes, where the server gives them with the listing (READDIRPLUS).
    pub attr: Option<Attr>,
}

/// Goes through the entries of a directory, in the host's order, without `.` and `..`.
///
/// What is created or removed meanwhile may or may not be seen, as with any directory. After an error it ends.
pub struct ReadDir<R: Lock = DefaultLock> {
    inode: Arc<Inode<R>>,
    who: Credentials,
    fh: Option<FileHandle>,
    plus: bool,
    buffer: Vec<u8>,
    /// The last reply with attributes that had entries, which the volume keeps.
    listed: Option<ListedId>,
    ready: VecDeque<DirEntry>,
    offset: u64,
    /// An offset seen earlier, how many replies ago, and after how many the next takes its place: one that comes again is
    /// a circle, which is found within twice its length.
    mark: (u64, u32, u32),
    seen: u64,
    /// Replies in a row without a name.
    nameless: u32,
    /// What ends the listing, after the entries that came before it.
    failed: Option<Error>,
    done: bool,
    /// Entries were fetched by this handle.
    fetched: bool,
    /// The directory is opened anew before the next entries are fetched.
    reopen: bool,
    unlinked: UnlinkedGuard<R>,
    /// Last: the file system lives as long as its listings.
    mounted: Arc<Mounted<R>>,
}

impl<R: Lock> core::fmt::Debug for ReadDir<R> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ReadDir").field("nodeid", &self.inode.nodeid).field("seen", &self.seen).finish_non_exhaustive()
    }
}

impl<R: Lock> ReadDir<R> {
    pub(crate) fn open(mounted: Arc<Mounted<R>>, inode: Arc<Inode<R>>, who: Credentials) -> Result<Self, Error> {
        let rpc = mounted.rpc();
        let fh = handles::opendir(rpc, who, inode.nodeid)?;
        let len = BUFFER_SIZE.min(rpc.connection().data_buffer_size());
        let unlinked = UnlinkedGuard::new(mounted.volume(), &inode);
        Ok(Self {
            inode,
            who,
            fh,
            plus: false,
            buffer: vec![0; len],
            listed: None,
            ready: VecDeque::new(),
            offset: 0,
            mark: (0, 0, 1),
            seen: 0,
            nameless: 0,
            failed: None,
            done: false,
            fetched: false,
            reopen: false,
            unlinked,
            mounted,
        })
    }

    /// Asks the server for the attributes of each entry with the listing (READDIRPLUS), where it can: dearer than the
    /// names alone, far cheaper than a look-up for each.
    #[must_use]
    pub fn with_attributes(mut self) -> Self {
        self.plus = self.mounted.rpc().has(InitFlags::DO_READDIRPLUS);
        self
    }

    /// Goes on after the entry that has this [`DirEntry::cookie`]; 0 is the begin of the directory.
    pub fn seek(&mut self, cookie: u64) {
        // Servers exist that do not rewind an open directory.
        self.reopen = cookie == 0 && self.fetched;
        self.ready.clear();
        self.offset = cookie;
        self.mark = (cookie, 0, 1);
        self.seen = 0;
        self.nameless = 0;
        self.failed = None;
        self.done = false;
    }

    /// Fetches entries until there are some, an error, or no more.
    fn fill(&mut self) -> Result<(), Error> {
        let mounted = self.mounted.clone();
        let _call = mounted.check()?;
        while self.ready.is_empty() && !self.done {
            self.fetch()?;
        }
        Ok(())
    }

    /// Fetches the next entries. `done` once there are no more.
    fn fetch(&mut self) -> Result<(), Error> {
        if core::mem::take(&mut self.reopen) {
            let rpc = self.mounted.rpc();
            let fh = handles::opendir(rpc, self.who, self.inode.nodeid)?;
            if let Some(before) = core::mem::replace(&mut self.fh, fh) {
                handles::releasedir(rpc, self.who, self.inode.nodeid, before)?;
            }
        }
        self.fetched = true;
        let before = self.seen;
        if self.plus {
            match self.fetch_plus() {
                // Attributes of one entry that cannot be had, as of one that vanished or of a mount after its server died, are no
                // reason not to list the names.
                Err(Error::Os(_)) => self.fetch_names()?,
                result => result?,
            }
        } else {
            self.fetch_names()?
        }
        if self.seen == before {
            self.done = true;
            return Ok(());
        }
        self.nameless = if self.ready.is_empty() { self.nameless + 1 } else { 0 };
        if self.seen > MAX_ENTRIES || self.nameless > MAX_NAMELESS || self.goes_in_circles() {
            return Err(Error::refused(Errno::EIO, "the directory has no end"));
        }
        Ok(())
    }

    fn read<'b>(&self, plus: bool, buffer: &'b mut [u8]) -> Result<Directory<'b>, Error> {
        let fh = self.fh.unwrap_or_default();
        names::readdir(self.mounted.rpc(), self.who, self.inode.nodeid, fh, self.offset, plus, buffer)
    }

    fn fetch_names(&mut self) -> Result<(), Error> {
        let mut buffer = core::mem::take(&mut self.buffer);
        let result = self.read(false, &mut buffer).and_then(|directory| {
            for entry in directory.entries(self.mounted.rpc().protocol()) {
                let entry = entry.map_err(|error| malformed(Opcode::READDIR, error))?;
                self.seen += 1;
                self.offset = entry.offset;
                if !entry.is_dot() {
                    self.ready.push_back(DirEntry {
                        name: entry.name.to_vec(),
                        ino: entry.ino,
                        file_type: entry.file_type,
                        cookie: entry.offset,
                        attr: None,
                    });
                }
            }
            Ok(())
        });
        self.buffer = buffer;
        result
    }

    fn fetch_plus(&mut self) -> Result<(), Error> {
        let mut buffer = core::mem::take(&mut self.buffer);
        let since = changes_so_far();
        let len = self.read(true, &mut buffer).map(|directory| directory.as_bytes().len());
        let listed = len.and_then(|len| self.list_plus(&buffer[..len], since));
        self.buffer = buffer;
        listed
    }

    fn list_plus(&mut self, bytes: &[u8], since: u64) -> Result<(), Error> {
        if !bytes.is_empty() {
            // Each entry counts as a look-up on the server, also when the listing is dropped, or what follows makes no sense.
            let before = self.listed.take();
            self.listed = Some(self.mounted.volume().inodes.keep_listed(&self.inode, before, bytes, since));
        }
        for found in Directory::new(bytes).entries_plus(self.mounted.rpc().protocol()) {
            let found = found.map_err(|error| malformed(Opcode::READDIRPLUS, error))?;
            self.seen += 1;
            let entry = found.dirent;
            self.offset = entry.offset;
            if !entry.is_dot() {
                self.ready.push_back(DirEntry {
                    name: entry.name.to_vec(),
                    ino: entry.ino,
                    file_type: entry.file_type,
                    cookie: entry.offset,
                    attr: found.entry.map(|entry| entry.attr),
                });
            }
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

impl<R: Lock> Iterator for ReadDir<R> {
    type Item = Result<DirEntry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                return Some(Ok(entry));
            }
            if let Some(error) = self.failed.take() {
                self.done = true;
                return Some(Err(error));
            }
            if self.done {
                return None;
            }
            // The entries that came before an error are listed first.
            self.failed = self.fill().err();
        }
    }
}

impl<R: Lock> Drop for ReadDir<R> {
    fn drop(&mut self) {
        self.unlinked.closing(&self.inode);
        let inodes = &self.mounted.volume().inodes;
        // Before look-ups are owed: if there are many, they wait for room.
        let call = self.mounted.check();
        let ended = self.listed.take().map(|id| inodes.end_listed(id)).is_some();
        let Ok(_call) = call else { return };
        if ended {
            // The server keeps what is looked up.
            inodes.forgets().flush();
        }
        if let Some(fh) = self.fh.take()
            && let Err(error) = handles::releasedir(self.mounted.rpc(), self.who, self.inode.nodeid, fh)
        {
            log::warn!("virtio-fs: RELEASEDIR was not sent: {error}");
        }
    }
}

fn malformed(opcode: Opcode, error: DecodeError) -> Error {
    Error::Reply { opcode, error }
}
