//! What each contender must do, and this crate doing it.

use std::hint::black_box;

use dax_window::{Access, Config, FileKey, HostRules, Outcome, Request, Stream, Window};

/// Bytes of a range.
pub(crate) const RANGE: u64 = 2 << 20;
/// How many ranges the windows have.
pub(crate) const SIZES: [u64; 3] = [32, 512, 65536];
/// Files that the ranges belong to.
pub(crate) const INODES: u64 = 8;

/// Every chunk once, in a fixed disorder.
pub(crate) fn shuffled(n: u64) -> Vec<(u64, u64)> {
    let mut keys: Vec<(u64, u64)> = (0..n).map(|i| (i % INODES, i / INODES)).collect();
    let mut state = 0x2545_f491_4f6c_dd1du64;
    for i in (1..keys.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        keys.swap(i, (state % (i as u64 + 1)) as usize);
    }
    keys
}

/// What each contender can do. Byte offsets go in, window offsets come out.
pub(crate) trait Contender {
    fn new(ranges: u64) -> Self;
    /// Finds, takes a reference, gives it back.
    fn hit(&mut self, file: u64, offset: u64) -> u64;
    /// A chunk that is not there, into a free range.
    fn map(&mut self, file: u64, offset: u64) -> u64;
    /// A chunk that is not there, into a range that another must leave.
    fn evict_and_map(&mut self, file: u64, offset: u64) -> u64;
}

/// This crate's window, on a host that replaces mappings or on one that refuses to.
pub(crate) struct Ours<const REPLACES: bool> {
    window: Window,
    /// One for each open file.
    streams: [Stream; INODES as usize],
}

impl<const REPLACES: bool> Contender for Ours<REPLACES> {
    fn new(ranges: u64) -> Self {
        let mut config = Config::new(ranges * RANGE);
        config.host = if REPLACES { HostRules::REPLACING } else { HostRules::STRICT };
        config.guard = None;
        // The others neither read ahead nor remove in batches.
        config.read_ahead.max_ranges = 0;
        config.max_batch = 1;
        Self { window: Window::on_heap(config).unwrap(), streams: [Stream::new(); INODES as usize] }
    }

    fn hit(&mut self, file: u64, offset: u64) -> u64 {
        let req = Request::read(FileKey(file), offset, 4096, u64::MAX);
        let Some(hold) = self.window.hit(&mut self.streams[file as usize], &req) else { panic!("no hit") };
        let hold = black_box(hold);
        let at = hold.window_offset().0;
        self.window.release(hold);
        at
    }

    fn map(&mut self, file: u64, offset: u64) -> u64 {
        let req = Request::read(FileKey(file), offset, 4096, u64::MAX);
        let stream = &mut self.streams[file as usize];
        let Access::Setup(mut ticket) = self.window.access(stream, &req) else { panic!("no set-up") };
        let hold = self.window.report_setup(&mut ticket, 0, Outcome::Done).unwrap();
        let at = hold.window_offset().0;
        self.window.release(hold);
        at
    }

    fn evict_and_map(&mut self, file: u64, offset: u64) -> u64 {
        // Where the host replaces mappings, the set-up takes the place of another by itself.
        if !REPLACES {
            let req = Request::read(FileKey(file), offset, 4096, u64::MAX);
            let stream = &mut self.streams[file as usize];
            let Access::Evict(ticket) = self.window.access(stream, &req) else { panic!("no eviction") };
            self.window.complete_remove(ticket, Outcome::Done);
        }
        self.map(file, offset)
    }
}

/// A contender with every chunk mapped.
pub(crate) fn filled<C: Contender>(n: u64, keys: &[(u64, u64)]) -> C {
    let mut contender = C::new(n);
    for (file, chunk) in keys {
        contender.map(*file, chunk * RANGE);
    }
    contender
}
