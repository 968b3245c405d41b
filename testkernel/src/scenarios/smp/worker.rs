//! What one processor does in the stress: random operations, each checked.

use crate::{
    arch::{clock::Clock, smp, user},
    events,
    memory::{LARGE_PAGE, PAGE, paging::USER_START},
    mmap::{File, Process, ViewRequest},
    mount::Fs,
    outcome::{Outcome, Stop, ensure},
    scenarios::steps::{
        files,
        views::{MIB, map, private, shared},
    },
    watchdog,
};
use alloc::{format, sync::Arc, vec, vec::Vec};
use core::sync::atomic::{AtomicBool, Ordering};
use fs_dax::Errno;
use fuse_proto::FallocateMode;
use testkernel_protocol::{content::Content, share};

/// Bytes of the file in which each processor has pages of its own.
pub(crate) const OWN_SIZE: u64 = 32 * MIB;

/// Bytes of the file that is cut and punched, at most.
pub(crate) const CUT_SIZE: u64 = 12 * MIB;

/// Where the views are, in every program.
const BIG_AT: u64 = USER_START + (1 << 30);

const OWN_AT: u64 = USER_START + (2 << 30);

const CUT_AT: u64 = USER_START + (3 << 30);

/// One page off: its pages are small.
const CUT_SMALL_AT: u64 = USER_START + (4 << 30) + PAGE;

/// Views that come and go, one a processor.
const PASSING_AT: u64 = USER_START + (8 << 30);

/// What the processors share.
pub(super) struct Stage {
    pub(super) fs: Fs,
    /// Never changed.
    pub(super) big: Arc<File>,
    /// Page `n` belongs to processor `n % processors`.
    pub(super) own: Arc<File>,
    /// Cut, punched and stored to by everybody: a word is 0 or what [`cut_word`] says.
    pub(super) cut: Arc<File>,
    pub(super) processors: u64,
    pub(super) deadline: u64,
    pub(super) failed: AtomicBool,
}

impl Stage {
    /// Maps the files in a program.
    pub(super) fn map_files(&self, process: &Process) -> Outcome {
        map(process, &shared(&self.big, BIG_AT, share::BIG.size, false))?;
        map(process, &shared(&self.own, OWN_AT, OWN_SIZE, true))?;
        map(process, &shared(&self.cut, CUT_AT, CUT_SIZE, true))?;
        map(process, &shared(&self.cut, CUT_SMALL_AT, CUT_SIZE, true))?;
        Ok(())
    }
}

/// What was done, by kind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    kinds: [u64; KINDS.len()],
    /// Bytes that were read in some way and compared with what they must be.
    checked: u64,
}

/// An operation.
type Operation = fn(&mut Worker) -> Outcome;

/// The kinds of operations.
const KINDS: [(&str, Operation); 11] = [
    ("load", Worker::load),
    ("read", Worker::read),
    ("store own", Worker::store_own),
    ("write own", Worker::write_own),
    ("load own", Worker::load_own),
    ("touch cut", Worker::touch_cut),
    ("cut", Worker::cut),
    ("punch", Worker::punch),
    ("sync", Worker::sync),
    ("private", Worker::private),
    ("pin", Worker::pin),
];

/// How often each is chosen, of their sum.
const WEIGHTS: [u64; KINDS.len()] = [20, 10, 14, 5, 14, 20, 2, 2, 1, 3, 4];

impl Counts {
    /// Adds another processor's.
    pub(super) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.kinds.iter_mut().zip(other.kinds) {
            *mine += theirs;
        }
        self.checked += other.checked;
    }

    /// Tells the host.
    pub(super) fn tell(&self) {
        for ((name, _), count) in KINDS.iter().zip(self.kinds) {
            events::metric(&format!("stress {name}"), count, "1");
        }
        events::metric("stress operations", self.kinds.iter().sum(), "1");
        events::metric("stress bytes checked", self.checked, "bytes");
    }
}

/// A processor's part.
pub(super) struct Worker {
    stage: Arc<Stage>,
    process: Arc<Process>,
    number: u64,
    random: Content,
    drawn: u64,
    /// How often each of its pages was stored to.
    generations: Vec<u64>,
    pub(super) counts: Counts,
}

/// What a word of the file that is cut is, unless it is 0.
fn cut_word(offset: u64) -> u64 {
    Content::of("smp-cut").word(offset / 8) | 1
}

/// What a page of a processor's own holds in its first, a middle and its last words.
fn own_word(page: u64, generation: u64) -> u64 {
    if generation == 0 { 0 } else { Content::of("smp-own").word(page << 24 | generation) }
}

/// Where these words are in a page.
const PLACES: [u64; 3] = [0, 2048, PAGE - 8];

impl Worker {
    pub(super) fn new(stage: Arc<Stage>, process: Arc<Process>, number: u64) -> Self {
        let pages = (OWN_SIZE / PAGE / stage.processors) as usize;
        let random = Content::of(&format!("processor {number}"));
        Self { stage, process, number, random, drawn: 0, generations: vec![0; pages], counts: Counts::default() }
    }

    /// Works until the time is over or another one failed.
    pub(super) fn run(&mut self) -> Outcome {
        self.process.activate();
        let all: u64 = WEIGHTS.iter().sum();
        while Clock::now_ns() < self.stage.deadline && !self.stage.failed.load(Ordering::Acquire) {
            let mut chosen = self.draw(all);
            for (kind, weight) in WEIGHTS.iter().enumerate() {
                if chosen < *weight {
                    let (name, run) = KINDS[kind];
                    watchdog::doing(name);
                    run(self).map_err(|stop| match stop {
                        Stop::Fail(message) => Stop::Fail(format!("{name}: {message}")),
                        skip => skip,
                    })?;
                    self.counts.kinds[kind] += 1;
                    break;
                }
                chosen -= weight;
            }
            smp::attend();
        }
        Ok(())
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.drawn += 1;
        self.random.word(self.drawn) % below
    }

    fn draw_word(&mut self, below: u64) -> u64 {
        self.draw(below / 8) * 8
    }

    /// Loads from the large file.
    fn load(&mut self) -> Outcome {
        let share::File { name, size } = share::BIG;
        let mut words = [0; 8];
        let offset = self.draw_word(size - 64);
        user::load(BIG_AT + offset, &mut words).map_err(|errno| Stop::Fail(format!("at {offset:#x}: {errno}")))?;
        self.counts.checked += 64;
        check_words(name, Content::of(name), offset, &words)
    }

    /// Reads from the large file.
    fn read(&mut self) -> Outcome {
        let share::File { name, size } = share::BIG;
        let len = self.draw(20_000) + 1;
        let offset = self.draw(size - len);
        let mut buffer = vec![0; len as usize];
        self.stage.big.read_exact_at(&mut buffer, offset)?;
        self.counts.checked += len;
        files::check(name, Content::of(name), offset, &buffer)
    }

    /// A page of this processor's, and its index among them.
    fn draw_own(&mut self) -> (usize, u64) {
        let index = self.draw(self.generations.len() as u64);
        (index as usize, index * self.stage.processors + self.number)
    }

    fn store_own(&mut self) -> Outcome {
        let (index, page) = self.draw_own();
        self.generations[index] += 1;
        let word = own_word(page, self.generations[index]);
        for place in PLACES {
            user::store_word(OWN_AT + page * PAGE + place, word)
                .map_err(|errno| Stop::Fail(format!("page {page}: {errno}")))?;
        }
        Ok(())
    }

    fn write_own(&mut self) -> Outcome {
        let (index, page) = self.draw_own();
        self.generations[index] += 1;
        let word = own_word(page, self.generations[index]);
        for place in PLACES {
            self.stage.own.write_all_at(&word.to_le_bytes(), page * PAGE + place)?;
        }
        Ok(())
    }

    fn load_own(&mut self) -> Outcome {
        let (index, page) = self.draw_own();
        self.check_page(index, page, self.drawn.is_multiple_of(2))
    }

    fn check_page(&mut self, index: usize, page: u64, by_view: bool) -> Outcome {
        let expected = own_word(page, self.generations[index]);
        for place in PLACES {
            let offset = page * PAGE + place;
            let found = if by_view {
                user::load_word(OWN_AT + offset).map_err(|errno| Stop::Fail(format!("page {page}: {errno}")))?
            } else {
                let mut bytes = [0; 8];
                self.stage.own.read_exact_at(&mut bytes, offset)?;
                u64::from_le_bytes(bytes)
            };
            self.counts.checked += 8;
            ensure!(
                found == expected,
                "page {page} of processor {} has {found:#018x} at {place}, not {expected:#018x}, by_view {by_view}",
                self.number
            );
        }
        Ok(())
    }

    /// All pages of this processor's hold what was last stored; asked of the file itself.
    pub(super) fn check_own(&mut self) -> Outcome {
        (0..self.generations.len())
            .try_for_each(|index| self.check_page(index, index as u64 * self.stage.processors + self.number, false))
    }

    /// Stores to and loads from the file that is cut: a word, or a bus error.
    fn touch_cut(&mut self) -> Outcome {
        let offset = self.draw_word(CUT_SIZE);
        let at = if self.draw(2) == 0 { CUT_AT } else { CUT_SMALL_AT } + offset;
        if self.draw(2) == 0 {
            return match user::store_word(at, cut_word(offset)) {
                Ok(()) | Err(Errno::ERANGE) => Ok(()),
                Err(errno) => Err(Stop::Fail(format!("storing at {offset:#x}: {errno}"))),
            };
        }
        match user::load_word(at) {
            Ok(word) => {
                self.counts.checked += 8;
                ensure!(word == 0 || word == cut_word(offset), "{offset:#x} has {word:#018x}");
                Ok(())
            }
            Err(Errno::ERANGE) => Ok(()),
            Err(errno) => Err(Stop::Fail(format!("loading at {offset:#x}: {errno}"))),
        }
    }

    fn cut(&mut self) -> Outcome {
        let pages = self.draw(CUT_SIZE / PAGE);
        self.stage.cut.set_len(pages * PAGE)?;
        self.stage.cut.set_len(CUT_SIZE)?;
        Ok(())
    }

    fn punch(&mut self) -> Outcome {
        let offset = self.draw(CUT_SIZE / PAGE - 16) * PAGE;
        let len = (self.draw(16) + 1) * PAGE;
        self.stage.cut.allocate(FallocateMode::PUNCH_HOLE | FallocateMode::KEEP_SIZE, offset, len)?;
        Ok(())
    }

    fn sync(&mut self) -> Outcome {
        match self.draw(4) {
            0 => self.stage.own.sync_data()?,
            1 => self.stage.cut.sync_data()?,
            _ => {
                let offset = self.draw(OWN_SIZE);
                self.stage.own.sync_range(offset, 4 * LARGE_PAGE)?;
            }
        }
        self.stage.fs.reclaim_step()?;
        Ok(())
    }

    /// Maps a part of the large file for itself, stores to some pages, and checks them and their neighbours.
    fn private(&mut self) -> Outcome {
        let share::File { name, size } = share::BIG;
        let content = Content::of(name);
        let at = PASSING_AT + self.number * (1 << 30);
        let len = 4 * LARGE_PAGE;
        let offset = self.draw((size - len) / PAGE) * PAGE;
        let request = ViewRequest { offset, ..private(&self.stage.big, at, len) };
        let view = map(&self.process, &request)?;
        let fault = |errno: Errno| Stop::Fail(format!("{errno}"));
        let mut pages = vec![];
        for _ in 0..6 {
            let page = self.draw(len / PAGE);
            user::store_word(at + page * PAGE + 8, page + 1).map_err(fault)?;
            pages.push(page);
        }
        for page in pages {
            let mut words = [0; 3];
            user::load(at + page * PAGE, &mut words).map_err(fault)?;
            ensure!(words[1] == page + 1, "a copy of page {page} has {:#x}", words[1]);
            words[1] = content.word((offset + page * PAGE + 8) / 8);
            check_words(name, content, offset + page * PAGE, &words)?;
            self.counts.checked += 24;
            let other = self.draw_word(len - 8);
            if other % PAGE != 8 {
                let word = user::load_word(at + other).map_err(fault)?;
                self.counts.checked += 8;
                check_words(name, content, offset + other, &[word])?;
            }
        }
        self.process.unmap(&view);
        Ok(())
    }

    /// Pins a part of the large file for a while.
    fn pin(&mut self) -> Outcome {
        let share::File { name, size } = share::BIG;
        let offset = self.draw(size / PAGE) * PAGE;
        let pin = self.stage.big.pin(offset, PAGE as usize)?;
        let mut bytes = vec![0; PAGE as usize];
        for _ in 0..2 {
            pin.copy_to(0, &mut bytes);
            self.counts.checked += PAGE;
            files::check(name, Content::of(name), offset, &bytes)?;
            self.load()?;
        }
        Ok(())
    }
}

fn check_words(name: &str, content: Content, offset: u64, words: &[u64]) -> Outcome {
    for (index, word) in words.iter().enumerate() {
        let at = offset + 8 * index as u64;
        let expected = content.word(at / 8);
        ensure!(*word == expected, "{name}: the word at {at:#x} is {word:#018x}, not {expected:#018x}");
    }
    Ok(())
}
