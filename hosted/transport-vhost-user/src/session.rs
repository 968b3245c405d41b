//! What driver and connection share.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use vhost::vhost_user::VhostUserFrontend as _;
use vhost::vhost_user::message::VhostUserConfigFlags;
use vmm_sys_util::eventfd::EventFd;

use crate::channel::Service;
use crate::error::ControlError;
use crate::gone::Gone;
use crate::interrupts::Interrupts;
use crate::link::Link;
use crate::memory::GuestMemory;

/// VIRTIO_FS_F_NOTIFICATION.
const NOTIFICATION: u64 = 1 << 0;
/// The tag of a file system's configuration, in bytes (virtio 1.3, 5.11.4).
const TAG: usize = 36;

/// What driver and connection share.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) link: Link,
    pub(crate) gone: Arc<Gone>,
    pub(crate) service: Arc<Service>,
    pub(crate) memory: GuestMemory,
    pub(crate) interrupts: Interrupts,
    /// One for each queue, which the back end writes.
    pub(crate) calls: Vec<EventFd>,
    /// One for each queue, which the back end reads.
    pub(crate) kicks: Vec<EventFd>,
    pub(crate) queue_size: u16,
    /// What the back end offers, without the protocol's own bit.
    pub(crate) features: u64,
    pub(crate) config: Mutex<Config>,
}

/// The device's configuration.
#[derive(Debug)]
pub(crate) struct Config {
    bytes: Vec<u8>,
    /// Of which generation they are.
    generation: u32,
    /// Whether the back end gives them.
    theirs: bool,
}

impl Config {
    /// The configuration that the back end gives.
    pub(crate) fn theirs(link: &Link, features: u64) -> Result<Self, ControlError> {
        let bytes = fetch(link, len(features))?;
        Ok(Self { bytes, generation: 0, theirs: true })
    }

    /// The configuration of a back end that gives none: a tag, and as many request queues as it has.
    pub(crate) fn ours(features: u64, queues: u16, tag: &str) -> Self {
        let mut bytes = vec![0; len(features)];
        let tag = &tag.as_bytes()[..tag.len().min(TAG)];
        bytes[..tag.len()].copy_from_slice(tag);
        let others = if features & NOTIFICATION != 0 { 2 } else { 1 };
        bytes[TAG..TAG + 4].copy_from_slice(&u32::from(queues.saturating_sub(others)).to_le_bytes());
        Self { bytes, generation: 0, theirs: false }
    }
}

/// How long the configuration is: tag, num_request_queues, and notify_buf_size where there are notifications.
fn len(features: u64) -> usize {
    TAG + 4 + if features & NOTIFICATION != 0 { 4 } else { 0 }
}

fn fetch(link: &Link, len: usize) -> Result<Vec<u8>, ControlError> {
    let zeros = vec![0; len];
    link.call("GET_CONFIG", |frontend| {
        frontend.get_config(0, len as u32, VhostUserConfigFlags::empty(), &zeros).map(|(_, bytes)| bytes)
    })
}

impl Session {
    /// Calls `read` with the configuration, fetched anew if it has changed.
    pub(crate) fn with_config<T>(&self, read: impl FnOnce(&[u8]) -> T) -> T {
        let mut config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = self.service.config_generation.load(Ordering::Acquire);
        if config.theirs && config.generation != generation {
            match fetch(&self.link, config.bytes.len()) {
                Ok(bytes) => config.bytes = bytes,
                Err(error) => log::warn!("the configuration is as it was: {error}"),
            }
            config.generation = generation;
        }
        read(&config.bytes)
    }
}
