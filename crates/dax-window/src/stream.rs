//! What the window remembers of one open file: where it read last, and how regularly.

use crate::config::ReadAheadConfig;

/// The state of one open file (or one mapping of it): the driver keeps one each, starts with [`Stream::new`], and hands
/// it to every access. It tells sequential from random, makes small accesses to the same range one use of it, and finds
/// the last range again without a look-up. Using one for several files or losing one costs speed, never correctness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    file: u64,
    chunk: u64,
    /// The end of the last access in bytes.
    end: u64,
    /// The range that served it.
    pub(crate) hint: u32,
    /// Chunks from one to the next, when that was the same distance several times.
    stride: i64,
    /// How often.
    run: u16,
}

/// The chunk of a stream that has seen no access: no range is so small that a file has this one.
const NO_CHUNK: u64 = u64::MAX;

/// Whether a stream is in the middle of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Run {
    /// As far as is known it is not.
    #[default]
    None,
    /// From one chunk to the next.
    Sequential,
    /// From chunk to chunk, always the same distance.
    Strided,
}

/// What an access is to its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// It goes to another chunk than the last one.
    pub(crate) visit: bool,
    /// It continues a run.
    pub(crate) sequential: bool,
}

impl Stream {
    /// A file that was not read yet.
    pub const fn new() -> Self {
        Self { file: 0, chunk: NO_CHUNK, end: 0, hint: u32::MAX, stride: 0, run: 0 }
    }

    /// The length of the run, as far as it can be no accident: a stride other than 1 must show itself more often.
    fn believed(&self) -> u16 {
        if self.stride == 1 { self.run } else { self.run.saturating_sub(2) }
    }

    /// How many ranges to have set up ahead now: doubles with each step of the run, 0 when there is none.
    pub(crate) fn ahead(&self, config: &ReadAheadConfig) -> u32 {
        let believed = self.believed();
        if believed == 0 { 0 } else { (1u32 << (believed - 1).min(5)).min(config.max_ranges) }
    }

    /// The chunk `n` steps ahead of the present one.
    pub(crate) fn nth(&self, n: u32) -> Option<u64> {
        self.chunk.checked_add_signed(self.stride.checked_mul(i64::from(n))?)
    }

    /// What is known of a run, for [`crate::Hits::enter`].
    pub fn run(&self) -> Run {
        match (self.believed(), self.stride) {
            (0, _) => Run::None,
            (_, 1) => Run::Sequential,
            _ => Run::Strided,
        }
    }

    /// Takes note of an access that was not observed: where it ended, and in which chunk.
    pub(crate) fn catch_up(&mut self, file: u64, chunk: u64, end: u64) {
        if file != self.file || self.chunk == NO_CHUNK {
            return;
        }
        if chunk != self.chunk {
            *self = Self { chunk, stride: 1, run: 0, ..*self };
        }
        self.end = end;
    }

    #[inline]
    pub(crate) fn observe(&mut self, config: &ReadAheadConfig, file: u64, chunk: u64, offset: u64, len: u64) -> Step {
        if chunk == self.chunk && file == self.file {
            // Asking again, or going on within the chunk, neither proves nor disproves a run; jumping about does.
            let end = offset.saturating_add(len);
            if !self.is_near(config, offset, end) {
                self.run = 0;
            }
            self.end = end;
            return Step { visit: false, sequential: self.believed() > 0 };
        }
        self.move_on(config, file, chunk, offset, len)
    }

    /// Whether an access goes on where the last one ended. The same end again is the rest of the same request, or the
    /// same question.
    #[inline]
    fn is_near(&self, config: &ReadAheadConfig, offset: u64, end: u64) -> bool {
        end == self.end || offset.abs_diff(self.end) <= config.slack
    }

    /// The access goes to another chunk than the last one.
    #[inline]
    fn move_on(&mut self, config: &ReadAheadConfig, file: u64, chunk: u64, offset: u64, len: u64) -> Step {
        let end = offset.saturating_add(len);
        if file != self.file || self.chunk == NO_CHUNK {
            // A first access at the start of a file is most often the first of many.
            let hint = self.hint;
            *self = Self { file, chunk, end, hint, stride: 1, run: u16::from(offset == 0) };
            return Step { visit: true, sequential: offset == 0 };
        }
        let stride = chunk.wrapping_sub(self.chunk).cast_signed();
        let regular = if stride == 1 { self.is_near(config, offset, end) } else { stride == self.stride };
        self.run = if regular && stride == self.stride { self.run.saturating_add(1) } else { u16::from(regular) };
        self.stride = stride;
        self.chunk = chunk;
        self.end = end;
        Step { visit: true, sequential: self.believed() > 0 }
    }
}

impl Default for Stream {
    fn default() -> Self {
        Self::new()
    }
}
