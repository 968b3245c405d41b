//! What can be wrong with a shared-memory region.

use core::fmt;

use thiserror::Error;

use crate::ShmId;

/// What is wrong with a shared-memory region, with the numbers that the device gave.
///
/// A region's error says nothing about the rest of the device: a file system with a malformed window still works
/// without DAX, if its owner wants that.
///
/// `capability` is the offset of the PCI capability in configuration space, `bar` the index of a base address register.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ShmError {
    /// The region has no bytes.
    #[error("shared-memory region {id} at {addr:#x} has length 0")]
    ZeroLength {
        /// The region's id.
        id: ShmId,
        /// Its guest-physical address, or its offset in its BAR where the address isn't known yet.
        addr: u64,
    },
    /// Address and length together exceed 64 bits.
    #[error("shared-memory region {id}: address {addr:#x} + length {len:#x} overflows")]
    AddressOverflow {
        /// The region's id.
        id: ShmId,
        /// Its guest-physical address.
        addr: u64,
        /// Its length in bytes.
        len: u64,
    },
    /// The region overlaps something else.
    #[error(
        "shared-memory region {id} at {addr:#x}, {len:#x} bytes, overlaps {other} at {other_addr:#x}, {other_len:#x} bytes"
    )]
    Overlap {
        /// The region's id.
        id: ShmId,
        /// Its guest-physical address.
        addr: u64,
        /// Its length in bytes.
        len: u64,
        /// What it overlaps.
        other: Neighbour,
        /// The guest-physical address of that.
        other_addr: u64,
        /// The length of that in bytes.
        other_len: u64,
    },
    /// The address is not aligned as its use needs it.
    #[error("shared-memory region {id}: address {addr:#x} is not a multiple of {align:#x}")]
    AddressUnaligned {
        /// The region's id.
        id: ShmId,
        /// Its guest-physical address.
        addr: u64,
        /// The alignment in bytes.
        align: u64,
    },
    /// The length is not aligned as its use needs it.
    #[error("shared-memory region {id}: length {len:#x} is not a multiple of {align:#x}")]
    LengthUnaligned {
        /// The region's id.
        id: ShmId,
        /// Its length in bytes.
        len: u64,
        /// The alignment in bytes.
        align: u64,
    },
    /// The region is shorter than its use needs it.
    #[error("shared-memory region {id}: length {len:#x} is below {min:#x}")]
    TooShort {
        /// The region's id.
        id: ShmId,
        /// Its length in bytes.
        len: u64,
        /// The least length in bytes.
        min: u64,
    },
    /// A part that somebody wants of the region is not inside it.
    #[error("shared-memory region {id}: {part:#x} bytes at offset {offset:#x} are not inside its {len:#x} bytes")]
    PartOutside {
        /// The region's id.
        id: ShmId,
        /// Where the part begins in the region.
        offset: u64,
        /// The length of the part in bytes.
        part: u64,
        /// The length of the region in bytes.
        len: u64,
    },
    /// A part that somebody wants of the region does not begin where its use needs it.
    #[error("shared-memory region {id}: a part at offset {offset:#x}, which is not a multiple of {align:#x}")]
    PartUnaligned {
        /// The region's id.
        id: ShmId,
        /// Where the part begins in the region.
        offset: u64,
        /// The alignment in bytes.
        align: u64,
    },
    /// Two regions have the same id.
    #[error("shared-memory region {id} at {addr:#x} was given before, at {first_addr:#x}")]
    DuplicateId {
        /// The id of both.
        id: ShmId,
        /// The guest-physical address of the later one.
        addr: u64,
        /// The guest-physical address of the first one.
        first_addr: u64,
    },
    /// The device has more regions than are kept.
    #[error("shared-memory region {id} is one more than the {limit} that are kept")]
    TooManyRegions {
        /// The first id that was left out.
        id: ShmId,
        /// How many are kept.
        limit: usize,
    },

    /// A PCI capability is shorter than the 24 bytes of `virtio_pci_cap64`.
    #[error(
        "PCI capability at {capability:#04x}: a shared-memory capability has {need} bytes, its cap_len says {cap_len}"
    )]
    CapabilityTooShort {
        /// Where the capability is.
        capability: u8,
        /// Its `cap_len` in bytes.
        cap_len: u8,
        /// The least length in bytes.
        need: u8,
    },
    /// The BAR that holds the region cannot be used.
    #[error("PCI capability at {capability:#04x}, shared-memory region {id}: BAR {bar} {fault}")]
    Bar {
        /// The region's id.
        id: ShmId,
        /// Where the capability is.
        capability: u8,
        /// The capability's `bar` field.
        bar: u8,
        /// What is wrong with that BAR.
        fault: BarFault,
    },
    /// Offset and length in the BAR together exceed 64 bits.
    #[error(
        "PCI capability at {capability:#04x}, shared-memory region {id}: offset {offset:#x} + length {len:#x} overflows"
    )]
    OffsetOverflow {
        /// The region's id.
        id: ShmId,
        /// Where the capability is.
        capability: u8,
        /// The region's offset in the BAR in bytes.
        offset: u64,
        /// Its length in bytes.
        len: u64,
    },
    /// The region reaches past its BAR's end.
    #[error(
        "PCI capability at {capability:#04x}, shared-memory region {id}: offset {offset:#x} + length {len:#x} exceeds the {bar_len:#x} bytes of BAR {bar}"
    )]
    PastBarEnd {
        /// The region's id.
        id: ShmId,
        /// Where the capability is.
        capability: u8,
        /// The BAR.
        bar: u8,
        /// The region's offset in the BAR in bytes.
        offset: u64,
        /// Its length in bytes.
        len: u64,
        /// The BAR's length in bytes.
        bar_len: u64,
    },
}

/// Why a PCI base address register cannot be used.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BarFault {
    /// There are six BARs, 0 to 5.
    #[error("does not exist, there are 6")]
    NoSuchBar,
    /// It is the upper half of a 64-bit BAR.
    #[error("is the upper half of the 64-bit BAR {lower}")]
    UpperHalf {
        /// The BAR that it belongs to.
        lower: u8,
    },
    /// It is a 64-bit BAR in the last slot, so that its upper half is missing.
    #[error("is 64-bit, and there is no slot for its upper half")]
    NoUpperHalf,
    /// It is in I/O space, not in memory space.
    #[error("is in I/O space")]
    Io,
    /// Its memory type (bits 1 and 2) is reserved.
    #[error("has the reserved memory type {kind:#04b}")]
    ReservedType {
        /// The two bits.
        kind: u8,
    },
    /// It is not implemented: it has no writable bits.
    #[error("is not implemented")]
    Unimplemented,
    /// Nobody gave it an address.
    #[error("has no address assigned")]
    Unassigned,
    /// Its writable bits do not give a power of two.
    #[error("has a size of {size:#x}, not a power of two")]
    Size {
        /// The size that the bits give, in bytes.
        size: u64,
    },
    /// Its address is not a multiple of its size, or its end exceeds 64 bits.
    #[error("of {size:#x} bytes is at {addr:#x}, not a multiple of its size")]
    Address {
        /// Its address.
        addr: u64,
        /// Its size in bytes.
        size: u64,
    },
}

/// What a shared-memory region may overlap.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Neighbour {
    /// Another shared-memory region.
    Region(ShmId),
    /// The PCI common configuration structure.
    CommonConfig,
    /// The PCI notification structure.
    Notify,
    /// The PCI interrupt status.
    Isr,
    /// The PCI device configuration structure.
    DeviceConfig,
    /// The MSI-X table.
    MsixTable,
    /// The MSI-X pending bit array.
    MsixPba,
    /// The registers of a virtio-mmio device.
    Registers,
    /// A range that the embedder named, such as RAM.
    Embedder,
}

impl fmt::Display for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Region(id) => write!(f, "shared-memory region {id}"),
            Self::CommonConfig => f.write_str("the common configuration"),
            Self::Notify => f.write_str("the notification structure"),
            Self::Isr => f.write_str("the interrupt status"),
            Self::DeviceConfig => f.write_str("the device configuration"),
            Self::MsixTable => f.write_str("the MSI-X table"),
            Self::MsixPba => f.write_str("the MSI-X pending bits"),
            Self::Registers => f.write_str("the device's registers"),
            Self::Embedder => f.write_str("a range in other use"),
        }
    }
}
