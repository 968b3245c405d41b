//! What of a file would be left if the host lost its power now: a durable image beside the file as it is.
//!
//! The file as it is comes from the host itself: its bytes, and by SEEK_DATA and SEEK_HOLE which pages have blocks that were
//! written; blocks that are only allocated show as holes. The durable image advances by FSYNC, by SYNCFS and by WRITEs of
//! handles opened with O_SYNC or O_DSYNC, and by nothing else. What the driver believes is not asked.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::ledger::{Request, op, u32_at, u64_at};
use super::lock;
use super::strict::Act;

const PAGE: u64 = 4096;
/// O_DSYNC, which is part of O_SYNC, in the numbers of x86 Linux.
const DSYNC: u32 = 0o10000;

/// A file at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) bytes: Vec<u8>,
    /// For each page the name of the block that it has, if that was written to; 0 for none. A block that is given back and
    /// found again has another name.
    pub(crate) blocks: Vec<u64>,
}

impl Image {
    fn page(&self, page: usize) -> &[u8] {
        let start = self.bytes.len().min(page * PAGE as usize);
        &self.bytes[start..self.bytes.len().min((page + 1) * PAGE as usize)]
    }
}

/// See the module.
pub(crate) struct Disk {
    file: File,
    pub(crate) now: Image,
    pub(crate) durable: Image,
    blocks_named: u64,
    snapshots: u64,
    /// The newest snapshot that became durable.
    durable_snapshot: u64,
    /// FSYNCs that are to fail from now on.
    pub(crate) failures: u32,
    /// The next FSYNC is to be kept.
    pub(crate) keeps: bool,
    /// What is durable once the FSYNC that is kept succeeds.
    kept: Option<(u64, Image)>,
}

/// A disk that the device's hook and a test share, once there is one.
pub(crate) type Shared = Arc<Mutex<Option<Disk>>>;

impl Disk {
    /// The disk under a file that is new: nothing of it is durable.
    pub(crate) fn new(path: &Path) -> Self {
        let mut disk = Self {
            file: File::open(path).expect("the file is there"),
            now: Image::default(),
            durable: Image::default(),
            blocks_named: 0,
            snapshots: 0,
            durable_snapshot: 0,
            failures: 0,
            keeps: false,
            kept: None,
        };
        disk.look();
        disk
    }

    /// Looks what has become of the file.
    pub(crate) fn look(&mut self) {
        let len = self.file.metadata().expect("the file is there").len();
        let mut bytes = vec![0; len as usize];
        self.file.read_exact_at(&mut bytes, 0).expect("the file is read");
        let mut blocks = std::mem::take(&mut self.now.blocks);
        blocks.resize(len.div_ceil(PAGE) as usize, 0);
        let mut data = vec![false; blocks.len()];
        let mut at = 0;
        while let Some(start) = self.seek(at, libc::SEEK_DATA) {
            at = self.seek(start, libc::SEEK_HOLE).expect("a file ends with a hole");
            data[(start / PAGE) as usize..at.div_ceil(PAGE) as usize].fill(true);
        }
        for (block, data) in blocks.iter_mut().zip(data) {
            if !data {
                *block = 0;
            } else if *block == 0 {
                self.blocks_named += 1;
                *block = self.blocks_named;
            }
        }
        self.now = Image { bytes, blocks };
    }

    fn seek(&self, from: u64, whence: i32) -> Option<u64> {
        // SAFETY: a system call that takes and gives numbers.
        let found = unsafe { libc::lseek(self.file.as_raw_fd(), from as i64, whence) };
        u64::try_from(found).ok()
    }

    /// Blocks that hold these bytes may be others now.
    fn moved(&mut self, start: u64, end: u64) {
        let pages = (start / PAGE) as usize..(end.div_ceil(PAGE) as usize).min(self.now.blocks.len());
        for block in self.now.blocks.get_mut(pages).into_iter().flatten().filter(|block| **block != 0) {
            self.blocks_named += 1;
            *block = self.blocks_named;
        }
    }

    /// These bytes are durable as they are now, with the blocks and the size that they need.
    fn write_through(&mut self, start: u64, end: u64) {
        let (start, end) = (start as usize, self.now.bytes.len().min(end as usize));
        if start >= end {
            return;
        }
        let size = self.durable.bytes.len().max(end);
        self.durable.bytes.resize(size, 0);
        self.durable.blocks.resize(size.div_ceil(PAGE as usize), 0);
        self.durable.bytes[start..end].copy_from_slice(&self.now.bytes[start..end]);
        let pages = start / PAGE as usize..end.div_ceil(PAGE as usize);
        self.durable.blocks[pages.clone()].copy_from_slice(&self.now.blocks[pages]);
    }

    fn settle(&mut self, number: u64, image: Image) {
        if number > self.durable_snapshot {
            self.durable_snapshot = number;
            self.durable = image;
        }
    }

    /// The FSYNC that was kept has succeeded.
    pub(crate) fn settle_kept(&mut self) {
        if let Some((number, image)) = self.kept.take() {
            self.settle(number, image);
        }
    }

    /// What is not durable of these bytes of the file.
    pub(crate) fn lost(&mut self, start: u64, end: u64) -> Option<String> {
        self.look();
        let end = end.min(self.now.bytes.len() as u64);
        if start >= end {
            return None;
        }
        if (self.durable.bytes.len() as u64) < end {
            return Some(format!("{end} bytes, of which {} are durable", self.durable.bytes.len()));
        }
        let (from, to) = (start as usize, end as usize);
        if self.durable.bytes[from..to] != self.now.bytes[from..to] {
            let at = (from..to).find(|&at| self.durable.bytes[at] != self.now.bytes[at]).expect("they differ");
            return Some(format!("the byte at {at:#x}"));
        }
        (start / PAGE..end.div_ceil(PAGE)).find_map(|page| self.unsafe_block(page))
    }

    fn unsafe_block(&self, page: u64) -> Option<String> {
        let block = |image: &Image| image.blocks.get(page as usize).copied().unwrap_or(0);
        let (now, durable) = (block(&self.now), block(&self.durable));
        (now != durable).then(|| format!("the block of page {page}: {now}, and durable is {durable}"))
    }

    /// What is not durable of the whole file.
    pub(crate) fn lost_of_all(&mut self) -> Option<String> {
        let lost = self.lost(0, u64::MAX);
        let (now, durable) = (self.now.bytes.len(), self.durable.bytes.len());
        lost.or_else(|| (now != durable).then(|| format!("a size of {now}, and durable is {durable}")))
    }

    /// What a store to a page needs and is not durable: its block, and a size that reaches it.
    pub(crate) fn lost_for_store(&mut self, page: u64) -> Option<String> {
        self.look();
        if self.now.blocks.get(page as usize).is_none_or(|&block| block == 0) {
            return Some(format!("page {page} has no block that was written"));
        }
        if self.durable.page(page as usize).len() < self.now.page(page as usize).len() {
            return Some(format!("the size {}, and durable is {}", self.now.bytes.len(), self.durable.bytes.len()));
        }
        self.unsafe_block(page)
    }

    fn request(&mut self, request: &Request, shared: &Shared) -> Act {
        self.look();
        let shared = shared.clone();
        let (offset, len) = (u64_at(&request.bytes, 48), u64_at(&request.bytes, 56));
        match request.opcode() {
            op::FSYNC | op::SYNCFS => {
                self.snapshots += 1;
                let snapshot = (self.snapshots, self.now.clone());
                if std::mem::take(&mut self.keeps) {
                    self.kept = Some(snapshot);
                    return Act::Hold;
                }
                if self.failures > 0 {
                    self.failures -= 1;
                    return Act::Refuse(libc::EIO);
                }
                after(shared, move |disk| disk.settle(snapshot.0, snapshot.1))
            }
            op::WRITE if u32_at(&request.bytes, 72) & DSYNC != 0 => {
                let end = offset + u64::from(u32_at(&request.bytes, 56));
                after(shared, move |disk| disk.write_through(offset, end))
            }
            op::COPY_FILE_RANGE => {
                let (to, len) = (u64_at(&request.bytes, 72), u64_at(&request.bytes, 80));
                after(shared, move |disk| disk.moved(to, to + len))
            }
            op::FALLOCATE if u32_at(&request.bytes, 64) & 2 != 0 => {
                after(shared, move |disk| disk.moved(offset, offset + len))
            }
            _ => after(shared, |_| ()),
        }
    }
}

/// Has the server answer, and looks at the disk then; if the request succeeded this is done, too.
fn after(shared: Shared, done: impl FnOnce(&mut Disk) + Send + 'static) -> Act {
    Act::Alter(Box::new(move |answer| {
        if let Some(disk) = lock(&shared).as_mut() {
            disk.look();
            if u32_at(&answer.bytes, 4) == 0 {
                done(disk);
            }
        }
    }))
}

/// What the device does with a request to the file that is on the disk now.
pub(crate) fn hook(shared: &Shared) -> impl FnMut(&Request) -> Act + Send + 'static {
    let shared = shared.clone();
    move |request| {
        let mut disk = lock(&shared);
        match disk.as_mut() {
            Some(disk) if about_the_file(request.opcode()) => disk.request(request, &shared),
            _ => Act::Serve,
        }
    }
}

fn about_the_file(opcode: u32) -> bool {
    matches!(opcode, op::WRITE | op::FSYNC | op::SYNCFS | op::FALLOCATE | op::COPY_FILE_RANGE | op::SETATTR)
}
