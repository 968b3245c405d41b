//! What was odd about a device that can be driven all the same.

use core::fmt;

use virtio_shm::{ShmError, ShmId};

use crate::PciError;

/// Something odd about a device that can be driven all the same, with the offsets of the capabilities concerned.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// Two capabilities describe a shared-memory region with this id. The first that is well-formed is taken.
    DuplicateRegion {
        /// The id of both.
        id: ShmId,
        /// The one that is ignored.
        capability: u8,
        /// The one that is taken.
        taken: u8,
    },
    /// A shared-memory capability is malformed. Asking for the region gives the same error, unless a later capability with
    /// the same id is well-formed.
    MalformedRegion(ShmError),
    /// The capability of a virtio structure can't be used. Another one for the same structure could, or the structure
    /// isn't needed.
    Skipped(PciError),
    /// MSI-X can't be used.
    NoMsix(PciError),
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DuplicateRegion { id, capability, taken } => write!(
                f,
                "PCI capability at {capability:#04x}: shared-memory region {id} was given before, at {taken:#04x}, which counts"
            ),
            Self::MalformedRegion(error) => write!(f, "{error}"),
            Self::Skipped(error) => write!(f, "{error}; skipped"),
            Self::NoMsix(error) => write!(f, "{error}; no MSI-X"),
        }
    }
}

/// How many notes are kept.
const KEPT: usize = 8;

/// The notes about a device: the first few, and how many more there were.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Notes {
    kept: [Option<Note>; KEPT],
    dropped: usize,
}

impl Notes {
    pub(crate) const fn new() -> Self {
        Self { kept: [None; KEPT], dropped: 0 }
    }

    pub(crate) fn add(&mut self, note: Note) {
        log::warn!("virtio-pci: {note}");
        match self.kept.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(note),
            None => self.dropped += 1,
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Note> {
        self.kept.iter().flatten()
    }

    pub(crate) fn dropped(&self) -> usize {
        self.dropped
    }
}
