//! Steps that several scenarios take.

pub(crate) mod files;
pub(crate) mod host;
pub(crate) mod operations;
pub(crate) mod processors;
pub(crate) mod shared;
pub(crate) mod views;
pub(crate) mod window;
