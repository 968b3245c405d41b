//! MSI-X vectors: which queue gets which, and what the device says to it.

use crate::PciError;

/// The vector that stands for none (virtio 1.3, 4.1.4.3: `VIRTIO_MSI_NO_VECTOR`).
pub(crate) const NO_VECTOR: u16 = 0xffff;

/// Which MSI-X vector each queue gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueVectors {
    /// None, or what [`PciTransport::set_queue_vector`](crate::PciTransport::set_queue_vector) says.
    #[default]
    None,
    /// This one for all of them, which is all that a device with one vector can do.
    Shared(u16),
    /// The first queue this one, and each the next one; all that are left share the last.
    From(u16),
}

/// Whether the device took a vector: it answers with the same.
pub(crate) fn accepted(vector: u16, answer: u16) -> Result<(), PciError> {
    if answer != vector {
        return Err(PciError::VectorRefused { vector, answer });
    }
    Ok(())
}
