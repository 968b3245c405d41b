//! What a device is like, for a session: drawn once from its seed.

use std::time::Duration;

use fastrand::Rng;

use crate::lies::EDGES;
use crate::limits::SHORT;
use crate::server::Server;

/// Where an honest window lies, and how large it is.
pub(crate) const WINDOW: (u64, u64) = (0x100_0000_0000, 8 << 20);

const INDIRECT: u64 = 1 << 28;
const EVENT_IDX: u64 = 1 << 29;
const VERSION_1: u64 = 1 << 32;
const NOTIFICATION: u64 = 1;

/// See the module. Rates are of 1000.
#[derive(Debug)]
pub(crate) struct Character {
    pub(crate) device_id: u16,
    pub(crate) features: u64,
    pub(crate) config: Vec<u8>,
    pub(crate) window: Option<(u64, u64)>,
    /// The largest queue.
    pub(crate) queue_size: u32,
    /// How many reads of the status a reset takes; `u32::MAX`: all there are.
    pub(crate) reset_reads: u32,
    pub(crate) refuses_features: bool,
    /// Of registers that are read: how often one lies.
    pub(crate) register_lies: u16,
    /// Requests that are answered honestly at first.
    pub(crate) honest: u64,
    /// Answers that lie.
    pub(crate) lies: u16,
    /// Requests that are refused, kept for a while, and kept for good.
    pub(crate) refuses: u16,
    pub(crate) delays: u16,
    pub(crate) keeps: u16,
    /// Every answer takes so long, from this one on.
    pub(crate) slow: Option<Duration>,
    /// How often it writes over the memory that it shares, when nothing happens.
    pub(crate) scribbles: u16,
    /// READDIR never ends, READ and WRITE move this many bytes at most.
    pub(crate) endless: bool,
    pub(crate) most: Option<usize>,
    /// DMA memory runs out after so many blocks.
    pub(crate) blocks: Option<u32>,
}

/// A rate that is 0 in most sessions.
fn now_and_then(rng: &mut Rng, chance: u8, most: u16) -> u16 {
    if rng.u8(..100) < chance { rng.u16(1..=most) } else { 0 }
}

impl Character {
    /// Draws one.
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let odd = |rng: &mut Rng, chance: u8| rng.u8(..100) < chance;
        let mut features = VERSION_1;
        for (feature, chance) in [(INDIRECT, 70), (EVENT_IDX, 50), (NOTIFICATION, 30)] {
            features |= if odd(rng, chance) { feature } else { 0 };
        }
        if odd(rng, 2) {
            features = rng.u64(..);
        }
        let slow = [SHORT / 2, SHORT * 9 / 10, SHORT - Duration::from_micros(1), SHORT + Duration::from_millis(1)];
        Self {
            device_id: if odd(rng, 1) { rng.u16(..) } else { 26 },
            features,
            config: config(rng),
            window: window(rng),
            queue_size: if odd(rng, 5) { EDGES[rng.usize(..EDGES.len())] as u32 } else { 8 },
            reset_reads: if odd(rng, 10) { [1, 5, 100, u32::MAX][rng.usize(..4)] } else { 0 },
            refuses_features: odd(rng, 1),
            register_lies: now_and_then(rng, 5, 200),
            honest: rng.u64(..40),
            lies: now_and_then(rng, 75, 300),
            refuses: now_and_then(rng, 30, 200),
            delays: now_and_then(rng, 40, 400),
            keeps: now_and_then(rng, 30, 200),
            slow: if odd(rng, 15) { Some(slow[rng.usize(..slow.len())]) } else { None },
            scribbles: now_and_then(rng, 10, 300),
            endless: odd(rng, 5),
            most: if odd(rng, 8) { Some(rng.usize(1..64)) } else { None },
            blocks: if odd(rng, 3) { Some(rng.u32(..16)) } else { None },
        }
    }

    /// The server behind the device, honest as far as this goes.
    pub(crate) fn server(rng: &mut Rng) -> Server {
        let size = [0, 6, 4096, 10_000, 100_000, 3 << 20, 12 << 20, i64::MAX as u64][rng.usize(..8)];
        let mut server = Server::new(size, [0, 1, 1000, u64::MAX][rng.usize(..4)]);
        if rng.u8(..10) == 0 {
            server.flags = rng.u64(..);
        }
        if rng.u8(..10) == 0 {
            server.max_write = EDGES[rng.usize(..EDGES.len())] as u32;
        }
        if rng.u8(..20) == 0 {
            server.map_alignment = [0, 11, 13, 16, 21, 22, 40, 64, u16::MAX][rng.usize(..9)];
        }
        server
    }
}

/// Tag, number of request queues, size of notifications.
fn config(rng: &mut Rng) -> Vec<u8> {
    let mut config = vec![0; 36];
    config[..7].copy_from_slice(b"hostile");
    if rng.u8(..50) == 0 {
        rng.fill(&mut config);
    }
    let queues = match rng.u8(..20) {
        0 => 70_000,
        1 => EDGES[rng.usize(..EDGES.len())] as u32,
        _ => rng.u32(1..4),
    };
    let notification = match rng.u8(..10) {
        0 => 1 << 20,
        1 => EDGES[rng.usize(..EDGES.len())] as u32,
        _ => 4096,
    };
    config.extend(queues.to_le_bytes());
    config.extend(notification.to_le_bytes());
    if rng.u8(..50) == 0 {
        config.truncate(rng.usize(..44));
    }
    config
}

fn window(rng: &mut Rng) -> Option<(u64, u64)> {
    let (address, len) = WINDOW;
    match rng.u8(..30) {
        0..6 => None,
        6 => Some((address, 1 << 46)),
        7 => Some((address + rng.u64(1..4096), len)),
        8 => Some((address, len + rng.u64(1..4096))),
        9 => Some((EDGES[rng.usize(..EDGES.len())], EDGES[rng.usize(..EDGES.len())])),
        10 => Some((address, rng.u64(..8) << 20)),
        _ => Some((address, len)),
    }
}
