//! Pages become writable one store at a time.

use crate::{
    machine::Machine,
    memory::{LARGE_PAGE, PAGE},
    mmap::{Process, ViewRequest},
    outcome::{Outcome, ensure},
    scenarios::steps::{
        host::wait_for_host,
        views::{
            APART, BASE, MAP, MIB, OTHER, World, expect_faults, expect_page, expect_word, load, map, private, shared,
            store,
        },
    },
};
use testkernel_protocol::content::Content;
use virtio_fs::Config;

/// Machine: a window. A page that was read is not writable; the first store is a fault of its own and makes it dirty, a
/// second one is none. Sync `stored`: the host has the stores. What is synchronised is clean and faults again.
pub(crate) fn write_fault_marks_dirty(machine: &Machine) -> Outcome {
    let world = World::new(machine, Config::default())?;
    let file = world.open(OTHER, true)?;
    let content = Content::of(OTHER);
    // The first 2 MiB in a large page, the second in small ones.
    map(&world.process, &shared(&file, BASE, 2 * MIB, true))?;
    let small = BASE + APART + PAGE;
    map(&world.process, &ViewRequest { offset: 2 * MIB, ..shared(&file, small, 2 * MIB, true) })?;
    expect_word(BASE + 8, content, 8)?;
    expect_word(small + 5 * PAGE, content, 2 * MIB + 5 * PAGE)?;
    expect_page(&world.process, BASE, Some((LARGE_PAGE, false)))?;
    expect_page(&world.process, small + 5 * PAGE, Some((PAGE, false)))?;
    expect_faults(&world, 1, 1)?;
    ensure!(file.dirty_pages() == 0, "{} pages are dirty that were only read", file.dirty_pages());

    for round in 0..2_u64 {
        store(small + 5 * PAGE + 8, 0x1111 + round)?;
        ensure!(file.dirty_pages() == 1, "{} pages are dirty after a store to one", file.dirty_pages());
        store(small + 9 * PAGE, 0x2222 + round)?;
        ensure!(file.dirty_pages() == 2, "{} pages are dirty after stores to two", file.dirty_pages());
        store(BASE + 4096, 0x3333 + round)?;
        let dirty = file.dirty_pages();
        ensure!(dirty == 514, "{dirty} pages are dirty after a store to a large page and two small ones");
        expect_page(&world.process, BASE, Some((LARGE_PAGE, true)))?;
        expect_faults(&world, 2 + round, 3 + 2 * round)?;
        // The same pages once more: no fault.
        store(small + 5 * PAGE + 16, 0x4444 + round)?;
        store(BASE + 2 * MIB - 8, 0x5555 + round)?;
        expect_faults(&world, 2 + round, 3 + 2 * round)?;
        file.sync_data()?;
        ensure!(file.dirty_pages() == 0, "{} pages are dirty after a sync", file.dirty_pages());
        expect_page(&world.process, BASE, Some((LARGE_PAGE, false)))?;
        expect_page(&world.process, small + 9 * PAGE, Some((PAGE, false)))?;
        expect_page(&world.process, small + 7 * PAGE, None)?;
    }
    wait_for_host("stored")?;
    drop(file);
    world.finish()
}

/// Machine: a window. Stores to a private view go to copies of pages: the file, a shared view and another program's private
/// view do not see them. Sync `untouched`: neither does the host.
pub(crate) fn private_cow(machine: &Machine) -> Outcome {
    let world = World::new(machine, Config::default())?;
    let file = world.open(MAP, true)?;
    let content = Content::of(MAP);
    let other = Process::new()?;
    let public = BASE + APART;
    for process in [&world.process, &other] {
        map(process, &private(&file, BASE, 6 * MIB))?;
    }
    map(&world.process, &shared(&file, public, 6 * MIB, true))?;
    // One page that was read before, in a large page, and one that was not.
    expect_word(BASE, content, 0)?;
    expect_page(&world.process, BASE, Some((LARGE_PAGE, false)))?;
    let (read, unread) = (BASE + 3 * PAGE, BASE + 2 * MIB + 7 * PAGE);
    for at in [read, unread] {
        store(at, 0xc0)?;
        expect_page(&world.process, at, Some((PAGE, true)))?;
        ensure!(world.process.owns_page_at(at), "the page at {at:#x} is no copy");
        ensure!(load(at)? == 0xc0, "the copy does not hold what was stored");
        expect_word(at + 8, content, at + 8 - BASE)?;
        expect_word(public + (at - BASE), content, at - BASE)?;
    }
    ensure!(world.process.counts().copied == 2, "{} pages were copied, not 2", world.process.counts().copied);
    // Bypass the copies everything is the file's, in small pages.
    expect_word(BASE, content, 0)?;
    expect_page(&world.process, BASE, Some((PAGE, false)))?;
    // What the file gets shows in pages that were not copied, and in no other.
    store(public + 3 * PAGE + 8, 0xf1)?;
    store(public + 4 * PAGE, 0xf2)?;
    expect_word(read + 8, content, 3 * PAGE + 8)?;
    ensure!(load(BASE + 4 * PAGE)? == 0xf2, "the private view does not show the file's page");
    other.activate();
    expect_word(read, content, read - BASE)?;
    ensure!(load(read + 8)? == 0xf1, "the other program does not see what the file got");
    store(read, 0xd0)?;
    world.process.activate();
    ensure!(load(read)? == 0xc0, "a program sees the other one's copy");
    ensure!(file.dirty_pages() == 512, "{} pages are dirty, not those of the large page", file.dirty_pages());
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, 3 * PAGE)?;
    ensure!(u64::from_le_bytes(bytes) == content.word(3 * PAGE / 8), "a private store reached the file");
    wait_for_host("untouched")?;
    other.end();
    drop(file);
    world.finish()
}
