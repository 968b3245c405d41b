//! The guest's memory, and what is laid out in it.

use vhost_user_backend::bitmap::BitmapMmapRegion;
use virtio_queue::DescriptorChain;
use vm_memory::{GuestMemoryAtomic, GuestMemoryLoadGuard, GuestMemoryMmap};

/// The guest's memory.
pub type Memory = GuestMemoryMmap<BitmapMmapRegion>;
/// The guest's memory, which may be replaced while it is used.
pub type SharedMemory = GuestMemoryAtomic<Memory>;
/// One request and the room for its reply.
pub type Chain = DescriptorChain<GuestMemoryLoadGuard<Memory>>;

/// Length of `fuse_in_header` in bytes.
pub const IN_HEADER: usize = 40;
/// Length of `fuse_out_header` in bytes.
pub const OUT_HEADER: usize = 16;
