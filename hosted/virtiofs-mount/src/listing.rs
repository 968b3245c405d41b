//! An open directory: the entries since it was last rewound, each with a place of its own.

use fuse_proto::FileType;
use virtio_fs::DirEntry;

use crate::driver::{Error, Node, ReadDir};

/// `.` and `..` come first; the driver does not list them.
const DOTS: [&[u8]; 2] = [b".", b".."];

/// An entry: its name, the host's number for it if it is known, and its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) name: Vec<u8>,
    pub(crate) ino: Option<u64>,
    pub(crate) kind: FileType,
}

impl Item {
    /// Whether it is `.` or `..`.
    pub(crate) fn is_dot(&self) -> bool {
        DOTS.contains(&&*self.name)
    }
}

/// See the module. Offsets are ours: how many entries come before. So they fit what the kernel can hold, whatever the host's
/// are, and one that was given out leads to the same place until the directory is rewound.
pub(crate) struct Listing {
    entries: ReadDir,
    seen: Vec<Item>,
}

impl std::fmt::Debug for Listing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listing").field("seen", &self.seen.len()).finish_non_exhaustive()
    }
}

impl Listing {
    /// The entries of a directory; asks for attributes too, which the driver keeps for the look-ups that follow.
    pub(crate) fn open(node: &Node) -> Result<Self, Error> {
        Ok(Self { entries: node.read_dir()?.with_attributes(), seen: dots() })
    }

    /// Begins anew, with what the directory has now.
    pub(crate) fn rewind(&mut self) {
        if self.seen.len() > DOTS.len() {
            self.entries.seek(0);
            self.seen = dots();
        }
    }

    /// The entry at an offset; `None` at the end.
    pub(crate) fn at(&mut self, offset: u64) -> Result<Option<&Item>, Error> {
        let index = usize::try_from(offset).unwrap_or(usize::MAX);
        while self.seen.len() <= index {
            match self.entries.next() {
                None => return Ok(None),
                Some(entry) => self.seen.push(item(entry?)),
            }
        }
        Ok(self.seen.get(index))
    }
}

fn dots() -> Vec<Item> {
    DOTS.iter().map(|name| Item { name: name.to_vec(), ino: None, kind: FileType::Directory }).collect()
}

fn item(entry: DirEntry) -> Item {
    Item { name: entry.name, ino: Some(entry.ino), kind: entry.file_type.unwrap_or(FileType::Regular) }
}
