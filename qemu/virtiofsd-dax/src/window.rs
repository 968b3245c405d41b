//! What the mapper asks of whoever owns the guest's window, and of the files it maps there.

use std::fs::File;
use std::io;

/// The unit in which files are mapped, in bytes: the page of the host.
pub const PAGE: u64 = 4096;

/// Rounds `bytes` down to whole pages.
pub const fn page_floor(bytes: u64) -> u64 {
    bytes & !(PAGE - 1)
}

/// Rounds `bytes` up to whole pages; saturates at the last page boundary of the address space.
pub const fn page_ceil(bytes: u64) -> u64 {
    match bytes.checked_add(PAGE - 1) {
        Some(sum) => page_floor(sum),
        None => page_floor(u64::MAX),
    }
}

/// What a file is known by for as long as it is mapped: the same under every node that the guest knows it by. A mapped
/// file is open, so the host gives its number to no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileKey {
    /// The host's number of its device.
    pub device: u64,
    /// Its number on that device.
    pub inode: u64,
}

/// One mapping as the front end is asked for it. Everything is in bytes.
#[derive(Debug)]
pub struct Mapping<'a, F> {
    /// The file with pages in the window.
    pub file: &'a F,
    /// FUSE's name of that file, for the record only.
    pub node: u64,
    /// Where in the file the mapping starts; a multiple of [`PAGE`].
    pub file_offset: u64,
    /// Where in the window it starts; a multiple of [`PAGE`].
    pub window_offset: u64,
    /// How long it is; a multiple of [`PAGE`], not 0.
    pub len: u64,
}

/// Why a request to the front end had no effect, or an unknown one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// The front end answered that it would not; nothing changed.
    #[error("the front end refused")]
    Refused,
    /// The device is not running, so nothing was sent: the front end would not survive it.
    #[error("the device is not running")]
    NotRunning,
    /// The connection broke; nobody knows what is mapped.
    #[error("the connection to the front end broke")]
    Lost,
}

/// The window of one device. Each call is one request to the front end, and blocks until it answers.
///
/// The caller owns the bookkeeping: a mapping never overlaps a live one, and is removed with exactly the offset and
/// length with which it was made.
pub trait Window<F> {
    /// Maps pages of a file.
    ///
    /// # Errors
    ///
    /// See [`WindowError`].
    fn map(&mut self, mapping: &Mapping<'_, F>) -> Result<(), WindowError>;

    /// Removes the mapping that covers exactly `mapping`'s place in the window.
    ///
    /// # Errors
    ///
    /// See [`WindowError`]; `Refused` means that there was no such mapping.
    fn unmap(&mut self, mapping: &Mapping<'_, F>) -> Result<(), WindowError>;

    /// Returns when the guest can see the effect of everything that was answered before.
    ///
    /// # Errors
    ///
    /// See [`WindowError`].
    fn barrier(&mut self) -> Result<(), WindowError>;
}

/// What the mapper needs of a file.
pub trait MapFile {
    /// The file's size in bytes.
    ///
    /// # Errors
    ///
    /// What the host says.
    fn size(&self) -> io::Result<u64>;
}

impl MapFile for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}
