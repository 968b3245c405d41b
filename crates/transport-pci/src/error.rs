//! Why a virtio PCI device cannot be driven.

use core::fmt;

use thiserror::Error;
use virtio_shm::BarFault;

/// Why a virtio PCI device cannot be driven, with the numbers that the device gave.
///
/// `capability` is an offset in configuration space.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PciError {
    /// There is no function at this address: the vendor reads all ones.
    #[error("there is no PCI function here")]
    NoFunction,
    /// The function isn't virtio's.
    #[error("PCI vendor {vendor:#06x} is not virtio's, 0x1af4")]
    Vendor {
        /// The vendor id.
        vendor: u16,
    },
    /// A transitional device. Only modern ones (0x1041 to 0x107f) are driven; QEMU's become modern by
    /// `disable-legacy=on`.
    #[error("PCI device {device:#06x} is a transitional virtio device, only modern ones (0x1041 to 0x107f) are driven")]
    Transitional {
        /// The PCI device id.
        device: u16,
    },
    /// No virtio device has this PCI device id.
    #[error("PCI device {device:#06x} is no virtio device, those are 0x1041 to 0x107f")]
    NotVirtio {
        /// The PCI device id.
        device: u16,
    },
    /// The header isn't that of an ordinary function (type 0), which alone has six BARs.
    #[error("PCI header type {header:#04x} is not that of an ordinary function")]
    HeaderType {
        /// The type, without the multi-function bit.
        header: u8,
    },
    /// The function has no capability list.
    #[error("the function has no capability list")]
    NoCapabilities,
    /// A pointer of the capability list points into the header, below 0x40.
    #[error("the capability pointer at {at:#04x} points to {next:#04x}, into the header")]
    CapabilityPointer {
        /// Where the pointer is.
        at: u8,
        /// Where it points to.
        next: u8,
    },
    /// The capability list comes to the same capability again.
    #[error("the capability list loops: {capability:#04x} comes again after {after:#04x}")]
    CapabilityLoop {
        /// The capability that comes again.
        capability: u8,
        /// The one that points back to it.
        after: u8,
    },
    /// A capability reaches past the 256 bytes of configuration space.
    #[error("the capability at {capability:#04x} has {len} bytes and leaves configuration space")]
    CapabilityPastEnd {
        /// The capability.
        capability: u8,
        /// Its length in bytes.
        len: u8,
    },
    /// Two capabilities share bytes.
    #[error("the capability at {capability:#04x} with {len} bytes overlaps another one")]
    CapabilityOverlap {
        /// The later one in the list.
        capability: u8,
        /// Its length in bytes.
        len: u8,
    },
    /// A virtio structure that is needed has no capability.
    #[error("there is no {structure}")]
    Missing {
        /// Which one.
        structure: Structure,
    },
    /// A virtio structure cannot be used.
    #[error("PCI capability at {capability:#04x}, {structure}: {fault}")]
    Structure {
        /// The capability.
        capability: u8,
        /// Which structure it describes.
        structure: Structure,
        /// What is wrong with it.
        fault: StructureFault,
    },
    /// Two structures overlap.
    #[error(
        "the {structure} at {addr:#x}, {len:#x} bytes, overlaps the {other} at {other_addr:#x}, {other_len:#x} bytes"
    )]
    Overlap {
        /// One of them.
        structure: Structure,
        /// Its guest-physical address.
        addr: u64,
        /// Its length in bytes.
        len: u64,
        /// The other.
        other: Structure,
        /// The guest-physical address of that.
        other_addr: u64,
        /// The length of that in bytes.
        other_len: u64,
    },
    /// `notify_off_multiplier` is odd.
    #[error("PCI capability at {capability:#04x}: the notification multiplier {multiplier:#x} is odd")]
    NotifyMultiplier {
        /// The capability.
        capability: u8,
        /// The multiplier.
        multiplier: u32,
    },
    /// The `Hal` gave an address at which the structure isn't aligned.
    #[error("the {structure} is mapped at {addr:#x}, which is not aligned to {align}")]
    Mapping {
        /// The structure.
        structure: Structure,
        /// Its virtual address.
        addr: usize,
        /// The alignment that it needs, in bytes.
        align: usize,
    },
    /// The embedder doesn't want a structure mapped where the device has it. Nothing here says so: it is for mappers, given
    /// to [`PciTransport::with_mapper`](crate::PciTransport::with_mapper), that know what else is there.
    #[error("the {structure} at {addr:#x}, {len:#x} bytes, is where the embedder allows none")]
    Refused {
        /// The structure.
        structure: Structure,
        /// Its guest-physical address.
        addr: u64,
        /// Its length in bytes.
        len: usize,
    },
    /// The device did not finish its reset.
    #[error("the device's status is still {status:#04x} after a reset and {polls} reads")]
    Reset {
        /// The device's status.
        status: u8,
        /// How often it was read.
        polls: u32,
    },
    /// The place to notify a queue is outside the notification structure.
    #[error(
        "queue {queue} is notified at offset {offset:#x}, outside the {len:#x} bytes of the notification structure"
    )]
    QueueNotify {
        /// The queue.
        queue: u16,
        /// The offset in bytes.
        offset: u64,
        /// The length of the notification structure in bytes.
        len: u64,
    },
    /// The device has no usable MSI-X; [`PciTransport::notes`](crate::PciTransport::notes) says if there is a
    /// malformed one.
    #[error("the device has no usable MSI-X")]
    NoMsix,
    /// The device has fewer MSI-X vectors.
    #[error("there is no MSI-X vector {vector}, the device has {vectors}")]
    NoVector {
        /// The vector that was asked for.
        vector: u16,
        /// How many there are.
        vectors: u16,
    },
    /// The device did not take the vector, because it has no resources for it.
    #[error("the device refuses MSI-X vector {vector}: it says {answer:#06x}")]
    VectorRefused {
        /// The vector.
        vector: u16,
        /// What the device says instead, usually 0xffff.
        answer: u16,
    },
}

/// What is wrong with the place of a virtio structure or of the MSI-X table.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum StructureFault {
    /// The capability is too short.
    #[error("the capability has {cap_len} bytes, {need} are needed")]
    CapabilityTooShort {
        /// Its `cap_len` in bytes.
        cap_len: u8,
        /// The least length in bytes.
        need: u8,
    },
    /// Its BAR cannot be used.
    #[error("BAR {bar} {fault}")]
    Bar {
        /// The BAR's index, as the capability gives it.
        bar: u8,
        /// What is wrong with it.
        fault: BarFault,
    },
    /// It is too short for what it is.
    #[error("it has {len:#x} bytes, {need:#x} are needed")]
    TooShort {
        /// Its length in bytes.
        len: u64,
        /// The least length in bytes.
        need: u64,
    },
    /// Its offset isn't aligned.
    #[error("its offset {offset:#x} is not a multiple of {align}")]
    Unaligned {
        /// The offset in its BAR in bytes.
        offset: u64,
        /// The alignment in bytes.
        align: u64,
    },
    /// It reaches past its BAR's end.
    #[error("offset {offset:#x} + length {len:#x} exceeds the {bar_len:#x} bytes of BAR {bar}")]
    PastBarEnd {
        /// The BAR.
        bar: u8,
        /// The offset in the BAR in bytes.
        offset: u64,
        /// The length in bytes.
        len: u64,
        /// The BAR's length in bytes.
        bar_len: u64,
    },
}

/// A structure in a BAR that is not shared memory.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Structure {
    /// The common configuration (virtio 1.3, 4.1.4.3).
    CommonConfig,
    /// The notification structure (4.1.4.4).
    Notify,
    /// The interrupt status (4.1.4.5).
    Isr,
    /// The device configuration (4.1.4.6).
    DeviceConfig,
    /// The MSI-X table.
    MsixTable,
    /// The MSI-X pending bit array.
    MsixPba,
}

impl Structure {
    /// The alignment of its address in bytes (virtio 1.3, 4.1.4; PCI 3.0, 6.8.2).
    pub(crate) const fn align(self) -> u64 {
        match self {
            Self::CommonConfig | Self::DeviceConfig => 4,
            Self::Notify => 2,
            Self::Isr => 1,
            Self::MsixTable | Self::MsixPba => 8,
        }
    }
}

impl fmt::Display for Structure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CommonConfig => "common configuration",
            Self::Notify => "notification structure",
            Self::Isr => "interrupt status",
            Self::DeviceConfig => "device configuration",
            Self::MsixTable => "MSI-X table",
            Self::MsixPba => "MSI-X pending bits",
        })
    }
}
