//! The capability list.

use virtio_transport::ConfigurationAccess;

use crate::{
    PciError,
    config::{Config, STATUS_CAPABILITIES},
};

/// Offset of the pointer to the first capability.
const FIRST: u8 = 0x34;
/// Where capabilities may lie: behind the header, in whole words.
const AREA: u8 = 0x40;
/// How many words there are for capabilities.
const WORDS: usize = (256 - AREA as usize) / 4;

/// The id of a vendor's capability.
pub(crate) const ID_VENDOR: u8 = 0x09;
/// The id of the MSI-X capability.
pub(crate) const ID_MSIX: u8 = 0x11;
/// The length of the MSI-X capability in bytes.
const MSIX_LEN: u8 = 12;

/// A capability's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capability {
    /// Its offset in configuration space.
    pub(crate) offset: u8,
    /// Its id.
    pub(crate) id: u8,
    /// A vendor's capability: its `cap_len` in bytes.
    pub(crate) len: u8,
    /// A vendor's capability: its `cfg_type`.
    pub(crate) cfg_type: u8,
}

/// All capabilities of a function, in the order of its list.
///
/// They are inside configuration space and share no byte, so there are at most as many as there are words.
#[derive(Clone, Debug)]
pub(crate) struct Capabilities {
    list: [Option<Capability>; WORDS],
}

impl Capabilities {
    /// Walks the list. Only the first word of each capability is read.
    pub(crate) fn read<C: ConfigurationAccess>(config: &Config<'_, C>) -> Result<Self, PciError> {
        if config.status() & STATUS_CAPABILITIES == 0 {
            return Err(PciError::NoCapabilities);
        }
        let mut list = [None; WORDS];
        // One bit a word that belongs to a capability.
        let mut taken = 0u64;
        let mut pointer_at = FIRST;
        let mut after = FIRST;
        let mut next = config.read8(FIRST);
        // Each round takes a new word, so there are no more rounds than places.
        for place in 0..WORDS {
            // The two low bits are reserved and to be ignored (PCI 3.0, 6.7).
            let offset = next & !3;
            if offset == 0 {
                break;
            }
            if offset < AREA {
                return Err(PciError::CapabilityPointer { at: pointer_at, next });
            }
            if list.iter().flatten().any(|known: &Capability| known.offset == offset) {
                return Err(PciError::CapabilityLoop { capability: offset, after });
            }
            let [id, following, third, fourth] = config.read32(offset).to_le_bytes();
            let (len, cfg_type) = if id == ID_VENDOR { (third, fourth) } else { (0, 0) };
            let span = match id {
                ID_VENDOR => len.max(4),
                ID_MSIX => MSIX_LEN,
                _ => 4,
            };
            if usize::from(offset) + usize::from(span) > 256 {
                return Err(PciError::CapabilityPastEnd { capability: offset, len: span });
            }
            let words = u32::from(span).div_ceil(4);
            let mask = ((1u64 << words) - 1) << ((offset - AREA) / 4);
            if taken & mask != 0 {
                return Err(PciError::CapabilityOverlap { capability: offset, len: span });
            }
            taken |= mask;
            list[place] = Some(Capability { offset, id, len, cfg_type });
            pointer_at = offset + 1;
            after = offset;
            next = following;
        }
        if list.iter().all(Option::is_some) && next & !3 != 0 {
            // Every word is taken, so this one has been visited.
            return Err(PciError::CapabilityLoop { capability: next & !3, after });
        }
        Ok(Self { list })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Capability> + '_ {
        self.list.iter().copied().flatten()
    }
}
