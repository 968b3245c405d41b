//! Pages come by faults, in the size that fits, up to the end of the file.

use crate::{
    arch::user,
    events,
    machine::Machine,
    memory::{LARGE_PAGE, PAGE},
    mmap::ViewRequest,
    outcome::{Outcome, Stop, ensure},
    scenarios::steps::views::{
        APART, BASE, MAP, MIB, World, expect_faults, expect_page, expect_word, load, map, no_load, no_store, private,
        shared, store,
    },
};
use alloc::vec;
use fs_dax::Errno;
use testkernel_protocol::{content::Content, share};
use virtio_fs::Config;

/// Machine: a window. A file that is no multiple of 2 MiB, and one with a view that is one page off, come in pages of 4 KiB: as many
/// faults as pages that are touched, each once. The daemon sees no READ.
pub(crate) fn read_fault_4k(machine: &Machine) -> Outcome {
    const NAME: &str = "files/size-2097151";
    let world = World::new(machine, Config::default())?;
    let file = world.open(NAME, false)?;
    let content = Content::of(NAME);
    map(&world.process, &shared(&file, BASE, 2 * MIB, false))?;
    for page in (0..511).step_by(2) {
        expect_word(BASE + page * PAGE + 8, content, page * PAGE + 8)?;
    }
    expect_faults(&world, 0, 256)?;
    for page in 0..511 {
        expect_word(BASE + page * PAGE + 4088, content, page * PAGE + 4088)?;
    }
    expect_faults(&world, 0, 511)?;
    let mut words = vec![0; 511 * 512];
    user::load(BASE, &mut words).map_err(|errno| Stop::Fail(alloc::format!("loading all: {errno}")))?;
    let wrong = words.iter().enumerate().find(|(index, word)| **word != content.word(*index as u64));
    ensure!(wrong.is_none(), "word {wrong:x?} is wrong");
    expect_page(&world.process, BASE, Some((PAGE, false)))?;
    no_store(BASE, Errno::EACCES)?;

    let other = world.open(MAP, false)?;
    let at = BASE + APART + PAGE;
    map(&world.process, &shared(&other, at, 6 * MIB, false))?;
    for offset in [0, 2 * MIB - 8, 2 * MIB, 6 * MIB - 8] {
        expect_word(at + offset, Content::of(MAP), offset)?;
    }
    expect_faults(&world, 0, 515)?;
    let faults = world.fs.stats().faults;
    ensure!(faults == 515, "{faults} faults were answered, not one for each of 515 pages");
    drop((file, other));
    world.finish()
}

/// A view, how it is touched, and how many pages that takes.
struct Pattern {
    name: &'static str,
    /// Bytes that the view begins after a multiple of 2 MiB.
    past: u64,
    len: u64,
    offset: u64,
    stride: u64,
    huge: u64,
    base: u64,
}

/// Machine: a window. A script of views, each touched with a stride; the number of 2 MiB and of 4 KiB pages follows from
/// alignment, length and end of file.
pub(crate) fn huge_fault_2m(machine: &Machine) -> Outcome {
    const SCRIPT: &[Pattern] = &[
        // All of it in three pages.
        Pattern { name: MAP, past: 0, len: 6 * MIB, offset: 0, stride: PAGE, huge: 3, base: 0 },
        // From an offset that is a multiple of 2 MiB.
        Pattern { name: MAP, past: 0, len: 4 * MIB, offset: 2 * MIB, stride: 64 * PAGE, huge: 2, base: 0 },
        // File and addresses equally far off: what is before the next 2 MiB is small, and so is what is behind the last.
        Pattern { name: MAP, past: MIB, len: 4 * MIB, offset: MIB, stride: PAGE, huge: 1, base: 512 },
        // Not equally far.
        Pattern { name: MAP, past: MIB, len: 2 * MIB, offset: 0, stride: 16 * PAGE, huge: 0, base: 32 },
        // The view ends inside a large page.
        Pattern { name: MAP, past: 0, len: 3 * MIB, offset: 0, stride: 8 * PAGE, huge: 1, base: 32 },
        // The file does; its last page cannot be mapped, and is not touched.
        Pattern { name: share::TAIL.name, past: 0, len: 2 * MIB + PAGE, offset: 0, stride: PAGE, huge: 1, base: 1 },
        Pattern { name: "files/size-4096", past: 0, len: PAGE, offset: 0, stride: PAGE, huge: 0, base: 1 },
        Pattern { name: "files/size-2097152", past: 0, len: 2 * MIB, offset: 0, stride: PAGE, huge: 1, base: 0 },
    ];
    let world = World::new(machine, Config::default())?;
    let (mut huge, mut base, mut at) = (0, 0, BASE);
    for pattern in SCRIPT {
        let file = world.open(pattern.name, false)?;
        let start = at + pattern.past;
        map(&world.process, &ViewRequest { offset: pattern.offset, ..shared(&file, start, pattern.len, false) })?;
        for _ in 0..2 {
            for touched in (0..pattern.len).step_by(pattern.stride as usize) {
                expect_word(start + touched, Content::of(pattern.name), pattern.offset + touched)?;
            }
        }
        huge += pattern.huge;
        base += pattern.base;
        expect_faults(&world, huge, base)?;
        at += APART;
    }
    let faults = world.fs.stats().faults;
    ensure!(faults == huge + base, "{faults} faults were answered for {} pages", huge + base);
    events::metric("predicted huge faults", huge, "1");
    events::metric("predicted base faults", base, "1");
    expect_page(&world.process, BASE, Some((LARGE_PAGE, false)))?;
    world.finish()
}

/// Machine: a window, on a host that cannot map a file's last, partial page. A view that is private or only read shows it,
/// with zeros behind the file's end, from a page of the program's own; a shared view that may be written gets a bus error.
pub(crate) fn tail_page(machine: &Machine) -> Outcome {
    let world = World::new(machine, Config::default())?;
    let file = world.open(share::TAIL.name, true)?;
    let content = Content::of(share::TAIL.name);
    let len = 2 * MIB + 2 * PAGE;
    let (only_read, own, both) = (BASE, BASE + APART, BASE + 2 * APART);
    map(&world.process, &shared(&file, only_read, len, false))?;
    map(&world.process, &private(&file, own, len))?;
    map(&world.process, &shared(&file, both, len, true))?;
    let tail = 2 * MIB + PAGE;
    for view in [only_read, own] {
        for offset in [0, 2 * MIB, tail, tail + 768] {
            expect_word(view + offset, content, offset).or_else(|wrong| {
                // Byte 777 and on are past the end.
                let last = content.word((tail + 776) / 8) & 0xff;
                if offset == tail + 776 && load(view + offset)? == last { Ok(()) } else { Err(wrong) }
            })?;
        }
        ensure!(
            load(view + tail + 776)? == content.word((tail + 776) / 8) & 0xff,
            "the last byte is not followed by zeros"
        );
        ensure!(load(view + tail + 4088)? == 0, "the page's end is not zero");
        ensure!(world.process.owns_page_at(view + tail), "the tail is not the program's own page");
    }
    store(own + tail, 0xabc)?;
    ensure!(load(own + tail)? == 0xabc, "the private page does not hold what was stored");
    expect_word(only_read + tail, content, tail)?;
    expect_word(both + 2 * MIB, content, 2 * MIB)?;
    store(both + 2 * MIB, 0xdef)?;
    no_load(both + tail, Errno::ENXIO)?;
    no_store(both + tail, Errno::ENXIO)?;
    ensure!(world.process.counts().filled == 2, "{} pages were filled, not 2", world.process.counts().filled);
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, tail)?;
    ensure!(u64::from_le_bytes(bytes) == content.word(tail / 8), "a private store reached the file");
    let size = file.len()?;
    ensure!(size == share::TAIL.size, "the file has {size} bytes now");
    drop(file);
    world.finish()
}

/// Machine: a window. An access past the end of the file is a bus error, in every kind of view; when the file grows it is
/// none any more.
pub(crate) fn past_eof_is_bus_error(machine: &Machine) -> Outcome {
    let world = World::new(machine, Config::default())?;
    let file = world.open(MAP, true)?;
    let views = [BASE, BASE + APART, BASE + 2 * APART];
    map(&world.process, &shared(&file, views[0], 8 * MIB, true))?;
    map(&world.process, &private(&file, views[1], 8 * MIB))?;
    map(&world.process, &shared(&file, views[2], 8 * MIB, false))?;
    for view in views {
        expect_word(view + 6 * MIB - 8, Content::of(MAP), 6 * MIB - 8)?;
        no_load(view + 6 * MIB, Errno::ERANGE)?;
        no_load(view + 8 * MIB - 8, Errno::ERANGE)?;
        // Not of the view any more.
        no_load(view + 8 * MIB, Errno::EFAULT)?;
    }
    no_store(views[0] + 6 * MIB, Errno::ERANGE)?;
    no_store(views[1] + 6 * MIB, Errno::ERANGE)?;
    let empty = world.open("files/size-0", false)?;
    map(&world.process, &shared(&empty, BASE + 3 * APART, 4096, false))?;
    no_load(BASE + 3 * APART, Errno::ERANGE)?;
    file.set_len(8 * MIB)?;
    for view in views {
        ensure!(load(view + 6 * MIB)? == 0, "what the file grew by is not zero");
    }
    store(views[0] + 8 * MIB - 8, 77)?;
    ensure!(load(views[2] + 8 * MIB - 8)? == 77, "two shared views of one byte differ");
    drop((file, empty));
    world.finish()
}
