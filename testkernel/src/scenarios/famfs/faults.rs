//! Page faults: how many, and of which memory.

use crate::{
    events,
    machine::Machine,
    memory::{LARGE_PAGE, PAGE},
    outcome::{Outcome, ensure},
    scenarios::steps::{
        shared::{Guest, holds, play, unknown},
        views::{APART, BASE, expect_word, load, map, no_load, no_store, private, shared, store},
    },
};
use famfs::Interleave;
use fs_dax::Errno;
use testkernel_protocol::{
    content::Content,
    shared_memory::{CHUNK, NEIGHBOURS, PLAIN, SMALL, STRIP_COUNT, STRIPS},
};

const MIB: u64 = 1 << 20;

/// A view, how it is touched, and how many pages that takes.
struct Pattern {
    name: &'static str,
    /// Bytes that the view begins after a multiple of 2 MiB.
    past: u64,
    len: u64,
    offset: u64,
    stride: u64,
    writable: bool,
    huge: u64,
    base: u64,
}

const PLAIN_NAME: &str = "plain";

/// The pages follow from alignment, length and the end of the file. The last page of a file is shown as a whole; a large page
/// only if all of its small ones have bytes of the file.
const SCRIPT: &[Pattern] = &[
    // Two large pages, and 1 MiB and 123 bytes in small ones.
    Pattern { name: PLAIN_NAME, past: 0, len: 6 * MIB, offset: 0, stride: PAGE, writable: true, huge: 2, base: 257 },
    // From the second large page on, never stored to.
    Pattern {
        name: PLAIN_NAME,
        past: 0,
        len: 2 * MIB,
        offset: 2 * MIB,
        stride: 8 * PAGE,
        writable: false,
        huge: 1,
        base: 0,
    },
    // File and addresses equally far off.
    Pattern {
        name: PLAIN_NAME,
        past: MIB,
        len: 3 * MIB,
        offset: MIB,
        stride: PAGE,
        writable: true,
        huge: 1,
        base: 256,
    },
    // Not equally far.
    Pattern {
        name: PLAIN_NAME,
        past: PAGE,
        len: 2 * MIB,
        offset: 0,
        stride: 16 * PAGE,
        writable: true,
        huge: 0,
        base: 32,
    },
    // Chunks of strips are large pages, each from another strip; the last chunk is a part of one.
    Pattern { name: STRIPS.name, past: 0, len: 10 * MIB, offset: 0, stride: PAGE, writable: true, huge: 4, base: 258 },
    Pattern { name: SMALL.name, past: 0, len: PAGE, offset: 0, stride: PAGE, writable: true, huge: 0, base: 1 },
];

/// Machine: shared memory. Each page is one fault, whether it is loaded from or stored to first: nobody waits for a store. How
/// many of which size is known beforehand, and driver and kernel count the same.
pub(crate) fn fault_counts(machine: &Machine) -> Outcome {
    play(machine, |guest, step| match step {
        "make" => {
            guest.format(&Guest::options())?;
            guest.make(PLAIN_NAME, PLAIN.size)?;
            let how = Interleave { strips: STRIP_COUNT, chunk: CHUNK, buckets: 8, order: &[7, 6, 5, 4] };
            guest.make_in_strips(STRIPS.name, STRIPS.size, how)?;
            guest.make(SMALL.name, SMALL.size)?;
            Ok(())
        }
        "touch" => {
            guest.join()?;
            touch(guest)
        }
        _ => unknown(step),
    })
}

fn touch(guest: &Guest) -> Outcome {
    let (fs, program) = (guest.fs()?, guest.program()?);
    let (mut huge, mut base, mut fallbacks, mut at) = (0, 0, 0, BASE);
    for pattern in SCRIPT {
        let file = guest.open(pattern.name)?;
        let content = Content::of(pattern.name);
        let start = at + pattern.past;
        let request = shared(&file, start, pattern.len, pattern.writable);
        map(&program, &crate::mmap::ViewRequest { offset: pattern.offset, ..request })?;
        let shown = pattern.len.min(file.size() - pattern.offset);
        for round in 0..2 {
            for touched in (0..shown).step_by(pattern.stride as usize) {
                let offset = pattern.offset + touched;
                expect_word(start + touched, content, offset)?;
                if round == 1 && pattern.writable {
                    // A page that was loaded from is writable already.
                    store(start + touched, content.word(offset / 8))?;
                }
            }
        }
        (huge, base) = (huge + pattern.huge, base + pattern.base);
        // After a small page in the same 2 MiB only small ones are asked for.
        fallbacks += pattern.base;
        let (counts, kernels) = (fs.faults(), program.counts());
        let found = (counts.pages_of(LARGE_PAGE) as u64, counts.pages_of(PAGE) as u64);
        ensure!(found == (huge, base), "{}: {found:?} pages of 2 MiB and 4 KiB, not {:?}", pattern.name, (huge, base));
        ensure!((kernels.huge, kernels.base) == found, "the kernel counts {kernels:?}, the file system {found:?}");
        ensure!(counts.faults() as u64 == huge + base, "{} faults for {} pages", counts.faults(), huge + base);
        ensure!(counts.fallbacks() as u64 <= fallbacks, "{} fallbacks", counts.fallbacks());
        at += APART;
    }
    // Private copies are counted as what they are.
    let file = guest.open(PLAIN_NAME)?;
    map(&program, &private(&file, at, 2 * MIB))?;
    store(at + 8, 1)?;
    ensure!(program.counts().copied == 1, "{} pages were copied", program.counts().copied);
    holds(&file, PLAIN_NAME)?;
    events::metric("predicted huge faults", huge, "1");
    events::metric("predicted base faults", base, "1");
    program.end();
    Ok(())
}

/// Machine: shared memory. Through the mapping of a file nothing but that file can be reached: past its end, and past the end of
/// the mapping, every access is a bus error, and stores to all of its pages leave its neighbours as they are.
pub(crate) fn isolation(machine: &Machine) -> Outcome {
    play(machine, |guest, step| match step {
        "make" => {
            guest.format(&Guest::options())?;
            for file in NEIGHBOURS {
                guest.make(file.name, file.size)?;
            }
            Ok(())
        }
        "store" => {
            guest.join()?;
            let middle = NEIGHBOURS[1];
            let (program, file) = (guest.program()?, guest.open(middle.name)?);
            let (len, end) = (8 * MIB, middle.size.next_multiple_of(PAGE));
            map(&program, &shared(&file, BASE, len, true))?;
            for at in (0..end).step_by(8) {
                store(BASE + at, !0)?;
            }
            for at in (end..len).step_by(PAGE as usize).chain([end + 8, len - 8]) {
                no_load(BASE + at, Errno::ERANGE)?;
                no_store(BASE + at, Errno::ERANGE)?;
            }
            no_load(BASE + len, Errno::EFAULT)?;
            no_load(BASE - 8, Errno::EFAULT)?;
            ensure!(load(BASE)? == !0, "what was stored is not there");
            // Copies end with the file, whatever the extent has room for.
            let written = file.write_at(middle.size - 3, &[7; 4096])?;
            ensure!(written == 3, "{written} bytes were written past the end");
            for past in [middle.size, end, u64::MAX] {
                ensure!(file.write_at(past, &[7; 8])? == 0, "bytes were written at {past:#x}");
                ensure!(file.read_at(past, &mut [0; 8])? == 0, "bytes were read at {past:#x}");
            }
            file.publish(fs_dax::FileRange::ALL)?;
            for other in [NEIGHBOURS[0], NEIGHBOURS[2]] {
                holds(&*guest.open(other.name)?, other.name)?;
            }
            program.end();
            Ok(())
        }
        _ => unknown(step),
    })
}
