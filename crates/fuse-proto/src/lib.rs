//! The FUSE wire protocol, byte-exact in both directions, with no I/O and no allocation.
#![no_std]
