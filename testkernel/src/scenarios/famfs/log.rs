//! Following the log.

use crate::{
    arch::smp,
    events,
    machine::Machine,
    outcome::{Outcome, Stop, ensure},
    scenarios::steps::{
        processors,
        shared::{Guest, OWNER, SharedFs, holds, play, refused, unknown},
    },
};
use alloc::{format, sync::Arc};
use core::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use famfs::{Followed, FormatOptions, NewFile, Place};
use fs_dax::Errno;
use spin::Mutex;
use testkernel_protocol::shared_memory::{APPENDED, PLAIN, SMALL, appended_size};

/// What a `follow` must give: how many entries, and whether there are more.
fn expect_followed(guest: &Guest, limit: u64, taken: u64, more: bool) -> Outcome {
    let found = guest.fs()?.follow(limit, &guest.tables)?;
    let expected = Followed { taken, more, ..Followed::default() };
    ensure!(found == expected, "following gives {found:?}, not {expected:?}");
    Ok(())
}

/// Machine: shared memory. What one guest adds the other one sees when it follows, no sooner, once, and in bounded portions.
pub(crate) fn log_follow(machine: &Machine) -> Outcome {
    play(machine, |guest, step| {
        match step {
            "make" => guest.format(&Guest::options())?,
            "join" => {
                guest.join()?;
                expect_followed(guest, u64::MAX, 0, false)?;
            }
            "add" => {
                guest.fs()?.mkdir(b"dir", &OWNER)?;
                guest.make(PLAIN.name, PLAIN.size)?;
                guest.make(SMALL.name, SMALL.size)?;
            }
            "follow" => {
                let fs = guest.fs()?;
                ensure!(fs.lookup(b"dir").is_err(), "a directory is there before the log was followed");
                expect_followed(guest, 2, 2, true)?;
                ensure!(fs.lookup(SMALL.name.as_bytes()).is_err(), "more was taken over than asked for");
                expect_followed(guest, 2, 1, false)?;
                expect_followed(guest, 2, 0, false)?;
                for file in [PLAIN, SMALL] {
                    holds(&*guest.open(file.name)?, file.name)?;
                }
            }
            _ => return unknown(step),
        }
        Ok(())
    })
}

fn appended(number: u64) -> alloc::string::String {
    format!("file-{number}")
}

/// How many of the files are there; each has its size, and no file is there without those before it.
fn visible(fs: &SharedFs) -> Result<u64, Stop> {
    let mut count = 0;
    for number in 0..APPENDED {
        let Ok(id) = fs.lookup(appended(number).as_bytes()) else { continue };
        // What another processor took over meanwhile may have made this one visible, but then all before it.
        ensure!(number == count || fs.lookup(appended(number - 1).as_bytes()).is_ok(), "file {number} came too early");
        let size = fs.stat(id)?.size;
        ensure!(size == appended_size(number), "file {number} has {size} bytes");
        count = number + 1;
    }
    Ok(count)
}

/// Machine: shared memory, two processors, a file system in units of 4 KiB. While one guest adds file after file, one processor of the other one follows and
/// its other processor looks: each entry is there as a whole or not at all, in order.
pub(crate) fn follow_while_appending(machine: &Machine) -> Outcome {
    play(machine, |guest, step| match step {
        "make" => guest.format(&FormatOptions { alloc_unit: 4096, ..Guest::options() }),
        "join" => {
            processors::start(2)?;
            guest.join()
        }
        "append" => {
            let fs = guest.fs()?;
            for number in 0..APPENDED {
                let size = appended_size(number);
                let new = NewFile { size, owner: OWNER, read_only: false, placement: Default::default() };
                fs.create(appended(number).as_bytes(), &new)?;
            }
            Ok(())
        }
        "follow" => follow_and_look(&guest.fs()?),
        _ => unknown(step),
    })
}

/// Follows on another processor until all is there, and looks on this one.
fn follow_and_look(fs: &Arc<SharedFs>) -> Outcome {
    let (rounds, looks) = (Arc::new(AtomicU64::new(0)), AtomicU64::new(0));
    let outcome = Arc::new(Mutex::new(Ok(0)));
    let (follower, counted, result) = (fs.clone(), rounds.clone(), outcome.clone());
    smp::run_on(1, move || {
        let mut taken = 0;
        while taken < APPENDED {
            match follower.follow(7, &()) {
                // An entry that is published is whole: it was fenced before the counters.
                Ok(Followed { torn: None, refused: 0, taken: more, .. }) => taken += more,
                Ok(other) => return *result.lock() = Err(Stop::Fail(format!("following gives {other:?}"))),
                Err(error) => return *result.lock() = Err(error.into()),
            }
            counted.fetch_add(1, Ordering::Relaxed);
            smp::attend();
        }
        *result.lock() = Ok(taken);
    });
    let mut last = 0;
    while smp::is_busy(1) {
        let now = visible(fs)?;
        ensure!(now >= last, "{now} files are there after {last}");
        last = now;
        looks.fetch_add(1, Ordering::Relaxed);
    }
    processors::join(1, Duration::from_secs(30))?;
    let taken = core::mem::replace(&mut *outcome.lock(), Ok(0))?;
    ensure!(taken == APPENDED && visible(fs)? == APPENDED, "{taken} entries were taken over of {APPENDED}");
    events::metric("follows", rounds.load(Ordering::Relaxed), "1");
    events::metric("looks", looks.load(Ordering::Relaxed), "1");
    Ok(())
}

/// Machine: shared memory. A guest that starts when all is done sees what the one sees that was there all the time.
pub(crate) fn late_client(machine: &Machine) -> Outcome {
    play(machine, |guest, step| {
        match step {
            "make" => guest.format(&Guest::options())?,
            "join" => guest.join()?,
            "add" => {
                guest.fs()?.mkdir(b"dir", &OWNER)?;
                guest.make(PLAIN.name, PLAIN.size)?;
                guest.make(SMALL.name, SMALL.size)?;
            }
            "see" => {
                if guest.number == 1 {
                    expect_followed(guest, u64::MAX, 3, false)?;
                } else {
                    guest.join()?;
                }
                for file in [PLAIN, SMALL] {
                    holds(&*guest.open(file.name)?, file.name)?;
                }
                let free = guest.fs()?.stat_fs()?;
                events::info("free", &format_args!("{} {}", free.free_blocks, free.free_entries));
            }
            _ => return unknown(step),
        }
        Ok(())
    })
}

/// Machine: shared memory, in which the host tears the second of three entries and then mends it, and spoils the third.
pub(crate) fn torn_entry_refused(machine: &Machine) -> Outcome {
    play(machine, |guest, step| {
        match step {
            "make" => {
                guest.format(&Guest::options())?;
                for name in ["one", "two", "three"] {
                    guest.make(name, SMALL.size)?;
                }
            }
            "torn" => {
                guest.join()?;
                let fs = guest.fs()?;
                // Everything before it is there, nothing behind it, and it is asked again each time.
                for _ in 0..2 {
                    let found = fs.follow(u64::MAX, &guest.tables)?;
                    let torn = found.torn.map(|finding| (finding.place, finding.flaw.name()));
                    ensure!(torn == Some((Place::Entry(1), "crc")) && found.taken == 0, "following gives {found:?}");
                }
                holds(&*guest.open("one")?, "one")?;
                ensure!(fs.lookup(b"two").is_err() && fs.lookup(b"three").is_err(), "what follows it is there");
            }
            "mended" => {
                let fs = guest.fs()?;
                let found = fs.follow(u64::MAX, &guest.tables)?;
                ensure!((found.taken, found.refused, found.torn) == (1, 1, None), "following gives {found:?}");
                let last = fs.refused().1.map(|finding| (finding.place, finding.flaw.name()));
                ensure!(last == Some((Place::Entry(2), "type")), "the last one refused is {last:?}");
                holds(&*guest.open("two")?, "two")?;
                refused("an entry that is wrong", fs.lookup(b"three"), Errno::ENOENT)?;
            }
            _ => return unknown(step),
        }
        Ok(())
    })
}
