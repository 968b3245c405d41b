//! Files on memory that has failed.

use crate::{
    machine::Machine,
    memory::LARGE_PAGE,
    mmap::Process,
    outcome::{Outcome, ensure},
    scenarios::steps::views::{
        APART, BASE, MAP, MIB, OTHER, World, expect_page, expect_word, map, no_load, no_store, shared,
    },
};
use fs_dax::Errno;
use testkernel_protocol::content::Content;
use virtio_fs::Config;

/// Machine: a window. A file that is marked failed gives bus errors and EIO in every program from then on, and another file
/// does not; then the whole file system is.
pub(crate) fn failed_file(machine: &Machine) -> Outcome {
    let world = World::new(machine, Config::default())?;
    let (file, other) = (world.open(MAP, true)?, world.open(OTHER, true)?);
    let second = Process::new()?;
    for process in [&world.process, &second] {
        process.activate();
        map(process, &shared(&file, BASE, 6 * MIB, true))?;
        map(process, &shared(&other, BASE + APART, 4 * MIB, true))?;
        expect_word(BASE, Content::of(MAP), 0)?;
        expect_word(BASE + APART, Content::of(OTHER), 0)?;
    }
    world.fs.lookup(MAP)?.mark_failed();
    for process in [&second, &world.process] {
        process.activate();
        expect_page(process, BASE, None)?;
        no_load(BASE, Errno::EIO)?;
        no_store(BASE + 2 * MIB, Errno::EIO)?;
        expect_page(process, BASE + APART, Some((LARGE_PAGE, false)))?;
        expect_word(BASE + APART + 2 * MIB, Content::of(OTHER), 2 * MIB)?;
    }
    let mut byte = [0];
    for result in [file.read_at(&mut byte, 0), file.write_at(&byte, 0), file.map(0, 1).map(|map| map.len())] {
        let errno = result.as_ref().map_err(virtio_fs::Error::errno);
        ensure!(errno == Err(fuse_proto::Errno::EIO), "an operation on a failed file gives {result:?}");
    }
    other.read_exact_at(&mut byte, 0)?;
    world.fs.mark_failed();
    for process in [&second, &world.process] {
        process.activate();
        expect_page(process, BASE + APART, None)?;
        no_load(BASE + APART, Errno::EIO)?;
        no_store(BASE + APART, Errno::EIO)?;
    }
    let result = other.read_at(&mut byte, 0);
    let errno = result.as_ref().map_err(virtio_fs::Error::errno);
    ensure!(errno == Err(fuse_proto::Errno::EIO), "reading on a failed file system gives {result:?}");
    second.end();
    drop((file, other));
    world.finish()
}
