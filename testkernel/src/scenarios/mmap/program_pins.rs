//! Pages that a program has pinned by their addresses.

use crate::{
    arch::{clock::Clock, smp},
    machine::Machine,
    memory::{LARGE_PAGE, PAGE, paging},
    mmap::set_patience,
    outcome::{Outcome, Stop, ensure},
    scenarios::steps::{
        host::wait_for_host,
        processors,
        views::{APART, BASE, MAP, MIB, World, expect_word, load, map, no_load, private, shared, store},
    },
};
use alloc::{format, sync::Arc};
use core::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use fs_dax::Errno;
use testkernel_protocol::{content::Content, share};
use virtio_fs::Config;

/// Where in the file the pinned page is.
const PINNED: u64 = 4 * MIB + 3 * PAGE;
/// Where another page is, of which the program has a copy.
const COPIED: u64 = 5 * MIB;
const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(60);

/// Machine: a window of 16 MiB, any number of processors. Share: `reclaim/big`. A page that a program has pinned stays where it
/// is while everything else is reclaimed, out of the page tables or not. To cut it off is refused with EBUSY when it stays
/// pinned, and then nothing has happened (sync `uncut`: says the host, too): private copies are there still. With another
/// processor that gives the pin up, the cut waits for that.
// Long: one scenario, in the order in which it happens.
pub(crate) fn pinned_by_a_program(machine: &Machine) -> Outcome {
    let count = processors::start(1)?;
    let world = World::new(machine, Config::default().window_timeout(LONG))?;
    let share::File { name, size } = share::BIG;
    let (file, big) = (world.open(MAP, true)?, world.open(name, false)?);
    let (content, at) = (Content::of(MAP), BASE + 2 * APART);
    map(&world.process, &shared(&file, BASE, 6 * MIB, true))?;
    map(&world.process, &private(&file, BASE + APART, 6 * MIB))?;
    map(&world.process, &shared(&big, at, size, false))?;
    store(BASE + APART + COPIED, 0xc0)?;
    expect_word(BASE + PINNED, content, PINNED)?;
    let pin =
        world.process.pin(BASE + PINNED).map_err(|errno| Stop::Fail(format!("the page is not pinned: {errno}")))?;
    let still_there = || {
        let found = paging::read_word(pin.phys());
        let expected = content.word(PINNED / 8);
        ensure!(found == Some(expected), "{:#x} has {found:x?}, not {expected:#x}", pin.phys());
        Ok(())
    };

    set_patience(SHORT);
    for _ in 0..3 {
        for chunk in (0..size).step_by(LARGE_PAGE as usize) {
            expect_word(at + chunk, Content::of(name), chunk)?;
            still_there()?;
        }
    }
    let window = world.fs.stats().window;
    let (aborted, removed) = (window.map_or(0, |stats| stats.removals_aborted), world.fs.stats().removed_mappings);
    ensure!(aborted > 0 && removed > size / LARGE_PAGE, "{aborted} removals were called off, {removed} were not");

    let cut = file.set_len(2 * MIB).map_err(|error| error.errno());
    ensure!(cut == Err(fuse_proto::Errno::EBUSY), "cutting off a pinned page gives {cut:?}");
    still_there()?;
    let length = file.len()?;
    ensure!(length == 6 * MIB, "a cut that was refused left {length} bytes");
    ensure!(load(BASE + APART + COPIED)? == 0xc0, "a cut that was refused took a private copy");
    expect_word(BASE + PINNED, content, PINNED)?;
    wait_for_host("uncut")?;

    set_patience(LONG);
    let released = Arc::new(AtomicBool::new(false));
    if count > 1 {
        let released = released.clone();
        smp::run_on(1, move || {
            // The cut waits meanwhile. Were it slower, this would prove less, and fail no more.
            Clock::spin(Duration::from_millis(300));
            released.store(true, Ordering::Release);
            drop(pin);
        });
    } else {
        released.store(true, Ordering::Release);
        drop(pin);
    }
    file.set_len(2 * MIB)?;
    ensure!(released.load(Ordering::Acquire), "a page was cut off while it was pinned");
    if count > 1 {
        processors::join(1, LONG)?;
    }
    for view in [BASE + PINNED, BASE + COPIED, BASE + APART + COPIED] {
        no_load(view, Errno::ERANGE)?;
    }
    expect_word(BASE + 2 * MIB - 8, content, 2 * MIB - 8)?;
    drop((file, big));
    world.finish()
}
