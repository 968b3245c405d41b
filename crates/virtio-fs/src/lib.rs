//! A virtio-fs driver with DAX for kernels: queues, session, files, directories, mapped I/O, faults, statistics.
#![no_std]
