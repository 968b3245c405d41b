//! Which mappings go, and which come before they are asked for.

use crate::{
    events,
    machine::Machine,
    mount::Fs,
    outcome::{Outcome, Stop, ensure},
    scenarios::steps::{
        files,
        window::{finish, mount_with},
    },
};
use alloc::vec;
use testkernel_protocol::{content::Content, share};
use virtio_fs::{Config, OpenOptions};

const MIB: u64 = 1 << 20;
const READ: OpenOptions = OpenOptions::new().read(true);

/// Machine: a window of 16 MiB. Share: `reclaim/big`. Small reads all over four times what fits: the guard notices and sends
/// them by READ, and says so; without it all go through the window.
pub(crate) fn guard(machine: &Machine) -> Outcome {
    let share::File { name, size } = share::BIG;
    for thrash_guard in [true, false] {
        let fs = mount_with(machine, Config::default().thrash_guard(thrash_guard).read_ahead(false))?;
        let file = fs.open(name, READ)?;
        let random = Content::of("where the guard looks");
        let mut buffer = vec![0; 4096];
        for index in 0..200 {
            // One range after the other, so that none is there when its turn comes.
            let offset = index * 10 * MIB % size + random.word(index) % (2 * MIB - 4096);
            file.read_exact_at(&mut buffer, offset)?;
            files::check(name, Content::of(name), offset, &buffer)?;
        }
        let stats = fs.stats();
        let tripped = stats.window.is_some_and(|window| window.guard_on);
        events::metric("around_guard", stats.bypass.guard, "1");
        let watched = (tripped, stats.bypass.guard > 0, stats.request_read_bytes > 0);
        ensure!(
            watched == (thrash_guard, thrash_guard, thrash_guard),
            "guard {thrash_guard}, on guard {tripped}: {} accesses sent round, {} bytes by READ",
            stats.bypass.guard,
            stats.request_read_bytes
        );
        drop(file);
        finish(&fs)?;
    }
    Ok(())
}

/// Machine: a window of 16 MiB. Share: `reclaim/big`. A sequential reader finds its next ranges mapped; without read-ahead
/// none is, and the bytes are the same.
pub(crate) fn read_ahead(machine: &Machine) -> Outcome {
    let name = share::BIG.name;
    for read_ahead in [true, false] {
        let fs = mount_with(machine, Config::default().read_ahead(read_ahead))?;
        let file = fs.open(name, READ)?;
        let mut buffer = vec![0; 128 << 10];
        for offset in (0..24 * MIB).step_by(128 << 10) {
            file.read_exact_at(&mut buffer, offset)?;
            files::check(name, Content::of(name), offset, &buffer)?;
        }
        let window = fs.stats().window.ok_or_else(|| Stop::Fail("no window".into()))?;
        events::metric("ahead_issued", window.ahead_issued, "1");
        events::metric("ahead_used", window.ahead_used, "1");
        let ahead = (window.ahead_issued > 0, window.ahead_used > 0);
        ensure!(ahead == (read_ahead, read_ahead), "read-ahead {read_ahead}: {window:?}");
        drop(file);
        finish(&fs)?;
    }
    Ok(())
}

/// Machine: a window of 16 MiB. Share: `reclaim/big`. Steps of background reclaim make room in a full window, come to an
/// end, and the next range is mapped with nobody evicted for it.
pub(crate) fn background(machine: &Machine) -> Outcome {
    let name = share::BIG.name;
    let fs = mount_with(machine, Config::default().read_ahead(false).thrash_guard(false))?;
    let file = fs.open(name, READ)?;
    let mut buffer = vec![0; 4096];
    let mut read = |range: u64| -> Outcome {
        file.read_exact_at(&mut buffer, range * 2 * MIB)?;
        files::check(name, Content::of(name), range * 2 * MIB, &buffer)
    };
    for range in 0..20 {
        read(range)?;
    }
    let window = |fs: &Fs| fs.stats().window.ok_or_else(|| Stop::Fail("no window".into()));
    let full = window(&fs)?;
    ensure!(full.free == 0, "{} ranges are free before the first step", full.free);
    let mut steps = 0;
    while fs.reclaim_step()? {
        steps += 1;
        ensure!(steps <= full.ranges, "reclaim has no end");
    }
    let after = window(&fs)?;
    ensure!(steps > 0 && after.free > 0, "{steps} steps freed {} ranges of {}", after.free, full.ranges);
    ensure!(after.free >= after.reclaim_target, "{} free ranges where {} are wanted", after.free, after.reclaim_target);
    ensure!(after.reclaim_batches > 0, "the window knows of no reclaim");
    read(25)?;
    let mapped = window(&fs)?;
    ensure!(mapped.evictions == after.evictions, "a range was evicted although one was free");
    ensure!(mapped.free + 1 == after.free, "{} ranges are free, not one less than {}", mapped.free, after.free);
    for range in 0..20 {
        read(range)?;
    }
    drop(file);
    finish(&fs)
}
