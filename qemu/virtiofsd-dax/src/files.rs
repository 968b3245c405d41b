//! The files that are open for mapping, and which nodes stand for the same one.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

/// How many files stay open without being mapped.
const IDLE: usize = 16;

#[derive(Debug)]
struct Known {
    file: Arc<File>,
    device: u64,
    inode: u64,
    key: u64,
}

/// Files by node. A guest that let go of a node and looked its file up again knows it under another number, while
/// mappings made under the first one may live on: such nodes share a key.
#[derive(Debug, Default)]
pub struct Files(HashMap<u64, Known>);

impl Files {
    /// The file behind a node and its key, if it is open.
    pub fn get(&self, node: u64) -> Option<(Arc<File>, u64)> {
        self.0.get(&node).map(|known| (Arc::clone(&known.file), known.key))
    }

    /// Keeps a file for a node. Of those that are not `mapped`, given by key, some are closed when there are many.
    ///
    /// # Errors
    ///
    /// What the host says.
    pub fn insert(&mut self, node: u64, file: File, mapped: impl Fn(u64) -> bool) -> io::Result<(Arc<File>, u64)> {
        if self.0.values().filter(|known| !mapped(known.key)).count() >= IDLE {
            self.0.retain(|_, known| mapped(known.key));
        }
        let metadata = file.metadata()?;
        let (device, inode) = (metadata.dev(), metadata.ino());
        let same = self.0.values().find(|known| known.device == device && known.inode == inode);
        let key = same.map_or(node, |known| known.key);
        let file = Arc::new(file);
        self.0.insert(node, Known { file: Arc::clone(&file), device, inode, key });
        Ok((file, key))
    }

    /// The key of a node whose file is open.
    pub fn key(&self, node: u64) -> Option<u64> {
        self.0.get(&node).map(|known| known.key)
    }

    /// The keys of open files with this inode number, on whatever device.
    pub fn keys_of_inode(&self, inode: u64) -> Vec<u64> {
        let mut keys: Vec<u64> = self.0.values().filter(|known| known.inode == inode).map(|known| known.key).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// Closes the file behind a node that the guest let go of.
    pub fn remove(&mut self, node: u64) {
        self.0.remove(&node);
    }

    /// Closes all.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_of_one_file_share_a_key_and_idle_files_are_closed() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let open = |name: &str| File::create(folder.path().join(name));
        let mut files = Files::default();
        let (_, first) = files.insert(7, open("a")?, |_| true)?;
        let (_, again) = files.insert(9, open("a")?, |_| true)?;
        let (_, other) = files.insert(8, open("b")?, |_| true)?;
        assert_eq!((first, again, other), (7, 7, 8));
        let inode = folder.path().join("a").metadata()?.ino();
        assert_eq!(files.keys_of_inode(inode), [7]);
        for node in 100..100 + IDLE as u64 {
            files.insert(node, open(&node.to_string())?, |key| key == 7)?;
        }
        assert_eq!(files.key(9), Some(7), "mapped files stay");
        assert_eq!(files.key(8), None, "others make room");
        Ok(())
    }
}
