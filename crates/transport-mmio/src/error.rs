//! Why a virtio-mmio device cannot be driven.

use thiserror::Error;

/// Why a virtio-mmio device cannot be driven, with what its registers said.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MmioError {
    /// The register block is too short for the registers that every device has.
    #[error("the register block has {size:#x} bytes, a virtio-mmio device needs {need:#x}")]
    TooSmall {
        /// Its size in bytes.
        size: usize,
        /// The least size in bytes.
        need: usize,
    },
    /// The register block is not aligned to 4 bytes.
    #[error("the registers at {addr:#x} are not aligned to 4 bytes")]
    Unaligned {
        /// The virtual address of the first register.
        addr: usize,
    },
    /// There is no virtio-mmio device here: `MagicValue` is something else than 0x74726976, "virt".
    #[error("the magic value is {magic:#010x}, not 0x74726976")]
    BadMagic {
        /// What the register says.
        magic: u32,
    },
    /// A legacy device (`Version` 1), which has no shared memory and another queue layout. QEMU's become modern by
    /// `-global virtio-mmio.force-legacy=false`.
    #[error("the device is a legacy one (version 1), only version 2 is driven")]
    Legacy,
    /// `Version` is neither 1 nor 2.
    #[error("the device has version {version}, only version 2 is driven")]
    UnknownVersion {
        /// What the register says.
        version: u32,
    },
    /// The place is empty (`DeviceID` 0), which is normal: machines have more places than devices.
    #[error("there is no device at this place (device id 0)")]
    NoDevice,
    /// `DeviceID` is larger than any id can be.
    #[error("the device id {id:#x} exceeds 16 bits")]
    DeviceId {
        /// What the register says.
        id: u32,
    },
    /// The device did not finish its reset.
    #[error("the device's status is still {status:#04x} after a reset and {polls} reads")]
    Reset {
        /// What the register says.
        status: u32,
        /// How often it was read.
        polls: u32,
    },
    /// The device did not stop a queue.
    #[error("queue {queue} is still ready after {polls} reads")]
    QueueStop {
        /// The queue.
        queue: u16,
        /// How often the register was read.
        polls: u32,
    },
}
