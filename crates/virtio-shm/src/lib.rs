//! Virtio shared-memory regions: what they are, their ids, their errors, and the trait of transports that have them.
#![no_std]
