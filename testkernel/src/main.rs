//! A tiny bare-metal kernel.
fn main() {}
