//! Guests that use the same files at the same time.

use crate::{
    machine::Machine,
    memory::LARGE_PAGE,
    outcome::{Outcome, ensure},
    scenarios::steps::{
        shared::{Guest, OWNER, holds, play, refused, unknown},
        views::{BASE, expect_page, load, map, no_store, shared, store},
    },
};
use famfs::{NewFile, Role};
use fs_dax::{Errno, FileRange};
use testkernel_protocol::shared_memory::PLAIN;

/// Machine: shared memory. Programs of two guests map one file: what one stores the other one loads, in turns.
pub(crate) fn two_guests_share(machine: &Machine) -> Outcome {
    let mut kept = None;
    play(machine, |guest, step| {
        match step {
            "make" => {
                guest.format(&Guest::options())?;
                guest.make("shared", PLAIN.size)?;
            }
            "map" => {
                if guest.number != 0 {
                    guest.join()?;
                }
                let (program, file) = (guest.program()?, guest.open("shared")?);
                map(&program, &shared(&file, BASE, 4 << 20, true))?;
                kept = Some((program, file));
            }
            "store" => {
                let (_, file) = kept.as_ref().ok_or_else(|| crate::outcome::Stop::Fail("nothing is mapped".into()))?;
                for at in [0, LARGE_PAGE + 8 * 1000] {
                    let word = load(BASE + at)?;
                    store(BASE + at, word.wrapping_mul(3).wrapping_add(guest.number as u64))?;
                }
                file.publish(FileRange::ALL)?;
            }
            _ => return unknown(step),
        }
        Ok(())
    })
}

/// Machine: shared memory, which the second guest can only load from. It reads, and stores nothing, by no way.
pub(crate) fn read_only_client_cannot_write(machine: &Machine) -> Outcome {
    play(machine, |guest, step| match step {
        "make" => {
            guest.format(&Guest::options())?;
            guest.make("plain", PLAIN.size)?;
            let new = NewFile { size: 4096, owner: OWNER, read_only: true, placement: Default::default() };
            guest.fs()?.create(b"for-nobody", &new)?;
            let file = guest.open("for-nobody")?;
            refused("writing a file that all hosts only read", file.write_at(0, &[1]), Errno::EACCES)
        }
        "try" => {
            // Even with the master's identity.
            guest.mount(testkernel_protocol::shared_memory::MASTER)?;
            let fs = guest.fs()?;
            ensure!(fs.role() == Role::Client, "a master on memory that is read-only");
            let file = guest.open("plain")?;
            refused("writing", file.write_at(0, &[1]), Errno::EROFS)?;
            refused("making a directory", fs.mkdir(b"dir", &OWNER), Errno::EROFS)?;
            refused("a view to store to", file.writable_view(0, 8).map(drop), Errno::EROFS)?;
            let program = guest.program()?;
            map(&program, &shared(&file, BASE, 4 << 20, true))?;
            load(BASE)?;
            expect_page(&program, BASE, Some((LARGE_PAGE, false)))?;
            for at in [0, LARGE_PAGE] {
                no_store(BASE + at, Errno::EROFS)?;
            }
            program.end();
            holds(&file, "plain")
        }
        _ => unknown(step),
    })
}
