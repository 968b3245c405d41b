//! The mapper against a front end that ends the test at every request that QEMU would refuse or not survive, and
//! against what a guest is entitled to believe.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use virtiofsd_dax::mapper::{Mapper, Setup, SetupError};
use virtiofsd_dax::window::{FileKey, MapFile, Mapping, PAGE, Window, WindowError};

const WINDOW_PAGES: u64 = 24;
const FILES: usize = 3;

#[derive(Debug)]
struct FakeFile {
    id: usize,
    size: AtomicU64,
}

impl FakeFile {
    fn bytes(&self) -> u64 {
        self.size.load(Ordering::Relaxed)
    }
}

impl MapFile for FakeFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.bytes())
    }
}

/// A page of the window to a page of a file.
type Pages = BTreeMap<u64, (usize, u64)>;

/// QEMU, as `SHMEM_MAP` and `SHMEM_UNMAP` know it.
#[derive(Debug, Default)]
struct FakeQemu {
    /// Mappings: offset and length.
    mappings: BTreeMap<u64, u64>,
    /// What is mapped.
    pages: Pages,
    /// What the guest's processors see.
    visible: Pages,
    /// Which of the coming requests to refuse.
    refusals: Vec<bool>,
    /// Whether the device runs.
    stopped: bool,
    requests: usize,
}

impl FakeQemu {
    fn refuses(&mut self) -> Result<(), WindowError> {
        if self.stopped {
            return Err(WindowError::NotRunning);
        }
        self.requests += 1;
        match self.refusals.pop() {
            Some(true) => Err(WindowError::Refused),
            _ => Ok(()),
        }
    }
}

impl Window<FakeFile> for FakeQemu {
    fn map(&mut self, mapping: &Mapping<'_, FakeFile>) -> Result<(), WindowError> {
        let &Mapping { file, file_offset, window_offset, len, .. } = mapping;
        assert!(len > 0);
        assert!([file_offset, window_offset, len].iter().all(|bytes| bytes.is_multiple_of(PAGE)), "{mapping:?}");
        assert!(window_offset + len <= WINDOW_PAGES * PAGE, "outside the window: {mapping:?}");
        assert!(file.bytes() > 0, "an empty file would be enlarged: {mapping:?}");
        assert!(file_offset + len <= file.bytes(), "past the end of the file: {mapping:?}");
        for (&at, &other) in &self.mappings {
            assert!(at + other <= window_offset || window_offset + len <= at, "overlaps {at:#x}: {mapping:?}");
        }
        self.refuses()?;
        self.mappings.insert(window_offset, len);
        for page in 0..len / PAGE {
            self.pages.insert(window_offset / PAGE + page, (file.id, file_offset / PAGE + page));
        }
        Ok(())
    }

    fn unmap(&mut self, mapping: &Mapping<'_, FakeFile>) -> Result<(), WindowError> {
        let &Mapping { window_offset, len, .. } = mapping;
        if self.stopped {
            return Err(WindowError::NotRunning);
        }
        self.requests += 1;
        match self.mappings.remove(&window_offset) {
            // After a reset nothing is there.
            None => return Err(WindowError::Refused),
            Some(mapped) => assert_eq!(mapped, len, "not exact: {mapping:?}"),
        }
        for page in 0..len / PAGE {
            self.pages.remove(&(window_offset / PAGE + page));
        }
        Ok(())
    }

    fn barrier(&mut self) -> Result<(), WindowError> {
        if self.stopped {
            return Err(WindowError::NotRunning);
        }
        self.visible = self.pages.clone();
        Ok(())
    }
}

#[derive(Debug, Clone)]
enum Op {
    /// File, first page of it, first page of the window, pages; several come together.
    SetUp(Vec<(usize, u64, u64, u64)>),
    /// First page of the window, pages.
    Remove(u64, u64),
    /// The guest or the host gives a file this size.
    Resize(usize, u64),
    /// The guest's session ends.
    End,
    /// The guest resets the device without a word, and a session begins.
    Reset,
}

fn op() -> impl Strategy<Value = Op> {
    let setup = (0..FILES, 0..8u64, 0..WINDOW_PAGES + 2, 0..8u64);
    let size = prop_oneof![Just(0u64), (0..10u64).prop_map(|pages| pages * PAGE), 0..10 * PAGE];
    prop_oneof![
        8 => prop::collection::vec(setup, 1..4).prop_map(Op::SetUp),
        4 => (0..WINDOW_PAGES, 0..8u64).prop_map(|(at, len)| Op::Remove(at, len)),
        6 => (0..FILES, size).prop_map(|(file, size)| Op::Resize(file, size)),
        1 => Just(Op::End),
        1 => Just(Op::Reset),
    ]
}

struct World {
    files: Vec<Arc<FakeFile>>,
    qemu: FakeQemu,
    mapper: Mapper<FakeFile>,
    /// What was reported to the guest as mapped.
    believed: Pages,
    /// The sizes that the files were given.
    sizes: [u64; FILES],
    /// The sizes that the guest knows: a growth that it must not learn of leaves it at the old one.
    told: [u64; FILES],
}

fn key(file: usize) -> FileKey {
    FileKey { device: 1, inode: file as u64 + 100 }
}

impl World {
    fn new(sizes: [u64; FILES], limit: usize) -> Self {
        World {
            files: (0..FILES).map(|id| Arc::new(FakeFile { id, size: AtomicU64::new(sizes[id]) })).collect(),
            qemu: FakeQemu::default(),
            mapper: Mapper::new(WINDOW_PAGES * PAGE, limit),
            believed: Pages::new(),
            sizes,
            told: sizes,
        }
    }

    fn setup(&self, &(file, from, at, pages): &(usize, u64, u64, u64)) -> Setup<FakeFile> {
        Setup {
            node: file as u64 + 100,
            key: key(file),
            file: Arc::clone(&self.files[file]),
            file_offset: from * PAGE,
            window_offset: at * PAGE,
            len: pages * PAGE,
        }
    }

    // Long: one arm for each step of the model.
    fn apply(&mut self, op: &Op) {
        match op {
            Op::SetUp(all) => {
                let setups: Vec<_> = all.iter().map(|one| self.setup(one)).collect();
                let results = self.mapper.set_up(&mut self.qemu, &setups);
                assert_eq!(results.len(), setups.len());
                for (&(file, from, at, pages), result) in all.iter().zip(&results) {
                    for page in 0..pages {
                        match result {
                            Ok(()) => _ = self.believed.insert(at + page, (file, from + page)),
                            // What was there may be gone, and is not believed in.
                            Err(SetupError::Window(_)) => _ = self.believed.remove(&(at + page)),
                            Err(_) => {}
                        }
                    }
                }
                assert_eq!(self.qemu.visible, self.qemu.pages, "answered before the guest can see it");
            }
            &Op::Remove(at, pages) => {
                let result = self.mapper.remove(&mut self.qemu, &[(at * PAGE, pages * PAGE)]);
                assert_eq!(result.is_ok(), at + pages <= WINDOW_PAGES, "{result:?}");
                if result.is_ok() {
                    for page in at..at + pages {
                        self.believed.remove(&page);
                        assert!(!self.qemu.pages.contains_key(&page), "page {page} is still mapped");
                    }
                }
            }
            &Op::Resize(file, size) => {
                let shrinks = size < self.files[file].bytes();
                if shrinks {
                    let done = self.mapper.before_shrink(&mut self.qemu, key(file), size);
                    if done.is_err() {
                        self.mapper.after_shrink(key(file).inode);
                        return;
                    }
                    // A request that comes now maps nothing of what goes.
                    let _ = self.mapper.grown(&mut self.qemu, key(file));
                    let again = self.setup(&(file, 0, 0, 8));
                    let again = self.mapper.set_up(&mut self.qemu, &[again]).remove(0);
                    for page in 0..8 {
                        match again {
                            Ok(()) => _ = self.believed.insert(page, (file, page)),
                            Err(SetupError::Window(_)) => _ = self.believed.remove(&page),
                            Err(_) => {}
                        }
                    }
                    assert_eq!(self.qemu.visible, self.qemu.pages);
                    for (_, &(_, from)) in self.qemu.pages.iter().filter(|(_, (mapped, _))| *mapped == file) {
                        assert!(from * PAGE < size, "page {from} is mapped and goes");
                    }
                    assert_eq!(self.qemu.visible, self.qemu.pages, "the guest can still touch what goes");
                }
                self.files[file].size.store(size, Ordering::Relaxed);
                self.sizes[file] = size;
                if shrinks {
                    self.mapper.after_shrink(key(file).inode);
                }
                let grown = self.mapper.grown(&mut self.qemu, key(file));
                self.told[file] = if grown.is_ok() { size } else { size.min(self.told[file]) };
            }
            Op::End => {
                self.mapper.remove_all(&mut self.qemu).expect("nothing refuses a removal");
                self.believed.clear();
                assert!(self.qemu.mappings.is_empty());
                assert!(self.qemu.visible.is_empty());
                assert!(self.mapper.is_empty());
            }
            Op::Reset => {
                self.qemu.mappings.clear();
                self.qemu.pages.clear();
                self.qemu.visible.clear();
                self.apply(&Op::End);
            }
        }
    }

    /// What holds whatever was refused.
    fn check_safe(&self) {
        assert_eq!(self.mapper.live(), self.qemu.mappings.len());
        assert!(self.files.iter().map(|file| file.bytes()).eq(self.sizes), "a file was left longer");
        for (page, &(file, from)) in &self.qemu.pages {
            let size = self.files[file].bytes();
            assert!(from * PAGE < size, "page {page} shows page {from} of file {file} with {size} bytes: SIGBUS");
        }
    }

    /// What holds when nothing is refused: the guest is right.
    fn check_right(&self) {
        for (page, &(file, from)) in &self.believed {
            let size = self.files[file].bytes();
            let shown = self.qemu.pages.get(page).copied();
            let (must, may) = (from * PAGE < size.min(self.told[file]), from * PAGE < size);
            assert!(!must || shown.is_some(), "page {page}, file {file} with {size} bytes is not mapped");
            assert!(shown.is_none() || may && shown == Some((file, from)), "page {page}, file {file}: {shown:?}");
        }
        for page in self.qemu.pages.keys() {
            assert!(self.believed.contains_key(page), "page {page} is mapped and nobody asked for it");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_guest_is_always_right(sizes in prop::array::uniform3(0..10 * PAGE), ops in prop::collection::vec(op(), 1..40)) {
        let mut world = World::new(sizes, 1000);
        for op in &ops {
            world.apply(op);
            world.check_safe();
            world.check_right();
        }
    }

    #[test]
    fn a_front_end_that_refuses_is_never_misused(
        sizes in prop::array::uniform3(0..10 * PAGE),
        ops in prop::collection::vec(op(), 1..40),
        refusals in prop::collection::vec(any::<bool>(), 0..40),
        limit in 1..8usize,
    ) {
        let mut world = World::new(sizes, limit);
        world.qemu.refusals = refusals;
        for op in &ops {
            world.apply(op);
            world.check_safe();
        }
        world.apply(&Op::End);
        prop_assert_eq!(world.mapper.live(), 0);
    }
}

fn world(size: u64) -> World {
    World::new([size, 64 * PAGE, 0], 1000)
}

fn set_up(world: &mut World, from: u64, at: u64, pages: u64) -> Result<(), SetupError> {
    let setup = world.setup(&(0, from, at, pages));
    world.mapper.set_up(&mut world.qemu, &[setup]).remove(0)
}

#[test]
fn the_same_again_is_no_request() {
    let mut world = world(8 * PAGE);
    set_up(&mut world, 0, 0, 4).expect("inside the file");
    let before = world.qemu.requests;
    set_up(&mut world, 0, 0, 4).expect("the same");
    set_up(&mut world, 1, 1, 2).expect("a part of it");
    assert_eq!(world.qemu.requests, before);
    set_up(&mut world, 1, 0, 4).expect("another offset of the file");
    assert_eq!(world.qemu.requests, before + 2, "one removal, one mapping");
}

#[test]
fn what_cannot_be_mapped_is_an_error_and_changes_nothing() {
    let mut world = world(4 * PAGE + 1);
    set_up(&mut world, 0, 0, 4).expect("whole pages");
    for (from, at, pages) in [(0, 0, 5), (4, 0, 1), (5, 0, 1), (0, WINDOW_PAGES, 1), (0, 0, 0)] {
        let result = set_up(&mut world, from, at, pages);
        assert!(result.is_err(), "{from} {at} {pages}");
    }
    assert_eq!(world.qemu.mappings.len(), 1);
    let mut odd = world.setup(&(0, 0, 0, 1));
    odd.window_offset = 1;
    assert!(matches!(world.mapper.set_up(&mut world.qemu, &[odd]).remove(0), Err(SetupError::Unaligned { .. })));
    let mut far = world.setup(&(0, 0, 1, 1));
    far.len = u64::MAX - PAGE + 1;
    assert!(world.mapper.set_up(&mut world.qemu, &[far]).remove(0).is_err());
}

#[test]
fn a_range_past_the_end_of_a_whole_file_grows_with_it() {
    let mut world = world(2 * PAGE);
    set_up(&mut world, 0, 0, 8).expect("the file ends with a page");
    assert_eq!(world.qemu.visible.len(), 2);
    world.files[0].size.store(4 * PAGE, Ordering::Relaxed);
    world.mapper.grown(&mut world.qemu, key(0)).expect("nothing is refused");
    assert_eq!(world.qemu.visible.len(), 4, "whole pages");
    world.files[0].size.store(5 * PAGE + 5, Ordering::Relaxed);
    let grown = world.mapper.grown(&mut world.qemu, key(0));
    assert!(matches!(grown, Err(SetupError::OutsideFile { .. })), "its last page cannot be mapped: {grown:?}");
    assert_eq!(world.qemu.visible.len(), 5, "the whole pages are, and the guest does not learn of the rest");
    assert_eq!(world.files[0].bytes(), 5 * PAGE + 5);
}

#[test]
fn shrinking_removes_first_and_keeps_what_stays() {
    let mut world = world(8 * PAGE);
    set_up(&mut world, 0, 0, 8).expect("the whole file");
    world.mapper.before_shrink(&mut world.qemu, key(0), 2 * PAGE + 1).expect("nothing is refused");
    assert_eq!(world.qemu.visible.keys().copied().collect::<Vec<_>>(), [0, 1, 2]);
    world.files[0].size.store(2 * PAGE + 1, Ordering::Relaxed);
    world.mapper.after_shrink(key(0).inode);
    world.mapper.remove(&mut world.qemu, &[(0, PAGE)]).expect("a part of it");
    assert_eq!(world.qemu.pages.keys().copied().collect::<Vec<_>>(), [1, 2], "the last page, which ends the file, too");
    let mut world = self::world(8 * PAGE);
    set_up(&mut world, 0, 0, 8).expect("the whole file");
    world.mapper.before_shrink(&mut world.qemu, key(0), 2 * PAGE + 1).expect("nothing is refused");
    assert_eq!(world.files[0].bytes(), 8 * PAGE, "that is for the caller to change");
}

#[test]
fn a_removal_is_seen_before_a_file_shrinks() {
    let mut world = world(8 * PAGE);
    set_up(&mut world, 0, 0, 8).expect("the whole file");
    world.mapper.remove(&mut world.qemu, &[(0, 8 * PAGE)]).expect("it is there");
    world.mapper.before_shrink(&mut world.qemu, key(0), 0).expect("nothing is refused");
    assert!(world.qemu.visible.is_empty());
}

#[test]
fn removals_are_checked_before_any_is_done() {
    let mut world = world(8 * PAGE);
    set_up(&mut world, 0, 0, 4).expect("inside the file");
    for bad in [(1, PAGE), (0, 1), (WINDOW_PAGES * PAGE, PAGE), (PAGE, u64::MAX - 1), (u64::MAX - PAGE + 1, PAGE)] {
        let result = world.mapper.remove(&mut world.qemu, &[(0, PAGE), bad]);
        assert!(result.is_err(), "{bad:?}");
        assert_eq!(world.mapper.live(), 1, "{bad:?}");
    }
    world.mapper.remove(&mut world.qemu, &[(10 * PAGE, PAGE), (0, 0)]).expect("what is absent is removed");
    world.mapper.remove(&mut world.qemu, &[(0, u64::MAX)]).expect("all");
    assert_eq!(world.mapper.live(), 0);
}

#[test]
fn the_limit_holds() {
    let mut world = World::new([8 * PAGE, 8 * PAGE, 0], 2);
    set_up(&mut world, 0, 0, 1).expect("the first");
    set_up(&mut world, 1, 2, 1).expect("the second");
    assert!(matches!(set_up(&mut world, 2, 4, 1), Err(SetupError::TooMany(2))));
    set_up(&mut world, 3, 0, 1).expect("in place of the first");
}

#[test]
fn nothing_is_asked_of_a_stopped_device() {
    let mut world = world(8 * PAGE);
    set_up(&mut world, 0, 0, 4).expect("inside the file");
    world.qemu.stopped = true;
    assert!(matches!(set_up(&mut world, 0, 8, 1), Err(SetupError::Window(WindowError::NotRunning))));
    assert_eq!(world.mapper.remove_all(&mut world.qemu), Err(WindowError::NotRunning));
    assert!(world.mapper.before_shrink(&mut world.qemu, key(0), 0).is_err());
    assert_eq!(world.mapper.live(), 1, "it is not forgotten");
    world.qemu.stopped = false;
    world.mapper.remove_all(&mut world.qemu).expect("the device runs again");
    assert_eq!(world.mapper.live(), 0);
}
