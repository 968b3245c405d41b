//! Virtqueues and the requests in flight on them.
//!
//! Three layers: [`dma`] owns memory that the device may touch, [`ring`] is a split virtqueue over such memory, and
//! [`channel`] keeps a table of requests in flight, each with its own buffers.
//!
//! Every buffer that a descriptor can name is a [`dma::DmaBuf`], and a `DmaBuf` can only be carved from memory that the
//! embedder gave for DMA. Window memory can therefore never enter a descriptor, nor can memory of a caller that
//! gives up waiting: a request that is abandoned keeps its buffers until the device hands them back.

pub(crate) mod channel;
pub(crate) mod dma;
pub(crate) mod notifications;
pub(crate) mod ring;
#[cfg(test)]
pub(crate) mod test_device;
