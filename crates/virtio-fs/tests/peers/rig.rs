//! Devices in the same process, and what a driver needs to be driven against them.

pub(crate) mod content;
pub(crate) mod krun;
pub(crate) mod ledger;
pub(crate) mod logs;
pub(crate) mod peer;
pub(crate) mod platform;
pub(crate) mod ram;
pub(crate) mod strict;
pub(crate) mod window;
