//! What the fuzz targets check. The property tests of the crate check the same with bytes of their own.
//!
//! With a nightly toolchain and cargo-fuzz, in this folder's parent:
//!
//! ```text
//! cargo +nightly fuzz list
//! cargo +nightly fuzz run reply -- -max_total_time=60
//! ```

pub mod checks;
