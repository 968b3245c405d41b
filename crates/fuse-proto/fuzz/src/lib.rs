//! What the fuzz targets check. The property tests of the crate check the same with bytes of their own.

pub mod checks;
