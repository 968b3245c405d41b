//! Entries that listings with attributes have brought, and that nobody has asked for.
//!
//! The server counts a look-up for each entry of a READDIRPLUS. An entry costs no inode for that: the last reply of each listing
//! stays as it came, and the look-ups in it are given back when the next one comes, or the listing is dropped. A name that is
//! looked up before that, and before its timeout, is found here.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;

use fs_dax::FileKey;
use fuse_proto::{DirEntryPlus, Directory, Entry, NodeId, Protocol};
use lock_api::Mutex;

use super::name_hash::name_hash;
use crate::Lock;
use crate::caller::spread;

/// Bytes of the smallest entry: what is known of the inode, and a name of one byte.
const SMALLEST: usize = 160;

/// Names a reply that is kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct ListedId(u64);

/// The last reply of each listing under way.
pub(crate) struct Listed<R: Lock> {
    replies: Mutex<R, Replies>,
    /// How many there are, for those who take no lock.
    count: AtomicUsize,
}

#[derive(Debug)]
struct Replies {
    kept: Vec<Reply>,
    next: u64,
}

/// An entry that counts as a look-up.
#[derive(Debug)]
struct Place {
    /// Some bits made of the name, and of the inode's number: most other entries differ in them, and need not be decoded.
    name: u32,
    node: u32,
    /// Where it begins in the reply.
    at: u32,
}

impl Place {
    fn of_name(name: &[u8]) -> u32 {
        name_hash(name) as u32
    }

    fn of_node(node: NodeId) -> u32 {
        spread(node.0) as u32
    }
}

/// A reply to READDIRPLUS.
#[derive(Debug)]
struct Reply {
    id: ListedId,
    dir: FileKey,
    bytes: Vec<u8>,
    /// When it came.
    came: Duration,
    /// What is known of names in the directory is newer.
    stale: bool,
    /// Its entries, without those that were taken.
    places: Vec<Place>,
}

impl Reply {
    fn entry(&self, protocol: &Protocol, place: &Place) -> Option<DirEntryPlus<'_>> {
        let bytes = self.bytes.get(place.at as usize..)?;
        Directory::new(bytes).entries_plus(protocol).next()?.ok()
    }

    /// Takes the entry of a name out.
    fn take_name(&mut self, protocol: &Protocol, name: &[u8]) -> Option<Entry> {
        let hash = Place::of_name(name);
        let is_it = |place: &Place| {
            place.name == hash && self.entry(protocol, place).is_some_and(|found| found.dirent.name == name)
        };
        let index = self.places.iter().position(is_it)?;
        let place = self.places.swap_remove(index);
        self.entry(protocol, &place)?.entry
    }

    /// Takes an entry of an inode out. Returns whether there was one.
    fn take_node(&mut self, protocol: &Protocol, node: NodeId) -> bool {
        let hash = Place::of_node(node);
        let has_node = |found: DirEntryPlus<'_>| found.entry.is_some_and(|entry| entry.node == node);
        let is_it = |place: &Place| place.node == hash && self.entry(protocol, place).is_some_and(has_node);
        let found = self.places.iter().position(is_it);
        found.map(|index| self.places.swap_remove(index)).is_some()
    }
}

/// The entries of a reply that count as look-ups.
fn places(protocol: &Protocol, bytes: &[u8]) -> Vec<Place> {
    let mut places = Vec::with_capacity(bytes.len() / SMALLEST);
    let mut entries = Directory::new(bytes).entries_plus(protocol);
    let mut at = 0;
    // After an entry that makes no sense there is none that does.
    while let Some(Ok(found)) = entries.next() {
        if let Some(entry) = found.entry.filter(|_| !found.dirent.is_dot()) {
            let (name, node) = (Place::of_name(found.dirent.name), Place::of_node(entry.node));
            places.push(Place { name, node, at });
        }
        at = (bytes.len() - entries.as_bytes().len()) as u32;
    }
    places
}

impl<R: Lock> Listed<R> {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self { replies: Mutex::new(Replies { kept: Vec::new(), next: 0 }), count: AtomicUsize::new(0) }
    }

    /// Keeps a reply that came at this time. `is_stale` says whether what is known of names in the directory is newer; who learns
    /// something newer notes that before it takes an entry out, so that one of the two sees the other.
    pub(crate) fn keep(
        &self,
        protocol: &Protocol,
        dir: FileKey,
        bytes: Vec<u8>,
        came: Duration,
        is_stale: impl FnOnce() -> bool,
    ) -> ListedId {
        let places = places(protocol, &bytes);
        let mut replies = self.replies.lock();
        let id = ListedId(replies.next);
        replies.next += 1;
        replies.kept.push(Reply { id, dir, bytes, came, stale: false, places });
        self.count.store(replies.kept.len(), Ordering::SeqCst);
        if let Some(reply) = replies.kept.last_mut() {
            reply.stale = is_stale();
        }
        id
    }

    /// Ends the keeping of a reply. Calls `owe` for each look-up in it that nobody took, and returns its buffer.
    pub(crate) fn end(&self, protocol: &Protocol, id: ListedId, owe: impl FnMut(NodeId)) -> Option<Vec<u8>> {
        let reply = {
            let mut replies = self.replies.lock();
            let at = replies.kept.iter().position(|reply| reply.id == id)?;
            let reply = replies.kept.swap_remove(at);
            self.count.store(replies.kept.len(), Ordering::Release);
            reply
        };
        let entries = reply.places.iter().filter_map(|place| reply.entry(protocol, place)?.entry);
        entries.map(|entry| entry.node).for_each(owe);
        Some(reply.bytes)
    }

    /// As [`Listed::end`], for all of them.
    pub(crate) fn end_all(&self, protocol: &Protocol, mut owe: impl FnMut(NodeId)) {
        let next = || self.replies.lock().kept.first().map(|reply| reply.id);
        while let Some(id) = next() {
            self.end(protocol, id, &mut owe);
        }
    }

    /// Takes the entry of a name out of the listing that brought it, if its timeout has not passed; its look-up is the caller's
    /// then. Its timeouts are what is left of them.
    pub(crate) fn claim(&self, protocol: &Protocol, dir: FileKey, name: &[u8], now: Duration) -> Option<Entry> {
        if self.is_empty() {
            return None;
        }
        let mut replies = self.replies.lock();
        replies.kept.iter_mut().filter(|reply| reply.dir == dir && !reply.stale).find_map(|reply| {
            let age = now.saturating_sub(reply.came);
            let mut entry = reply.take_name(protocol, name)?;
            entry.entry_valid = entry.entry_valid.saturating_sub(age);
            entry.attr_valid = entry.attr_valid.saturating_sub(age);
            Some(entry)
        })
    }

    /// Takes the entry of a name out, of which something newer is known. Returns its inode, whose look-up is the caller's then; to
    /// be called until there is none.
    pub(crate) fn forget_name(&self, protocol: &Protocol, dir: FileKey, name: &[u8]) -> Option<NodeId> {
        if self.is_empty() {
            return None;
        }
        let mut replies = self.replies.lock();
        let mut of_dir = replies.kept.iter_mut().filter(|reply| reply.dir == dir);
        of_dir.find_map(|reply| reply.take_name(protocol, name)).map(|entry| entry.node)
    }

    /// What is known of all names in a directory is newer.
    pub(crate) fn forget_names(&self, dir: FileKey) {
        if !self.is_empty() {
            self.replies.lock().kept.iter_mut().filter(|reply| reply.dir == dir).for_each(|reply| reply.stale = true);
        }
    }

    /// What is known of an inode is newer, or was. Returns how many look-ups came with its names.
    pub(crate) fn forget_node(&self, protocol: &Protocol, node: NodeId) -> u64 {
        if self.is_empty() {
            return 0;
        }
        let mut count = 0;
        for reply in &mut self.replies.lock().kept {
            while reply.take_node(protocol, node) {
                count += 1;
            }
        }
        count
    }

    fn is_empty(&self) -> bool {
        self.count.load(Ordering::SeqCst) == 0
    }
}
