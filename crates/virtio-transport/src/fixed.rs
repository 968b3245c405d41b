//! [`Transport`] for a transport with regions of the embedder's.

use virtio_shm::WithFixedRegions;

use crate::{Transport, transport::delegate};

impl<T: Transport, const N: usize> Transport for WithFixedRegions<T, N> {
    delegate!(Self::inner, Self::inner_mut);
}
