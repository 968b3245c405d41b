//! Memory that guests share, as the host sees it: a file that all of them have mapped.

use crate::famfs::image::{Image, unpack};
use anyhow::{Context, Result, bail, ensure};
use famfs::{
    Checked, FileNode,
    layout::{MAX_SUPERBLOCK_LEN, Superblock},
};
use fs_dax::WindowMemory;
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};
use testkernel_protocol::{content::Content, stepping};

/// What is read at a time.
const BLOCK: usize = 1 << 20;

/// The memory, and what the host noted of it.
#[derive(Debug)]
pub(crate) struct Region {
    path: PathBuf,
    file: File,
    len: u64,
    saved: BTreeMap<&'static str, Vec<u8>>,
}

impl Region {
    /// Makes the file, empty or with an image in it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn new(path: PathBuf, len: u64, image: Option<&Path>) -> Result<Self> {
        let shown = path.display();
        let mut file = File::options().read(true).write(true).create_new(true).open(&path);
        if let (Ok(file), Some(image)) = (&mut file, image) {
            let packed = File::open(image).with_context(|| format!("cannot open {}", image.display()))?;
            unpack(&packed, file).with_context(|| format!("cannot unpack {}", image.display()))?;
        }
        let file = file.and_then(|file| file.set_len(len).map(|()| file));
        let file = file.with_context(|| format!("cannot write {shown}"))?;
        Ok(Self { path, file, len, saved: BTreeMap::new() })
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Has a guest take a step: its name first, then its number, which the guest waits for.
    ///
    /// # Errors
    /// When the file cannot be written, or the name is too long.
    pub(crate) fn tell(&self, guest: usize, number: u64, name: &str) -> Result<()> {
        let places = stepping::places(self.len, guest);
        let bytes = stepping::encode(name).with_context(|| format!("the step `{name}` has too long a name"))?;
        self.file.write_all_at(&bytes, places.name)?;
        Ok(self.file.write_all_at(&number.to_le_bytes(), places.turn)?)
    }

    /// The number of the last step that a guest took.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn done(&self, guest: usize) -> Result<u64> {
        self.number(stepping::places(self.len, guest).done)
    }

    /// The number at a place.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn number(&self, at: u64) -> Result<u64> {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Bytes at a place.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn read(&self, at: u64, len: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }

    /// Stores bytes at a place, which guests see at once.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn write(&self, at: u64, bytes: &[u8]) -> Result<()> {
        Ok(self.file.write_all_at(bytes, at)?)
    }

    /// Notes bytes under a name.
    pub(crate) fn save(&mut self, name: &'static str, bytes: Vec<u8>) {
        self.saved.insert(name, bytes);
    }

    /// Bytes that were noted.
    ///
    /// # Errors
    /// When they were not.
    pub(crate) fn saved(&self, name: &str) -> Result<&[u8]> {
        Ok(self.saved.get(name).with_context(|| format!("nothing was saved as {name}"))?)
    }

    /// The SHA-256 of all but what guests are stepped through.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn digest(&self) -> Result<Vec<u8>> {
        let (mut hasher, mut block) = (Sha256::new(), vec![0; BLOCK]);
        for at in (0..testkernel_protocol::shared_memory::DEVICE_LEN).step_by(BLOCK) {
            self.file.read_exact_at(&mut block, at)?;
            hasher.update(&block);
        }
        Ok(hasher.finalize().to_vec())
    }

    /// The file system in the memory, in which nothing may be wrong.
    ///
    /// # Errors
    /// What is wrong.
    pub(crate) fn check(&self) -> Result<Checked> {
        let mut flaws = Vec::new();
        let image = Image::new(self.file.try_clone()?, false)?;
        let checked = famfs::check(&image, |superblock| [superblock.device_len], &mut |event| {
            if let famfs::Event::Flaw(finding) = event {
                flaws.push(finding.to_string());
            }
        });
        ensure!(flaws.is_empty(), "the host finds {}", flaws.join(", "));
        checked.map_err(|finding| anyhow::anyhow!("the host finds {finding}"))
    }

    /// The superblock, whatever is wrong elsewhere.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn check_superblock(&self) -> Result<Superblock> {
        let bytes = self.read(0, MAX_SUPERBLOCK_LEN)?;
        Superblock::parse(&bytes, self.len).map_err(|flaw| anyhow::anyhow!("the host finds superblock:{}", flaw.name()))
    }

    /// Fails unless a file holds the stream of a name.
    ///
    /// # Errors
    /// The first difference.
    pub(crate) fn holds(&self, checked: &Checked, path: &str, stream: &str) -> Result<()> {
        let (found, content) = (self.contents(file(checked, path)?)?, Content::of(stream));
        let mut expected = vec![0; found.len()];
        content.fill(0, &mut expected);
        super::stage::same(path, &found, &expected)
    }

    /// The bytes of a file.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) fn contents(&self, file: &FileNode) -> Result<Vec<u8>> {
        let image = Image::new(self.file.try_clone()?, false)?;
        let map = file.mapped().map()?;
        let mut bytes = vec![0; usize::try_from(file.size())?];
        let mut at = 0;
        while at < bytes.len() {
            let segment = map.resolve(at as u64, (bytes.len() - at) as u64);
            let len = usize::try_from(segment.len)?;
            ensure!(len > 0, "the map ends at {at:#x}");
            image.read(segment.offset, &mut bytes[at..at + len])?;
            at += len;
        }
        Ok(bytes)
    }
}

/// A file of a file system.
///
/// # Errors
/// When there is none of this name.
pub(crate) fn file<'c>(checked: &'c Checked, path: &str) -> Result<&'c FileNode> {
    let node = checked.tree.lookup(path.as_bytes()).and_then(|id| checked.tree.node(id));
    match node.and_then(|node| node.file()) {
        Some(file) => Ok(file),
        None => bail!("the host finds no file {path}"),
    }
}
