//! What the fuzz targets check. The property tests of the crate check the same with bytes of their own.
//!
//! `cargo xtask test --only fuzz` runs every target for a few seconds. By hand, in this folder's parent, with a nightly
//! toolchain and cargo-fuzz:
//!
//! ```text
//! cargo run -p fuse-proto --example fuzz_seeds -- testdata/fuse-wire-linux-7.2-dax.jsonl.gz fuzz/corpus
//! cargo +nightly fuzz list
//! cargo +nightly fuzz run reply -- -max_total_time=60
//! ```
//!
//! The first line is optional: it makes first inputs of messages that are almost right. `README.md` has a longer run.

pub mod checks;
