//! What every DAX file system shares: file maps, faults and page sizes, synchronous faults, dirty tracking, cache flush, failure state.
#![no_std]
