//! Pages go when the file or the window wants them back.

use crate::{
    machine::Machine,
    memory::{LARGE_PAGE, PAGE},
    mmap::Process,
    outcome::{Outcome, ensure},
    scenarios::steps::views::{
        APART, BASE, MAP, MIB, OTHER, World, expect_faults, expect_page, expect_word, load, map, no_load, no_store,
        private, shared, store,
    },
};
use fs_dax::Errno;
use fuse_proto::FallocateMode;
use testkernel_protocol::{content::Content, share};
use virtio_fs::{Config, OpenOptions};

/// Machine: a window. Cutting a file takes exactly the pages behind its new end from every program, private copies too; what
/// is before it stays. A file that is opened to be cut to nothing loses all.
// Long: one scenario, in the order in which it happens.
pub(crate) fn truncate_unmaps(machine: &Machine) -> Outcome {
    let world = World::new(machine, Config::default())?;
    let file = world.open(MAP, true)?;
    let content = Content::of(MAP);
    let other = Process::new()?;
    let (mine, small) = (BASE + APART, BASE + 2 * APART + PAGE);
    for process in [&world.process, &other] {
        process.activate();
        map(process, &shared(&file, BASE, 6 * MIB, true))?;
        map(process, &private(&file, mine, 6 * MIB))?;
        map(process, &shared(&file, small, 6 * MIB, true))?;
        for offset in [0, 2 * MIB, 4 * MIB] {
            expect_word(BASE + offset, content, offset)?;
            expect_word(small + offset, content, offset)?;
            expect_word(small + offset + PAGE, content, offset + PAGE)?;
            store(mine + offset + 5 * PAGE, 0xc0)?;
        }
        // A copy in front of the new end.
        store(mine + 2 * MIB, 0xc1)?;
    }
    // Untouched by what follows.
    let bystander = world.open(OTHER, true)?;
    map(&world.process, &shared(&bystander, BASE + 3 * APART, 4 * MIB, true))?;
    world.process.activate();
    expect_word(BASE + 3 * APART + 2 * MIB, Content::of(OTHER), 2 * MIB)?;

    file.set_len(2 * MIB + PAGE)?;
    for process in [&world.process, &other] {
        expect_page(process, BASE, Some((LARGE_PAGE, false)))?;
        expect_page(process, small, Some((PAGE, false)))?;
        // The large page that the new end is in went as a whole.
        expect_page(process, BASE + 2 * MIB, None)?;
        for at in [BASE + 4 * MIB, small + 2 * MIB + PAGE, small + 4 * MIB, small + 4 * MIB + PAGE] {
            expect_page(process, at, None)?;
        }
        expect_page(process, mine + 5 * PAGE, Some((PAGE, true)))?;
        expect_page(process, mine + 2 * MIB, Some((PAGE, true)))?;
        expect_page(process, mine + 2 * MIB + 5 * PAGE, None)?;
        expect_page(process, mine + 4 * MIB + 5 * PAGE, None)?;
        process.activate();
        expect_word(BASE + 2 * MIB + 8, content, 2 * MIB + 8)?;
        expect_word(small + 2 * MIB, content, 2 * MIB)?;
        ensure!(load(mine + 2 * MIB)? == 0xc1, "a copy in front of the end is gone");
        for at in [BASE + 2 * MIB + PAGE, BASE + 4 * MIB, mine + 4 * MIB + 5 * PAGE, small + 6 * MIB - 8] {
            no_load(at, Errno::ERANGE)?;
        }
        no_store(small + 2 * MIB + PAGE, Errno::ERANGE)?;
    }
    expect_page(&world.process, BASE + 3 * APART + 2 * MIB, Some((LARGE_PAGE, false)))?;
    // Longer again: zeros, and no byte of what was there.
    file.set_len(6 * MIB)?;
    for at in [BASE + 4 * MIB, mine + 4 * MIB + 5 * PAGE, small + 2 * MIB + PAGE] {
        ensure!(load(at)? == 0, "what was cut off is back at {at:#x}");
    }
    drop(world.fs.open(MAP, OpenOptions::new().write(true).truncate(true))?);
    for process in [&world.process, &other] {
        process.activate();
        for at in [BASE, BASE + 2 * MIB, mine + 5 * PAGE, mine + 2 * MIB, small] {
            expect_page(process, at, None)?;
            no_load(at, Errno::ERANGE)?;
        }
    }
    world.process.activate();
    expect_page(&world.process, BASE + 3 * APART + 2 * MIB, Some((LARGE_PAGE, false)))?;
    other.end();
    drop((file, bystander));
    world.finish()
}

/// Machine: a window. Punching a hole takes exactly the pages in it from every program; they come back as zeros. Private
/// copies belong to their programs and stay.
pub(crate) fn punch_unmaps(machine: &Machine) -> Outcome {
    let world = World::new(machine, Config::default())?;
    let file = world.open(MAP, true)?;
    let content = Content::of(MAP);
    let (mine, small) = (BASE + APART, BASE + 2 * APART + PAGE);
    map(&world.process, &shared(&file, BASE, 6 * MIB, true))?;
    map(&world.process, &private(&file, mine, 6 * MIB))?;
    map(&world.process, &shared(&file, small, 6 * MIB, true))?;
    let hole = 2 * MIB + 8 * PAGE;
    for offset in [0, 2 * MIB, 4 * MIB] {
        expect_word(BASE + offset, content, offset)?;
    }
    for page in 7..=11 {
        expect_word(small + 2 * MIB + page * PAGE, content, 2 * MIB + page * PAGE)?;
    }
    store(small + hole, 1)?;
    store(mine + hole, 0xc0)?;
    expect_word(mine + hole + PAGE, content, hole + PAGE)?;
    file.allocate(FallocateMode::PUNCH_HOLE | FallocateMode::KEEP_SIZE, hole, 2 * PAGE)?;
    for (at, page) in [
        (BASE, Some((LARGE_PAGE, false))),
        (BASE + 2 * MIB, None),
        (BASE + 4 * MIB, Some((LARGE_PAGE, false))),
        (small + hole - PAGE, Some((PAGE, false))),
        (small + hole, None),
        (small + hole + PAGE, None),
        (small + hole + 2 * PAGE, Some((PAGE, false))),
        (mine + hole, Some((PAGE, true))),
        (mine + hole + PAGE, None),
    ] {
        expect_page(&world.process, at, page)?;
    }
    ensure!(load(mine + hole)? == 0xc0, "a private copy is gone");
    for at in [BASE + hole, BASE + hole + PAGE, small + hole, small + hole + PAGE, mine + hole + PAGE] {
        ensure!(load(at)? == 0, "the hole is not zero at {at:#x}");
    }
    for offset in [hole - 8, hole + 2 * PAGE] {
        expect_word(BASE + offset, content, offset)?;
    }
    drop(file);
    world.finish()
}

/// Machine: a window of 16 MiB. Share: `reclaim/big`, four times as long. All of it is mapped and touched: a range that is
/// wanted for other bytes leaves the page tables first. What was stored to it counts until the next fsync, which is sent.
pub(crate) fn reclaim_unmaps(machine: &Machine) -> Outcome {
    let share::File { name, size } = share::BIG;
    let world = World::new(machine, Config::default())?;
    let ranges = world.fs.window_region().map_or(0, |region| region.len()) / LARGE_PAGE;
    let file = world.open(name, true)?;
    let content = Content::of(name);
    map(&world.process, &shared(&file, BASE, size, true))?;
    store(BASE + 4096, content.word(512))?;
    let (mut huge, mut there) = (1, 0);
    for pass in 0..3 {
        there = 0;
        for chunk in (0..size).step_by(LARGE_PAGE as usize) {
            // A page that is in the page tables is no fault, any other is one.
            huge += u64::from(world.process.page_at(BASE + chunk).is_none());
            expect_word(BASE + chunk + 4096, content, chunk + 4096)?;
            expect_word(BASE + chunk + LARGE_PAGE - 8, content, chunk + LARGE_PAGE - 8)?;
            expect_faults(&world, huge, 0)?;
            there = world.process.pages() as u64;
            ensure!(there <= ranges, "pass {pass}: {there} pages are mapped through {ranges} ranges");
        }
    }
    ensure!(huge > 2 * size / LARGE_PAGE, "only {huge} faults, although the window is small");
    ensure!(
        world.tables.unmapped() + there == huge,
        "{} of {huge} pages were unmapped, {there} are there",
        world.tables.unmapped()
    );
    let (dirty, before) = (file.dirty_pages(), world.fs.stats().fsyncs);
    ensure!(dirty == 512, "{dirty} pages are dirty after their range was reclaimed, not 512");
    file.sync_data()?;
    let (dirty, sent) = (file.dirty_pages(), world.fs.stats().fsyncs - before);
    ensure!(dirty == 0 && sent == 1, "after an fsync {dirty} pages are dirty, and {sent} FSYNCs were sent");
    drop(file);
    world.finish()
}
