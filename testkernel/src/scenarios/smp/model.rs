//! What one file must hold, and a processor that compares and changes it.

use crate::{
    arch::{smp, user},
    memory::{PAGE, paging::USER_START},
    mmap::File,
    mount::Fs,
    outcome::{Outcome, Stop, ensure},
    scenarios::steps::host::wait_for_host,
    watchdog,
};
use alloc::{format, string::String, sync::Arc, vec, vec::Vec};
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use fs_dax::Errno;
use fuse_proto::FallocateMode;
use spin::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use testkernel_protocol::{
    content::Content,
    edits::{self, Edit},
    share,
};
use virtio_fs::OpenOptions;

/// No file is larger, in bytes.
pub(super) const LARGEST: u64 = edits::LARGEST + (1 << 20);

/// Where the file is mapped, in every program.
pub(super) const AT: u64 = USER_START + (2 << 30);

/// What the file holds, its present name, and how often the host edited it.
pub(super) struct Model {
    bytes: Vec<AtomicU8>,
    pub(super) name: String,
    pub(super) edits: u64,
}

impl Model {
    /// An empty file.
    pub(super) fn new() -> Self {
        Self { bytes: Vec::new(), name: "coherence-0".into(), edits: 0 }
    }

    pub(super) fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// So many bytes from `at` on.
    pub(super) fn bytes(&self, at: u64, len: u64) -> Vec<u8> {
        self.bytes[at as usize..][..len as usize].iter().map(|byte| byte.load(Ordering::Relaxed)).collect()
    }

    fn note(&self, at: u64, new: &[u8]) {
        self.bytes[at as usize..].iter().zip(new).for_each(|(byte, new)| byte.store(*new, Ordering::Relaxed));
    }

    fn resize(&mut self, size: u64) {
        self.bytes.resize_with(size as usize, || AtomicU8::new(0));
    }
}

/// What the processors share.
pub(super) struct Stage {
    pub(super) fs: Fs,
    pub(super) file: Arc<File>,
    /// Larger than the window, so that its ranges come and go.
    pub(super) big: Arc<File>,
    /// Shared by all who look and store, each in pages of its own; whoever changes the size has it alone.
    pub(super) model: RwLock<Model>,
    pub(super) processors: u64,
    pub(super) failed: AtomicBool,
}

impl Stage {
    /// Waits for a lock as a processor that others may need.
    fn attending<T>(&self, look: impl Fn() -> Option<T>) -> Result<T, Stop> {
        loop {
            if let Some(locked) = look() {
                return Ok(locked);
            }
            ensure!(!self.failed.load(Ordering::Acquire), "another processor failed");
            smp::attend();
            core::hint::spin_loop();
        }
    }

    fn read(&self) -> Result<RwLockReadGuard<'_, Model>, Stop> {
        self.attending(|| self.model.try_read())
    }

    fn write(&self) -> Result<RwLockWriteGuard<'_, Model>, Stop> {
        self.attending(|| self.model.try_write())
    }
}

/// A processor that looks at the file and changes it.
pub(super) struct Seen {
    stage: Arc<Stage>,
    number: u64,
    random: Content,
    drawn: u64,
}

impl Seen {
    pub(super) fn new(stage: Arc<Stage>, number: u64) -> Self {
        Self { stage, number, random: Content::of(&format!("coherence {number}")), drawn: 0 }
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.drawn += 1;
        self.random.word(self.drawn) % below
    }

    fn content(&mut self, len: u64) -> Vec<u8> {
        self.drawn += 1;
        Content::of(&format!("coherence {} {}", self.number, self.drawn)).bytes(0, len as usize)
    }

    /// One thing.
    pub(super) fn round(&mut self, round: u64) -> Outcome {
        let stage = self.stage.clone();
        if round % 12 == self.number % 12 {
            watchdog::doing("changing the size");
            return self.alone(&stage, &mut *stage.write()?);
        }
        watchdog::doing("looking");
        let model = stage.read()?;
        let pages = model.size().div_ceil(PAGE * stage.processors).max(1);
        let start = (self.draw(pages) * stage.processors + self.number) * PAGE;
        let end = (start + PAGE).min(model.size());
        if start >= end {
            return Ok(());
        }
        let at = start + self.draw(end - start);
        let len = (self.draw(100) + 1).min(end - at);
        self.in_a_page(&stage, &model, (at, len))?;
        if round % 16 == 7 {
            stage.file.sync_range(start, PAGE)?;
        }
        Ok(())
    }

    /// Looks at bytes of a page of its own, or changes them.
    fn in_a_page(&mut self, stage: &Stage, model: &Model, (at, len): (u64, u64)) -> Outcome {
        let new = self.content(len);
        let word = at & !7;
        // The page at the end cannot be mapped where it is no whole one.
        let mapped = at / PAGE * PAGE + PAGE <= model.size();
        let mut found = vec![0; len as usize];
        let fault = |errno: Errno| Stop::Fail(format!("the word at {word:#x}: {errno}"));
        let same = |what: &str, at: u64, found: &[u8]| {
            let expected = model.bytes(at, found.len() as u64);
            ensure!(found == expected, "{what} at {at:#x} gives {found:x?}, not {expected:x?}");
            Ok(())
        };
        match self.draw(8) {
            0 | 1 => {
                stage.file.read_exact_at(&mut found, at)?;
                same("reading", at, &found)
            }
            2 => {
                stage.file.write_all_at(&new, at)?;
                model.note(at, &new);
                Ok(())
            }
            3 if mapped => {
                stage.file.map(at, len as usize)?.copy_to(0, &mut found);
                same("a view", at, &found)
            }
            4 if mapped => {
                let stored = stage.file.map_mut(at, len as usize)?.store(0, &new);
                ensure!(stored as u64 == len, "{stored} bytes of {len} are stored");
                model.note(at, &new);
                Ok(())
            }
            5 if mapped => same("loading", word, &user::load_word(AT + word).map_err(fault)?.to_le_bytes()),
            6 if mapped => {
                let new = self.content(8);
                let value = new.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
                user::store_word(AT + word, value).map_err(fault)?;
                model.note(word, &new);
                Ok(())
            }
            _ => {
                // Ranges of the file leave the window.
                let offset = self.draw(share::BIG.size / PAGE) * PAGE;
                let mut word = [0; 8];
                stage.big.read_exact_at(&mut word, offset)?;
                ensure!(word[..] == Content::of(share::BIG.name).bytes(offset, 8), "the large file at {offset:#x}");
                Ok(())
            }
        }
    }

    /// Changes the size or the name, while nobody else does anything.
    fn alone(&mut self, stage: &Stage, model: &mut Model) -> Outcome {
        let (file, size) = (&stage.file, self.draw(edits::LARGEST));
        match self.draw(8) {
            0 | 1 => {
                file.set_len(size)?;
                model.resize(size);
            }
            2 => {
                let len = self.draw(9000).min(LARGEST - model.size());
                let new = self.content(len);
                stage.fs.open(model.name.as_str(), OpenOptions::new().append(true))?.write_all_at(&new, 0)?;
                model.bytes.extend(new.into_iter().map(AtomicU8::new));
            }
            3 => {
                drop(stage.fs.open(model.name.as_str(), OpenOptions::new().write(true).truncate(true))?);
                model.resize(0);
                file.set_len(size)?;
                model.resize(size);
            }
            4 => {
                let to = format!("coherence-{}", self.draw(5));
                let root = stage.fs.root()?;
                root.rename(model.name.as_str(), &root, to.as_str())?;
                model.name = to;
            }
            5 if model.size() > 0 => {
                let at = self.draw(model.size());
                let len = (self.draw(3 * PAGE) + 1).min(model.size() - at);
                file.allocate(FallocateMode::PUNCH_HOLE | FallocateMode::KEEP_SIZE, at, len)?;
                model.note(at, &vec![0; len as usize]);
            }
            _ => {
                let edit = Edit::nth(model.edits, model.size());
                wait_for_host("edit")?;
                // Learned of before anybody goes past the end.
                file.node().refresh_attr()?;
                match edit {
                    Edit::Write { offset, len } => model.note(offset, &edits::bytes(model.edits, len)),
                    Edit::Resize(size) => model.resize(size),
                }
                model.edits += 1;
            }
        }
        let found = file.attr()?.size;
        ensure!(found == model.size(), "the file has {found} bytes, not {}", model.size());
        Ok(())
    }
}
