//! The embedder's DMA memory, as queues and the device share it.

use alloc::sync::Arc;

use virtio_transport::DmaMemory;

/// The embedder's DMA memory.
pub(crate) type Memory = Arc<dyn DmaMemory + Send + Sync>;
