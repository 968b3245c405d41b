//! virtio over PCI with shared-memory regions, for virtio-drivers.
#![no_std]
