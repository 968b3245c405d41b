//! What embedders see. Thin: everything is done below.

pub(crate) mod asynchronous;
pub(crate) mod config;
mod damage;
pub(crate) mod dir;
pub mod fault;
pub(crate) mod file;
pub(crate) mod fs;
pub(crate) mod locks;
pub(crate) mod map;
pub(crate) mod mount;
pub(crate) mod mounted;
pub(crate) mod node;
pub(crate) mod part;
pub(crate) mod paths;
mod progress;
pub(crate) mod request;
pub(crate) mod stats;
pub(crate) mod stream;
mod vet;
