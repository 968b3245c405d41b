//! The header of the log.

use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::crc::{check_crc, crc};
use super::format::LOG_HEADER_LEN;
use super::superblock::Superblock;
use crate::Flaw;

const MAGIC: u64 = 0xbad_cafe_f00d;

/// How many bytes the checksum covers.
const COVERED: usize = 24;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw {
    magic: U64,
    len: U64,
    last_index: U64,
    crc: U64,
    next_seqnum: U64,
    next_index: U64,
}

const _: () = assert!(size_of::<Raw>() == LOG_HEADER_LEN);

/// The header of a log, checked against the superblock it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogHeader {
    /// How many entries are published. Not covered by the checksum; not limited to the number of slots.
    pub next_index: u64,
    /// The sequence number of the next entry: `next_index`, or one more while an append is under way. Not covered by
    /// the checksum.
    pub next_seqnum: u64,
}

impl LogHeader {
    /// Checks the header in `bytes`.
    ///
    /// # Errors
    /// The first [`Flaw`], in this order: magic, crc, len, last_index. The counters are not judged:
    /// [`check_counters`](Self::check_counters) does that.
    pub fn parse(bytes: &[u8; LOG_HEADER_LEN], superblock: &Superblock) -> Result<Self, Flaw> {
        let raw: &Raw = zerocopy::transmute_ref!(bytes);
        if raw.magic.get() != MAGIC {
            return Err(Flaw::Magic { found: raw.magic.get() });
        }
        check_crc(&bytes[..COVERED], raw.crc.get())?;
        let (found, expected) = (raw.len.get(), superblock.log_len);
        if found != expected {
            return Err(Flaw::Len { found, expected });
        }
        let found = raw.last_index.get();
        match superblock.format.last_index(superblock.log_len) {
            Some(expected) if expected == found => {}
            expected => return Err(Flaw::LastIndex { found, expected: expected.unwrap_or(0) }),
        }
        Ok(Self { next_index: raw.next_index.get(), next_seqnum: raw.next_seqnum.get() })
    }

    /// What is wrong with the counters; replay goes on all the same, up to [`published`](Self::published).
    pub fn check_counters(&self, slots: u64) -> impl Iterator<Item = Flaw> + use<> {
        let Self { next_index, next_seqnum } = *self;
        let differ = (next_seqnum != next_index).then_some(Flaw::NextSeqnum { seqnum: next_seqnum, index: next_index });
        let beyond = (next_index > slots).then_some(Flaw::NextIndex { found: next_index, slots });
        differ.into_iter().chain(beyond)
    }

    /// How many entries may be read: what is published, at most the `slots` that there are.
    #[must_use]
    pub fn published(&self, slots: u64) -> u64 {
        self.next_index.min(slots)
    }

    /// The header of an empty log, as it is on the medium.
    #[must_use]
    pub fn encode_empty(superblock: &Superblock) -> [u8; LOG_HEADER_LEN] {
        let mut raw = Raw {
            magic: MAGIC.into(),
            len: superblock.log_len.into(),
            last_index: superblock.format.last_index(superblock.log_len).unwrap_or(0).into(),
            crc: U64::ZERO,
            next_seqnum: U64::ZERO,
            next_index: U64::ZERO,
        };
        raw.crc = crc(&raw.as_bytes()[..COVERED]).into();
        zerocopy::transmute!(raw)
    }
}
