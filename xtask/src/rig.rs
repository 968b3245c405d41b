//! Booting the test kernel, and knowing what came of it.

pub(crate) mod boot;
pub(crate) mod channel;
pub(crate) mod daemon;
pub(crate) mod events;
pub(crate) mod kernel;
pub(crate) mod logs;
pub(crate) mod machine;
pub(crate) mod plan;
pub(crate) mod qmp;
pub(crate) mod record;
pub(crate) mod regular;
pub(crate) mod scratch;
pub(crate) mod tools;
pub(crate) mod verdict;
