//! Pages that are damaged, as a machine check reports them.

use crate::{
    machine::Machine,
    memory::PAGE,
    mmap::Process,
    outcome::{Outcome, ensure},
    scenarios::steps::{
        host::wait_for_host,
        views::{APART, BASE, MAP, MIB, OTHER, World, expect_page, expect_word, load, map, no_load, no_store, shared},
    },
};
use alloc::vec;
use fs_dax::{Errno, FileRange};
use testkernel_protocol::content::Content;
use virtio_fs::Config;

/// The page that is lost.
const LOST: u64 = 2 * MIB + 9 * PAGE;

/// Machine: a window. Memory of the window under one page of a file is lost, of which the kernel knows the address. From then on
/// that page is a bus error with EIO in every program and EIO for reads and parts of a write; all other pages, of this
/// file and of another, are as they were. Written as a whole, it is whole again. Sync `replaced`: the host has
/// `dax/map#2` in its place.
pub(crate) fn damaged_page(machine: &Machine) -> Outcome {
    let world = World::new(machine, Config::default())?;
    let (file, other) = (world.open(MAP, true)?, world.open(OTHER, true)?);
    let second = Process::new()?;
    // In small pages, then in large ones.
    let (small, large) = (BASE + PAGE, BASE + APART);
    for process in [&world.process, &second] {
        process.activate();
        map(process, &shared(&file, small, 6 * MIB, true))?;
        map(process, &shared(&file, large, 6 * MIB, true))?;
        map(process, &shared(&other, BASE + 2 * APART, 4 * MIB, true))?;
        for at in [LOST - PAGE, LOST, LOST + PAGE] {
            expect_word(small + at, Content::of(MAP), at)?;
            expect_word(large + at, Content::of(MAP), at)?;
        }
        expect_word(BASE + 2 * APART, Content::of(OTHER), 0)?;
    }
    let address = file.map(LOST, 8)?.phys_addr();
    let hit = world.fs.mark_memory_damaged(address + 100, 1);
    ensure!(hit.len() == 1 && hit[0].0.key() == file.key(), "{} files have this address", hit.len());
    ensure!(hit[0].1 == FileRange::between(LOST + 100, LOST + 101), "the address is byte {:?}", hit[0].1);
    drop(hit);
    for process in [&second, &world.process] {
        process.activate();
        for base in [small, large] {
            expect_page(process, base + LOST, None)?;
            no_load(base + LOST, Errno::EIO)?;
            no_store(base + LOST + 8, Errno::EIO)?;
            for at in [0, LOST - PAGE, LOST + PAGE, 4 * MIB] {
                expect_word(base + at, Content::of(MAP), at)?;
            }
        }
        expect_word(BASE + 2 * APART, Content::of(OTHER), 0)?;
    }
    let eio = |result: Result<usize, virtio_fs::Error>| {
        let errno = result.as_ref().map_err(virtio_fs::Error::errno);
        ensure!(errno == Err(fuse_proto::Errno::EIO), "an operation on a damaged page gives {result:?}");
        Ok(())
    };
    let mut bytes = vec![0; 2 * PAGE as usize];
    eio(file.read_at(&mut bytes, LOST))?;
    eio(file.write_at(&[0; 8], LOST))?;
    eio(file.map(LOST, 8).map(|view| view.len()))?;
    ensure!(file.read_at(&mut bytes, LOST - PAGE)? == PAGE as usize, "a read does not end before the page");
    eio(file.sync_all().map(|()| 0))?;
    file.sync_all()?;

    file.write_all_at(&Content::of("dax/map#2").bytes(0, PAGE as usize), LOST)?;
    ensure!(file.damaged().is_empty(), "{:?} are damaged still", file.damaged());
    for process in [&second, &world.process] {
        process.activate();
        expect_word(small + LOST + 8, Content::of("dax/map#2"), 8)?;
        ensure!(load(large + LOST + PAGE)? == Content::of(MAP).word((LOST + PAGE) / 8), "the next page is another");
    }
    wait_for_host("replaced")?;
    second.end();
    drop((file, other));
    world.finish()
}
