//! The DAX window as a pure state machine: ranges, interval trees, references, eviction, read-ahead, guard.
#![no_std]
