//! virtio over MMIO with shared-memory regions, for virtio-drivers.
#![no_std]
