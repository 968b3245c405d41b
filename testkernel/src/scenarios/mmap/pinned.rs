//! Pages that are pinned are neither cut nor reclaimed.

use crate::{
    arch::clock::Clock,
    events,
    machine::Machine,
    memory::LARGE_PAGE,
    outcome::{Outcome, ensure},
    scenarios::steps::{
        files,
        views::{BASE, World, expect_page, expect_word, map, shared},
    },
};
use alloc::vec::Vec;
use core::time::Duration;
use fs_dax::{Area, Fault, FaultAccess, FaultOutcome, Sharing, SyncMode, VirtAddr, Wanted};
use testkernel_protocol::{content::Content, share};
use virtio_fs::Config;

/// Machine: a window of 16 MiB. Share: `reclaim/big`. A pinned range stays where it is, whatever else is wanted.
pub(crate) fn pinned_range_is_skipped(machine: &Machine) -> Outcome {
    let share::File { name, size } = share::BIG;
    let world = World::new(machine, Config::default())?;
    let file = world.open(name, true)?;
    let content = Content::of(name);
    map(&world.process, &shared(&file, BASE, size, true))?;
    let chunk = 5 * LARGE_PAGE;
    expect_word(BASE + chunk, content, chunk)?;
    let pin = file.pin(chunk + 8192, 4096)?;
    for pass in 0..2 {
        for offset in (0..size).step_by(LARGE_PAGE as usize) {
            expect_word(BASE + offset, content, offset)?;
            expect_page(&world.process, BASE + chunk, Some((LARGE_PAGE, false)))?;
        }
        let mut bytes = [0; 4096];
        pin.copy_to(0, &mut bytes);
        files::check(name, content, chunk + 8192, &bytes)?;
        ensure!(world.tables.unmapped() > 0, "pass {pass}: nothing was reclaimed");
    }
    drop(pin);
    for offset in (0..size).step_by(LARGE_PAGE as usize).chain((6 * LARGE_PAGE..size).step_by(LARGE_PAGE as usize)) {
        expect_word(BASE + offset, content, offset)?;
    }
    expect_page(&world.process, BASE + chunk, None)?;
    drop(file);
    world.finish()
}

/// Machine: a window of 16 MiB. Share: `reclaim/big`. With every range pinned a fault ends in a bus error with EAGAIN before
/// its deadline; with one pin less it is answered.
pub(crate) fn all_pinned_times_out(machine: &Machine) -> Outcome {
    const PATIENCE: Duration = Duration::from_millis(300);
    let share::File { name, size } = share::BIG;
    let world = World::new(machine, Config::default().window_timeout(PATIENCE))?;
    let ranges = world.fs.window_region().map_or(0, |region| region.len()) / LARGE_PAGE;
    let file = world.open(name, true)?;
    let content = Content::of(name);
    map(&world.process, &shared(&file, BASE, size, true))?;
    let mut pins: Vec<_> = (0..ranges).map(|range| file.pin(range * LARGE_PAGE, 4096)).collect::<Result<_, _>>()?;
    let begin = Clock::now_ns();
    let waits = world.fs.stats().window_waits;
    let next = ranges * LARGE_PAGE;
    for access in [FaultAccess::Read, FaultAccess::Write] {
        // Nothing is wrong with the program: its fault is tried again, and each try ends.
        let fault = Fault {
            area: Area::new(VirtAddr(BASE), size, 0)?,
            at: VirtAddr(BASE + next),
            access,
            sharing: Sharing::Shared,
            sync: SyncMode::None,
            wanted: Wanted::Base,
        };
        let outcome = file.fault(&fault);
        ensure!(matches!(outcome, FaultOutcome::Retry), "a fault without a free range: {outcome:?}");
    }
    let took = Duration::from_nanos(Clock::now_ns() - begin);
    events::metric("two faults without a free range", took.as_millis() as u64, "ms");
    // Nobody lets go of a range meanwhile: each fault waits once, until its deadline, and does not begin anew.
    let waits = world.fs.stats().window_waits - waits;
    ensure!(waits == 2, "two faults waited {waits} times");
    // What is pinned can be mapped all the same.
    expect_word(BASE + LARGE_PAGE, content, LARGE_PAGE)?;
    pins.pop();
    expect_word(BASE + next, content, next)?;
    drop((pins, file));
    world.finish()
}
