//! What front end and back end agree on.

use std::io;
use std::sync::Arc;

use vhost::VhostBackend as _;
use vhost::vhost_user::VhostUserFrontend as _;
use vhost::vhost_user::message::{VhostUserHeaderFlag, VhostUserProtocolFeatures, VhostUserVirtioFeatures};

use crate::error::ConnectError;
use crate::link::Link;
use crate::options::Options;
use crate::session::Config;
use crate::window::Window;

/// VIRTIO_F_VERSION_1.
const VERSION_1: u64 = 1 << 32;
/// VHOST_USER_F_PROTOCOL_FEATURES.
pub(crate) const PROTOCOL_FEATURES: u64 = VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
/// VHOST_USER_PROTOCOL_F_SHMEM in the specification and in QEMU.
const SHMEM: VhostUserProtocolFeatures = VhostUserProtocolFeatures::from_bits_retain(1 << 22);
/// The number under which rust-vmm's crates had it first, and by which this one's front end knows it.
const SHMEM_AS_WAS: VhostUserProtocolFeatures = VhostUserProtocolFeatures::SHMEM;
/// What the queues of a file system device are at least: hiprio and one for requests.
const LEAST_QUEUES: u64 = 2;
/// The most queues: the protocol has eight bits for a queue's number.
const MOST_QUEUES: u64 = 256;
/// A window that is longer finds no place in an address space.
const LONGEST_WINDOW: u64 = 1 << 46;

/// What was agreed on.
#[derive(Debug)]
pub(crate) struct Agreed {
    /// What the back end offers, without the protocol's own bit.
    pub(crate) features: u64,
    pub(crate) queues: u16,
    pub(crate) config: Config,
    pub(crate) window: Option<Arc<Window>>,
    /// Whether the back end asks too, over a channel of its own.
    pub(crate) asks: bool,
    /// Whether requests are acknowledged.
    pub(crate) acknowledged: bool,
}

/// Agrees with a back end that offers these protocol features.
pub(crate) fn negotiate(link: &Link, offered: u64, options: &Options) -> Result<Agreed, ConnectError> {
    link.call("SET_OWNER", |frontend| frontend.set_owner())?;
    let features = link.call("GET_FEATURES", |frontend| frontend.get_features())?;
    for (bit, feature) in [(PROTOCOL_FEATURES, "VHOST_USER_F_PROTOCOL_FEATURES"), (VERSION_1, "VIRTIO_F_VERSION_1")] {
        if features & bit == 0 {
            return Err(ConnectError::Lacks { feature, offered: features });
        }
    }
    let accepted = accept(VhostUserProtocolFeatures::from_bits_retain(offered));
    let acknowledged = accepted.contains(VhostUserProtocolFeatures::REPLY_ACK);
    link.call("SET_PROTOCOL_FEATURES", |frontend| {
        frontend.set_protocol_features(accepted)?;
        if acknowledged {
            frontend.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
        }
        Ok(())
    })?;
    let queues = queues(link, accepted)?;
    let config = if accepted.contains(VhostUserProtocolFeatures::CONFIG) {
        Config::theirs(link, features)?
    } else {
        Config::ours(features, queues, &options.tag)
    };
    let window = window(link, accepted, options)?;
    let asks = accepted.contains(VhostUserProtocolFeatures::BACKEND_REQ);
    Ok(Agreed { features: features & !PROTOCOL_FEATURES, queues, config, window, asks, acknowledged })
}

/// What to accept of the protocol features that are offered.
fn accept(offered: VhostUserProtocolFeatures) -> VhostUserProtocolFeatures {
    // Not CONFIGURE_MEM_SLOTS: the memory never changes.
    let wanted = VhostUserProtocolFeatures::MQ
        | VhostUserProtocolFeatures::CONFIG
        | VhostUserProtocolFeatures::BACKEND_REQ
        | VhostUserProtocolFeatures::BACKEND_SEND_FD
        | VhostUserProtocolFeatures::REPLY_ACK
        | VhostUserProtocolFeatures::SHARED_OBJECT
        | SHMEM
        | SHMEM_AS_WAS;
    let mut accepted = offered & wanted;
    if accepted.contains(SHMEM) {
        // By this bit the front end knows the feature. To who gives it its present meaning it says that addresses in
        // messages are guest-physical, which they are.
        accepted |= SHMEM_AS_WAS;
    }
    accepted
}

/// How many queues there are.
fn queues(link: &Link, accepted: VhostUserProtocolFeatures) -> Result<u16, ConnectError> {
    if !accepted.contains(VhostUserProtocolFeatures::MQ) {
        return Ok(LEAST_QUEUES as u16);
    }
    let queues = link.call("GET_QUEUE_NUM", |frontend| frontend.get_queue_num())?;
    if queues < LEAST_QUEUES {
        return Err(ConnectError::TooFewQueues { queues });
    }
    Ok(queues.min(MOST_QUEUES) as u16)
}

/// The window that the back end has, reserved.
fn window(
    link: &Link,
    accepted: VhostUserProtocolFeatures,
    options: &Options,
) -> Result<Option<Arc<Window>>, ConnectError> {
    let needed = SHMEM_AS_WAS | VhostUserProtocolFeatures::BACKEND_REQ | VhostUserProtocolFeatures::BACKEND_SEND_FD;
    if !accepted.contains(needed) {
        log::info!("the back end offers no shared memory: there is no window");
        return Ok(None);
    }
    let config = link.call("GET_SHMEM_CONFIG", |frontend| frontend.get_shmem_config())?;
    let len = config.memory_sizes[0];
    if config.nregions == 0 || len == 0 {
        log::info!("the back end has no window");
        return Ok(None);
    }
    let refuse = |source: io::Error| ConnectError::Window { len, source };
    if len > LONGEST_WINDOW || !len.is_multiple_of(virtio_transport::PAGE_SIZE as u64) {
        return Err(refuse(io::ErrorKind::InvalidInput.into()));
    }
    Ok(Some(Arc::new(Window::new(len, options.unmapped).map_err(refuse)?)))
}
