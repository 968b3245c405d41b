//! Who may write, and what becomes of what a master left.

use crate::{
    events,
    machine::Machine,
    memory::LARGE_PAGE,
    outcome::{Outcome, Stop, ensure},
    scenarios::steps::{
        shared::{Guest, OWNER, holds, names, play, refused, unknown},
        views::{BASE, expect_page, expect_word, map, no_load, no_store, shared},
    },
};
use famfs::{Role, layout::Uuid};
use fs_dax::{Errno, FileRange};
use testkernel_protocol::{
    content::Content,
    shared_memory::{CLIENT, MASTER, NEIGHBOURS, SMALL},
};

/// Machine: shared memory, in which the host leaves an append half done: with its entry whole, then with a torn one. Clients
/// see none of it until the next master settles it.
pub(crate) fn interrupted_append_settled(machine: &Machine) -> Outcome {
    let see = |guest: &Guest, expected: &[&str]| -> Outcome {
        let found = names(&*guest.fs()?)?;
        ensure!(found[1..] == *expected, "the root has {found:?}, not {expected:?}");
        Ok(())
    };
    play(machine, |guest, step| {
        match step {
            "make" => {
                guest.format(&Guest::options())?;
                guest.make("one", SMALL.size)?;
                guest.make("two", SMALL.size)?;
                guest.unmount();
            }
            // The host has taken the counter of entries back.
            "whole" => {
                guest.join()?;
                see(guest, &["one"])?;
            }
            "settle" => {
                guest.mount(MASTER)?;
                see(guest, &["one", "two"])?;
                holds(&*guest.open("two")?, "two")?;
                guest.unmount();
            }
            "settled" => {
                let followed = guest.fs()?.follow(u64::MAX, &guest.tables)?;
                ensure!(followed.taken == 1, "following gives {followed:?}");
                see(guest, &["one", "two"])?;
            }
            // The host has begun a third entry, and left it.
            "drop" => {
                guest.mount(MASTER)?;
                ensure!(guest.fs()?.role() == Role::Master, "the master is none any more");
                see(guest, &["one", "two"])?;
                guest.make("three", SMALL.size)?;
            }
            "dropped" => {
                let followed = guest.fs()?.follow(u64::MAX, &guest.tables)?;
                ensure!(followed.taken == 1 && followed.torn.is_none(), "following gives {followed:?}");
                see(guest, &["one", "three", "two"])?;
            }
            _ => return unknown(step),
        }
        Ok(())
    })
}

/// Machine: shared memory. A file system that is made anew makes the mounts of others stale: files give ESTALE, pages go. A
/// log that the host sets back does the same.
pub(crate) fn reformat_makes_stale(machine: &Machine) -> Outcome {
    let (mut kept, mut name) = (None, NEIGHBOURS[2].name);
    play(machine, |guest, step| {
        match step {
            "make" => {
                guest.format(&Guest::options())?;
                guest.make(name, NEIGHBOURS[2].size)?;
            }
            "anew" => {
                let mut options = Guest::options();
                guest.unmount();
                refused_format(guest)?;
                (options.force, options.uuid) = (true, Uuid([9; 16]));
                guest.format(&options)?;
            }
            "fill" => {
                guest.make("other", NEIGHBOURS[2].size)?;
            }
            "use" => {
                guest.join()?;
                let (program, file) = (guest.program()?, guest.open(name)?);
                map(&program, &shared(&file, BASE, NEIGHBOURS[2].size, true))?;
                expect_word(BASE + 8, Content::of(name), 8)?;
                expect_page(&program, BASE, Some((LARGE_PAGE, true)))?;
                kept = Some((program, file));
            }
            "stale" => {
                let (program, file) = kept.take().ok_or_else(|| Stop::Fail("nothing is mapped".into()))?;
                let fs = guest.fs()?;
                refused("following", fs.follow(u64::MAX, &guest.tables), Errno::ESTALE)?;
                ensure!(guest.tables.unmapped() > 0, "no page was taken away");
                expect_page(&program, BASE, None)?;
                no_load(BASE + 8, Errno::ESTALE)?;
                no_store(BASE + LARGE_PAGE, Errno::ESTALE)?;
                refused("reading", file.read_at(0, &mut [0]), Errno::ESTALE)?;
                refused("writing", file.write_at(0, &[0]), Errno::ESTALE)?;
                refused("publishing", file.publish(FileRange::ALL), Errno::ESTALE)?;
                refused("looking up", fs.lookup(name.as_bytes()), Errno::ESTALE)?;
                refused("looking at the superblock", fs.verify(&guest.tables), Errno::ESTALE)?;
                program.end();
                guest.unmount();
                // What is there after the file system was made anew.
                name = "other";
            }
            _ => return unknown(step),
        }
        Ok(())
    })
}

/// An existing file system is kept unless it is to go.
fn refused_format(guest: &Guest) -> Outcome {
    let result = famfs::format(&guest.memory, &Guest::options());
    let exists = matches!(result, Err(famfs::FormatError::Exists { uuid }) if uuid == Uuid([1; 16]));
    ensure!(exists, "formatting over a file system gives {result:?}");
    Ok(())
}

/// Machine: shared memory. Of two masters the second one to write is found before it publishes, and writes nothing any more; a
/// host that is no master never does.
pub(crate) fn second_master_refused(machine: &Machine) -> Outcome {
    play(machine, |guest, step| {
        match step {
            "make" => guest.format(&Guest::options())?,
            "join" => {
                guest.mount(CLIENT)?;
                let fs = guest.fs()?;
                ensure!(fs.role() == Role::Client, "a client is {:?}", fs.role());
                refused("a client's directory", fs.mkdir(b"mine", &OWNER), Errno::EPERM)?;
                for operation in ["unlink", "rename", "link", "truncate", "chmod"] {
                    refused(operation, fs.refuse(operation), Errno::EPERM)?;
                }
                drop(fs);
                guest.mount(MASTER)?;
                ensure!(guest.fs()?.role() == Role::Master, "the second master is not one");
            }
            "first" => {
                guest.fs()?.mkdir(b"first", &OWNER)?;
            }
            "second" => {
                let fs = guest.fs()?;
                let result = fs.mkdir(b"second", &OWNER);
                let found = matches!(
                    result,
                    Err(famfs::Error::Append(famfs::AppendError::SecondWriter { found: 1, expected: 0 }))
                );
                ensure!(found, "the second writer gets {result:?}");
                ensure!(fs.role() == Role::FormerMaster, "it is {:?} now", fs.role());
                refused("its next directory", fs.mkdir(b"third", &OWNER), Errno::EROFS)?;
                // It reads on.
                fs.follow(u64::MAX, &guest.tables)?;
                let found = names(&fs)?;
                ensure!(found == [".meta", "first"], "the root has {found:?}");
                events::info("second writer", &"found");
            }
            _ => return unknown(step),
        }
        Ok(())
    })
}
