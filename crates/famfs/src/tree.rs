//! The directory tree that the log's entries make.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use fs_dax::{DeviceIndex, DeviceOffset, Devices, Extent, FileKey, FileKeys, FileMap, MapRules, MappedFile};

use crate::layout::{DirRecord, Entry, FileRecord, Path, Record, Superblock, UNIT};
use crate::{Flaw, MapContext, PathFlaw};

/// The permission bits that are taken over: not setuid, setgid, sticky and the file's type.
const MODE_MASK: u32 = 0o777;
/// The flag of files that no host may write.
const FLAG_READ_ONLY: u32 = 1;

/// Which file or directory of a tree. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

impl NodeId {
    /// The root directory.
    pub const ROOT: Self = Self(0);
    /// The directory `.meta`, which the log knows nothing of.
    pub const META: Self = Self(1);
    /// The file `.meta/.superblock`.
    pub const SUPERBLOCK: Self = Self(2);
    /// The file `.meta/.log`.
    pub const LOG: Self = Self(3);
}

/// A file's map and state, shared between the tree and those who have the file open.
#[derive(Debug)]
pub struct FileNode {
    id: NodeId,
    key: FileKey,
    read_only: bool,
    size: u64,
    file: MappedFile<Box<[Extent]>>,
}

impl FileNode {
    fn new(id: NodeId, key: FileKey, read_only: bool, map: FileMap<Box<[Extent]>>) -> Self {
        let (size, mut file) = (map.size(), MappedFile::new());
        // A new file has no map that this one could replace.
        let installed = file.install(map);
        debug_assert_eq!(installed, Ok(()));
        Self { id, key, read_only, size, file }
    }

    /// Which file.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// The key by which page tables know it.
    #[must_use]
    pub const fn key(&self) -> FileKey {
        self.key
    }

    /// Whether no host may write it.
    #[must_use]
    pub const fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Size in bytes; it never changes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The map with the file's state: once failed, failed for ever.
    #[must_use]
    pub const fn mapped(&self) -> &MappedFile<Box<[Extent]>> {
        &self.file
    }

    /// Its extents or strips; none once the file has failed.
    #[must_use]
    pub fn extents(&self) -> &[Extent] {
        self.file.map().map_or(&[], FileMap::extents)
    }

    /// The bytes of one turn, if strips take turns.
    #[must_use]
    pub fn chunk(&self) -> Option<u64> {
        self.file.map().ok().and_then(FileMap::chunk)
    }
}

/// What a node is.
#[derive(Debug)]
pub enum Kind {
    /// A directory and what is in it, in the order in which it was made.
    Dir(Vec<NodeId>),
    /// A file.
    File(Arc<FileNode>),
}

/// A file or directory.
#[derive(Debug)]
pub struct Node {
    /// Its path from the root; empty for the root itself.
    pub path: Path,
    /// The directory it is in; its own for the root.
    pub parent: NodeId,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// The permissions, 9 bits.
    pub mode: u32,
    /// The log entry that made it, if one did.
    pub entry: Option<u64>,
    /// What it is.
    pub kind: Kind,
}

impl Node {
    /// The last component of the path.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.path.split().1
    }

    /// The file, if it is one.
    #[must_use]
    pub const fn file(&self) -> Option<&Arc<FileNode>> {
        match &self.kind {
            Kind::File(file) => Some(file),
            Kind::Dir(_) => None,
        }
    }
}

/// What an entry did to the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It made this file or directory.
    Made(NodeId),
    /// It made a directory that was there already, with the rights that it had.
    DirectoryAgain,
    /// It is about something else than files and directories.
    Ignored,
}

/// Files and directories by path, and the memory they occupy.
#[derive(Debug)]
pub struct Tree {
    superblock: Superblock,
    nodes: Vec<Node>,
    names: BTreeMap<(NodeId, Path), NodeId>,
    /// By device and first byte: the byte after the last, and the log index of the file.
    occupied: BTreeMap<(DeviceIndex, u64), (u64, u64)>,
    keys: FileKeys,
}

/// A file or directory about to be added.
#[derive(Debug)]
pub(crate) struct NewNode {
    path: Path,
    parent: NodeId,
    uid: u32,
    gid: u32,
    mode: u32,
    entry: Option<u64>,
}

/// What an entry is about to do to the tree.
#[derive(Debug)]
pub(crate) enum Prepared {
    Nothing(Applied),
    Dir(NewNode),
    File { node: NewNode, entry: u64, map: FileMap<Box<[Extent]>>, read_only: bool },
}

impl Tree {
    /// A tree with nothing in it but the root, and the `.meta` directory with its two files.
    #[must_use]
    pub fn new(superblock: &Superblock) -> Self {
        let (nodes, names, occupied) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        let mut tree = Self { superblock: *superblock, nodes, names, occupied, keys: FileKeys::new() };
        let node = |path: &[u8], parent, mode| NewNode {
            path: Path::unchecked(path),
            parent,
            uid: 0,
            gid: 0,
            mode,
            entry: None,
        };
        let root = node(b"", NodeId::ROOT, 0o755);
        let NewNode { path, parent, uid, gid, mode, entry } = root;
        tree.nodes.push(Node { path, parent, uid, gid, mode, entry, kind: Kind::Dir(Vec::new()) });
        tree.add(node(b".meta", NodeId::ROOT, 0o755), Kind::Dir(Vec::new()));
        tree.add_file(node(b".meta/.superblock", NodeId::META, 0o444), true, meta_map(0, UNIT));
        let log = meta_map(superblock.log_offset, superblock.log_len);
        tree.add_file(node(b".meta/.log", NodeId::META, 0o644), true, log);
        tree
    }

    /// The superblock of the file system.
    #[must_use]
    pub const fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// Takes an entry over.
    ///
    /// # Errors
    /// The first [`Flaw`] for which the entry is skipped; the tree is as it was.
    pub fn apply<D: Devices + ?Sized>(&mut self, entry: &Entry, devices: &D) -> Result<Applied, Flaw> {
        let prepared = self.prepare(entry, devices)?;
        Ok(self.commit(prepared))
    }

    /// Finds out what an entry does to the tree.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub(crate) fn prepare<D: Devices + ?Sized>(&self, entry: &Entry, devices: &D) -> Result<Prepared, Flaw> {
        match &entry.record {
            Ok(Record::File(record)) => self.prepare_file(entry.index, record, devices),
            Ok(Record::Mkdir(record)) => self.prepare_dir(entry.index, record),
            Ok(Record::AddDevice(_) | Record::Access) => Ok(Prepared::Nothing(Applied::Ignored)),
            Err(flaw) => Err(*flaw),
        }
    }

    /// Does what was prepared; nothing else was done to the tree since.
    pub(crate) fn commit(&mut self, prepared: Prepared) -> Applied {
        match prepared {
            Prepared::Nothing(applied) => applied,
            Prepared::Dir(node) => Applied::Made(self.add(node, Kind::Dir(Vec::new()))),
            Prepared::File { node, entry, map, read_only } => {
                for extent in map.extents() {
                    self.occupied.insert((extent.device, extent.offset.0), (extent.offset.0 + extent.len, entry));
                }
                Applied::Made(self.add_file(node, read_only, map))
            }
        }
    }

    fn prepare_file<D: Devices + ?Sized>(
        &self,
        entry: u64,
        record: &FileRecord,
        devices: &D,
    ) -> Result<Prepared, Flaw> {
        let path = record.path.check()?;
        let parent = self.check_new(&path)?;
        let context = MapContext { superblock: &self.superblock, devices };
        let taken = |extent: &Extent| self.occupant(extent.device, extent.offset.0, extent.len);
        let map = context.check(&record.map, record.size, taken)?;
        let FileRecord { uid, gid, mode, .. } = *record;
        let node = NewNode { path, parent, uid, gid, mode: mode & MODE_MASK, entry: Some(entry) };
        Ok(Prepared::File { node, entry, map, read_only: record.flags & FLAG_READ_ONLY != 0 })
    }

    fn prepare_dir(&self, entry: u64, record: &DirRecord) -> Result<Prepared, Flaw> {
        let path = record.path.check()?;
        match self.check_new(&path) {
            Ok(parent) => {
                let DirRecord { uid, gid, mode, .. } = *record;
                let node = NewNode { path, parent, uid, gid, mode: mode & MODE_MASK, entry: Some(entry) };
                Ok(Prepared::Dir(node))
            }
            Err(PathFlaw::Exists) if self.lookup(path.as_bytes()).is_some_and(|id| self.is_dir(id)) => {
                Ok(Prepared::Nothing(Applied::DirectoryAgain))
            }
            Err(flaw) => Err(flaw.into()),
        }
    }

    /// The directory that a new file or directory would be in.
    ///
    /// # Errors
    /// [`PathFlaw::Parent`] if there is none, [`PathFlaw::Exists`] if the name is taken.
    #[inline(never)]
    pub(crate) fn check_new(&self, path: &Path) -> Result<NodeId, PathFlaw> {
        let (parent, name) = path.split();
        let parent = self.lookup(parent.unwrap_or(b"")).filter(|id| self.is_dir(*id)).ok_or(PathFlaw::Parent)?;
        match self.child(parent, name) {
            Some(_) => Err(PathFlaw::Exists),
            None => Ok(parent),
        }
    }

    fn is_dir(&self, id: NodeId) -> bool {
        self.node(id).is_some_and(|node| node.file().is_none())
    }

    #[inline(never)]
    fn add_file(&mut self, node: NewNode, read_only: bool, map: FileMap<Box<[Extent]>>) -> NodeId {
        let id = NodeId(self.nodes.len() as u32);
        let file = FileNode::new(id, self.keys.next_key(), read_only, map);
        self.add(node, Kind::File(Arc::new(file)))
    }

    #[inline(never)]
    fn add(&mut self, node: NewNode, kind: Kind) -> NodeId {
        // Each entry of a log makes one at most, and a log with 2^32 of them would have 2 TiB.
        let id = NodeId(self.nodes.len() as u32);
        let NewNode { path, parent, uid, gid, mode, entry } = node;
        self.names.insert((parent, Path::unchecked(path.split().1)), id);
        if let Some(Node { kind: Kind::Dir(children), .. }) = self.nodes.get_mut(parent.0 as usize) {
            children.push(id);
        }
        self.nodes.push(Node { path, parent, uid, gid, mode, entry, kind });
        id
    }

    /// The file or directory of this number.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id.0 as usize)
    }

    /// All files and directories, in the order in which they were made: the root first, then `.meta`.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        (0..).map(NodeId).zip(&self.nodes)
    }

    /// The entry `name` of a directory.
    #[must_use]
    #[inline(never)]
    pub fn child(&self, dir: NodeId, name: &[u8]) -> Option<NodeId> {
        // No file has a longer name, and a shortened one would find another file.
        if name.len() > 79 {
            return None;
        }
        self.names.get(&(dir, Path::unchecked(name))).copied()
    }

    /// The file or directory at `path` from the root; empty for the root itself.
    #[must_use]
    #[inline(never)]
    pub fn lookup(&self, path: &[u8]) -> Option<NodeId> {
        if path.is_empty() {
            return Some(NodeId::ROOT);
        }
        path.split(|byte| *byte == b'/').try_fold(NodeId::ROOT, |dir, name| self.child(dir, name))
    }

    /// The log index of a file that has some of these bytes.
    #[must_use]
    pub fn occupant(&self, device: DeviceIndex, offset: u64, len: u64) -> Option<u64> {
        let below = (device, offset.saturating_add(len));
        let ((at, _), (end, entry)) = self.occupied.range(..below).next_back()?;
        (*at == device && *end > offset).then_some(*entry)
    }

    /// The occupied ranges of a device as `(first byte, byte after the last)`, in order, disjoint.
    pub fn occupied(&self, device: DeviceIndex) -> impl Iterator<Item = (u64, u64)> {
        self.occupied.range((device, 0)..=(device, u64::MAX)).map(|((_, start), (end, _))| (*start, *end))
    }
}

/// The map of one of the two files that are part of the medium itself.
fn meta_map(offset: u64, len: u64) -> FileMap<Box<[Extent]>> {
    let rules = MapRules { unit: 1, max_extents: 1, reserved: 0 };
    let extent = Extent { device: DeviceIndex(0), offset: DeviceOffset(offset), len };
    FileMap::simple(Box::from([extent]), len, &rules, &[offset + len]).expect("one extent that has bytes and fits")
}
