//! What the fuzz targets check. By hand, in this folder's parent, with a nightly toolchain and cargo-fuzz:
//!
//! ```text
//! cargo +nightly fuzz run log -- -max_total_time=60
//! ```

pub mod checks;
