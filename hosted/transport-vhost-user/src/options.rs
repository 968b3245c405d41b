//! What can be chosen.

use std::time::Duration;

use crate::window::Unmapped;

/// What can be chosen.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The memory that driver and back end share, in bytes. It is taken from the host as it is used.
    pub memory: usize,
    /// The largest size of a queue in descriptors.
    pub queue_size: u16,
    /// What an access to the window finds where nothing is mapped.
    pub unmapped: Unmapped,
    /// Keep what the back end asks ([`Connection::take_events`]); it is counted in any case.
    pub record: bool,
    /// The tag where the back end gives no configuration, which then is the monitor's affair.
    pub tag: String,
    /// How long the back end may take to answer a request of the vhost-user protocol.
    pub timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            memory: 64 << 20,
            queue_size: 256,
            unmapped: Unmapped::default(),
            record: false,
            tag: "share".into(),
            timeout: Duration::from_secs(10),
        }
    }
}
