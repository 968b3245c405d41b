//! Lies: about the answer to a request, and about the ring that it comes by.

use fastrand::Rng;

/// Numbers at which checks are wrong.
pub(crate) const EDGES: [u64; 16] = [
    0,
    1,
    7,
    63,
    4095,
    4096,
    0x7fff,
    0xffff,
    1 << 20,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    1 << 46,
    (1 << 63) - 1,
    1 << 63,
    u64::MAX,
];

/// What comes back for a request.
#[derive(Debug)]
pub(crate) struct Answer {
    /// What is written to the chain.
    pub(crate) bytes: Vec<u8>,
    /// Ids and lengths for the used ring.
    pub(crate) used: Vec<(u32, u32)>,
    /// How far the used index moves beyond that.
    pub(crate) leap: u16,
}

impl Answer {
    /// The answer that the header and the ring describe truthfully.
    pub(crate) fn new(head: u16, unique: u64, answer: Result<Vec<u8>, i32>) -> Self {
        let (error, body) = match answer {
            Ok(body) => (0, body),
            Err(errno) => (errno.wrapping_neg(), Vec::new()),
        };
        let len = 16 + body.len() as u32;
        let bytes = [&len.to_le_bytes()[..], &error.to_le_bytes(), &unique.to_le_bytes(), &body].concat();
        Self { used: vec![(head.into(), len)], bytes, leap: 0 }
    }

    fn set_len(&mut self) {
        let len = self.bytes.len() as u32;
        if let Some(first) = self.bytes.first_chunk_mut() {
            *first = len.to_le_bytes();
        }
        self.used[0].1 = len;
    }

    /// Whether it says that the request was carried out.
    pub(crate) fn is_success(&self) -> bool {
        self.bytes.get(4..8).is_some_and(|error| error == [0; 4])
    }

    /// Tells a lie.
    pub(crate) fn lie(&mut self, rng: &mut Rng) {
        let len = self.bytes.len();
        // Without a reply there is the ring to lie about.
        let kinds = if len < 16 { 14..20 } else { 0..20 };
        match rng.u8(kinds) {
            // Some field of the body: numbers are aligned.
            0..8 if len > 16 => {
                for _ in 0..rng.usize(1..4) {
                    self.spoil_field(rng);
                }
            }
            8..10 if len > 16 => {
                let at = rng.usize(16..len);
                self.bytes[at] ^= 1 << rng.u8(..8);
            }
            // The header.
            10 => {
                let at = rng.usize(..16);
                self.bytes[at] = rng.u8(..);
            }
            // Another error, or none that there is.
            11 => {
                let error = [-1, -4, -11, -38, -95, -4095, -4096, 1, i32::MIN][rng.usize(..9)];
                self.bytes.truncate(16);
                self.bytes[4..8].copy_from_slice(&error.to_le_bytes());
                self.set_len();
            }
            // Another length, with a header that agrees, and one that doesn't.
            12..14 => {
                self.bytes.resize(rng.usize(..len + 64), rng.u8(..));
                self.set_len();
            }
            14 => self.used[0].1 = EDGES[rng.usize(..EDGES.len())] as u32,
            15 => self.used[0].1 = rng.u32(..8192),
            16 => self.used[0].0 = if rng.bool() { rng.u32(..) } else { rng.u32(..64) },
            17 => self.used.push(self.used[0]),
            18 => self.leap = if rng.bool() { rng.u16(..) } else { rng.u16(1..4) },
            _ => self.used.clear(),
        }
    }

    fn spoil_field(&mut self, rng: &mut Rng) {
        let len = self.bytes.len();
        let width = if rng.bool() { 4 } else { 8 };
        let at = 16 + rng.usize(..len - 16) / 4 * 4;
        let value = match rng.u8(..4) {
            0 => rng.u64(..),
            1 => rng.u64(..10_000),
            _ => EDGES[rng.usize(..EDGES.len())],
        };
        let end = len.min(at + width);
        self.bytes[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
    }
}
