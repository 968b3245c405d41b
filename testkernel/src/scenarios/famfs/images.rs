//! Whole file systems: others' and our own.

use crate::{
    digest::Sha256,
    events,
    machine::Machine,
    outcome::{Outcome, ensure},
    scenarios::steps::{
        shared::{Guest, OWNER, holds, names, play, unknown},
        views::{BASE, load, map, shared},
    },
};
use alloc::{format, vec};
use famfs::{Interleave, NodeId};
use testkernel_protocol::shared_memory::{CHUNK, PLAIN, SMALL, STRIP_COUNT, STRIPS};

/// Machine: shared memory, with an image that the tools of others made. One guest reads every file, the other one maps every
/// file: both report to the host what they found.
pub(crate) fn golden_image(machine: &Machine) -> Outcome {
    play(machine, |guest, step| {
        guest.join()?;
        let fs = guest.fs()?;
        for name in names(&fs)?.iter().filter(|name| *name != ".meta") {
            let file = guest.open(name)?;
            match step {
                "read" => {
                    let (mut sum, mut block, mut at) = (Sha256::new(), vec![0; 1 << 20], 0);
                    while at < file.size() {
                        let count = file.read_at(at, &mut block)?;
                        sum.update(&block[..count]);
                        at += count as u64;
                    }
                    events::info(&format!("sha256 {name}"), &sum.finish());
                }
                "map" => {
                    let program = guest.program()?;
                    map(&program, &shared(&file, BASE, file.size().next_multiple_of(4096), false))?;
                    // The pages of these files are numbered.
                    let kind = load(BASE)? & 0xffff_ffff;
                    for page in 0..file.size() / 4096 {
                        let word = load(BASE + page * 4096)?;
                        ensure!(word == page << 32 | kind, "{name}: page {page} begins with {word:#x}");
                    }
                    program.end();
                    events::info(&format!("pattern {name}"), &kind);
                }
                _ => return unknown(step),
            }
        }
        Ok(())
    })
}

/// Machine: shared memory. One guest formats it and makes files, another one reads them.
pub(crate) fn format_by_us_read_by_us(machine: &Machine) -> Outcome {
    play(machine, |guest, step| match step {
        "make" => {
            guest.format(&Guest::options())?;
            guest.fs()?.mkdir(b"dir", &OWNER)?;
            guest.make(PLAIN.name, PLAIN.size)?;
            guest.make(SMALL.name, SMALL.size)?;
            Ok(())
        }
        "read" => {
            guest.join()?;
            let fs = guest.fs()?;
            let found = names(&fs)?;
            ensure!(found == [".meta", "dir", SMALL.name], "the root has {found:?}");
            for file in [PLAIN, SMALL] {
                let stat = fs.stat(fs.lookup(file.name.as_bytes())?)?;
                ensure!(stat.size == file.size && !stat.is_dir, "{}: {stat:?}", file.name);
                ensure!(
                    (stat.uid, stat.gid, stat.mode) == (OWNER.uid, OWNER.gid, OWNER.mode),
                    "{}: {stat:?}",
                    file.name
                );
                holds(&*guest.open(file.name)?, file.name)?;
            }
            let dir = fs.lookup(b"dir")?;
            ensure!(fs.parent(dir)? == NodeId::ROOT && fs.stat(dir)?.is_dir, "dir is no directory of the root");
            Ok(())
        }
        _ => unknown(step),
    })
}

/// Machine: shared memory. A file in strips, written by one guest, is read and mapped by another one.
pub(crate) fn interleaved(machine: &Machine) -> Outcome {
    play(machine, |guest, step| match step {
        "make" => {
            guest.format(&Guest::options())?;
            let how = Interleave { strips: STRIP_COUNT, chunk: CHUNK, buckets: 8, order: &[6, 1, 4, 3, 2] };
            guest.make_in_strips(STRIPS.name, STRIPS.size, how)?;
            Ok(())
        }
        "read" => {
            guest.join()?;
            let file = guest.open(STRIPS.name)?;
            holds(&file, STRIPS.name)?;
            let program = guest.program()?;
            map(&program, &shared(&file, BASE, STRIPS.size.next_multiple_of(4096), false))?;
            let content = testkernel_protocol::content::Content::of(STRIPS.name);
            for at in (0..STRIPS.size - 8).step_by(4096) {
                let word = load(BASE + at)?;
                ensure!(word == content.word(at / 8), "the page at {at:#x} begins with {word:#x}");
            }
            program.end();
            Ok(())
        }
        _ => unknown(step),
    })
}
