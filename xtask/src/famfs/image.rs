//! An image as memory. Only the parts that are asked for are read; a compressed image is unpacked into a file with
//! holes.

use anyhow::{Context, Result};
use clap::Args;
use famfs::{Checked, Event, Finding};
use flate2::read::MultiGzDecoder;
use fs_dax::{DeviceOffset, Error, PhysAddr, SharedMemory, WindowMemory, check_inside};
use std::{
    cell::RefCell,
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// What is skipped if it is 0.
const BLOCK: usize = 64 << 10;

/// The image to look at.
#[derive(Args, Clone, Debug)]
pub(super) struct ImageArgs {
    /// A file or device with the memory's bytes from 0 on, or such a file compressed with gzip
    #[arg(value_name = "IMAGE[.gz]")]
    pub(super) image: PathBuf,
}

/// An image file.
#[derive(Debug)]
pub(crate) struct Image {
    file: File,
    len: u64,
    writable: bool,
    /// The first failure of the host's file system; the memory's own errors cannot carry it.
    failed: RefCell<Option<io::Error>>,
}

impl Image {
    /// Opens an image to be read.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let shown = path.display();
        let mut file = File::open(path).with_context(|| format!("cannot open {shown}"))?;
        let mut magic = [0; 2];
        let read = file.read_at(&mut magic, 0).with_context(|| format!("cannot read {shown}"))?;
        if read == magic.len() && magic == GZIP_MAGIC {
            let mut unpacked = tempfile::tempfile()?;
            unpack(&file, &mut unpacked).with_context(|| format!("cannot unpack {shown}"))?;
            file = unpacked;
        }
        Self::new(file, false).with_context(|| format!("cannot read {shown}"))
    }

    /// The file as memory.
    pub(crate) fn new(mut file: File, writable: bool) -> Result<Self> {
        let len = file.seek(SeekFrom::End(0))?;
        Ok(Self { file, len, writable, failed: RefCell::new(None) })
    }

    /// Checks the file system in it.
    ///
    /// # Errors
    /// The host's, if the image could not be read. The inner result is what the check found.
    pub(super) fn check(&self, tell: &mut dyn FnMut(Event)) -> Result<Result<Checked, Finding>> {
        let checked = famfs::check(self, |superblock| [superblock.device_len], tell);
        self.failure()?;
        Ok(checked)
    }

    /// Whether the host failed to read or write the file.
    pub(crate) fn failure(&self) -> Result<()> {
        match self.failed.take() {
            Some(error) => Err(error).context("cannot read or write the image"),
            None => Ok(()),
        }
    }

    fn access(&self, offset: DeviceOffset, len: usize, done: impl FnOnce() -> io::Result<()>) -> Result<(), Error> {
        check_inside(offset, len as u64, self.len)?;
        done().map_err(|error| {
            self.failed.borrow_mut().get_or_insert(error);
            Error::OutOfWindow { offset, len: len as u64, window_len: self.len }
        })
    }
}

impl WindowMemory for Image {
    fn len(&self) -> u64 {
        self.len
    }

    fn read(&self, offset: DeviceOffset, into: &mut [u8]) -> Result<(), Error> {
        self.access(offset, into.len(), || self.file.read_exact_at(into, offset.0))
    }

    fn write(&self, offset: DeviceOffset, from: &[u8]) -> Result<(), Error> {
        self.access(offset, from.len(), || self.file.write_all_at(from, offset.0))
    }
}

/// Nobody else uses an image meanwhile: what is ordered between hosts needs no more than copies.
impl SharedMemory for Image {
    fn load_u64(&self, offset: DeviceOffset) -> Result<u64, Error> {
        let mut bytes = [0; 8];
        self.read(offset, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn store_u64(&self, offset: DeviceOffset, value: u64) -> Result<(), Error> {
        self.write(offset, &value.to_le_bytes())
    }

    fn write_back(&self, offset: DeviceOffset, len: u64) -> Result<(), Error> {
        check_inside(offset, len, self.len)
    }

    fn invalidate(&self, offset: DeviceOffset, len: u64) -> Result<(), Error> {
        check_inside(offset, len, self.len)
    }

    fn fence(&self) {}

    fn phys(&self, _: DeviceOffset, _: u64) -> Result<PhysAddr, Error> {
        Err(Error::Platform(fs_dax::Capability::Faults))
    }

    fn is_writable(&self) -> bool {
        self.writable
    }
}

/// Unpacks into an empty file, with holes where the image is 0.
///
/// # Errors
/// When one cannot be read or the other not be written.
pub(crate) fn unpack(packed: &File, unpacked: &mut File) -> Result<()> {
    let mut from = MultiGzDecoder::new(io::BufReader::new(packed));
    let mut block = vec![0; BLOCK];
    let mut len = 0;
    loop {
        let mut filled = 0;
        while filled < BLOCK {
            match from.read(&mut block[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        if block[..filled].iter().any(|byte| *byte != 0) {
            unpacked.seek(SeekFrom::Start(len))?;
            unpacked.write_all(&block[..filled])?;
        }
        len += filled as u64;
        if filled < BLOCK {
            unpacked.set_len(len)?;
            return Ok(());
        }
    }
}
