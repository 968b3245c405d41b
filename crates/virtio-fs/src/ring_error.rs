//! What a device can do wrong with a virtqueue.

use thiserror::Error;

/// What a device did wrong with a queue. The queue is unusable after any of these.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum RingError {
    /// The used index moved further than there are requests in flight.
    #[error("the device returned {returned} chains, but only {in_flight} were in flight")]
    UsedIndex {
        /// How far the used index moved.
        returned: u16,
        /// Chains in flight.
        in_flight: u16,
    },
    /// A used element names a chain that is not in flight.
    #[error("the device returned chain {id}, which is not in flight")]
    UsedId {
        /// The id that the device wrote.
        id: u32,
    },
    /// A used element claims more bytes than the chain can take.
    #[error("the device claims to have written {written} bytes into a chain of {capacity}")]
    UsedLength {
        /// Bytes the device claims.
        written: u32,
        /// Bytes of the chain that it may write.
        capacity: u32,
    },
}
