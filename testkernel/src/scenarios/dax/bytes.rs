//! Files are read, written and mapped through the window.

use crate::{
    machine::Machine,
    outcome::{Outcome, Stop, ensure},
    scenarios::steps::{
        files,
        host::wait_for_host,
        window::{finish, mount_with_window},
    },
};
use alloc::{vec, vec::Vec};
use testkernel_protocol::{
    content::{Content, stream},
    share,
};
use virtio_fs::OpenOptions;

const PAGE: u64 = 4096;

/// Machine: a window of at least 16 MiB. Share: as `files::read_matches_host` without the sparse file. Every byte but
/// those of last, partial pages comes out of the window.
pub(crate) fn read_matches_host(machine: &Machine) -> Outcome {
    let fs = mount_with_window(machine)?;
    files::read_all(&fs)?;
    let stats = fs.stats();
    let whole_pages: u64 = share::SIZES.iter().map(|size| size / PAGE * PAGE).sum();
    ensure!(stats.dax_read_bytes >= whole_pages, "only {} bytes came out of the window", stats.dax_read_bytes);
    let setups = stats.setup_mappings;
    ensure!(setups > 0 && stats.setup_refused == 0, "{setups} set-ups, {} refused", stats.setup_refused);
    finish(&fs)
}

/// Machine: a window. Share: `files/size-5243003`. Reads its whole pages, sync `mapped`, reads them again in several
/// ways. The daemon must have seen no FUSE_READ at all, and no set-up after `mapped`.
pub(crate) fn no_read_requests(machine: &Machine) -> Outcome {
    const SIZE: u64 = (5 << 20) + 123;
    let fs = mount_with_window(machine)?;
    let name = share::sized(SIZE);
    let file = fs.open(&name, OpenOptions::new().read(true))?;
    let content = Content::of(&name);
    let whole = SIZE / PAGE * PAGE;
    let mut buffer = vec![0; whole as usize];
    file.read_exact_at(&mut buffer, 0)?;
    files::check(&name, content, 0, &buffer)?;
    wait_for_host("mapped")?;
    let before = fs.stats();
    for block in [4096, 65537, 2 << 20, whole as usize] {
        buffer.fill(0);
        let mut offset = 0;
        while offset < whole as usize {
            let end = (offset + block).min(whole as usize);
            file.read_exact_at(&mut buffer[offset..end], offset as u64)?;
            offset = end;
        }
        files::check(&name, content, 0, &buffer)?;
    }
    let after = fs.stats();
    ensure!(after.request_read_bytes == 0, "{} bytes came by READ", after.request_read_bytes);
    let requests = after.requests - before.requests;
    ensure!(requests == 0, "{requests} requests for a file that is mapped already");
    drop(file);
    finish(&fs)
}

/// Machine: a window. Share: `dax/guest-write`, 4 MiB of its stream. 10000 bytes at 123456 become those of the stream
/// `dax/guest-write#2`; sync `written`: the host looks. The daemon must have seen no FUSE_WRITE.
pub(crate) fn write_visible_on_host(machine: &Machine) -> Outcome {
    const NAME: &str = "dax/guest-write";
    const OFFSET: u64 = 123_456;
    let fs = mount_with_window(machine)?;
    let file = fs.open(NAME, OpenOptions::new().read(true).write(true))?;
    let size = file.len()?;
    let pattern = stream("dax/guest-write#2", 10_000);
    file.write_all_at(&pattern, OFFSET)?;
    file.sync_all()?;
    let stats = fs.stats();
    ensure!(stats.request_write_bytes == 0, "{} bytes went by WRITE", stats.request_write_bytes);
    ensure!(stats.dax_write_bytes == 10_000, "{} bytes went through the window", stats.dax_write_bytes);
    wait_for_host("written")?;
    let mut expected = stream(NAME, size as usize);
    expected[OFFSET as usize..OFFSET as usize + pattern.len()].copy_from_slice(&pattern);
    let mut buffer = vec![0; size as usize];
    file.read_exact_at(&mut buffer, 0)?;
    ensure!(buffer == expected, "{NAME}: reading does not give what was written");
    ensure!(file.len()? == size, "{NAME}: the size has changed to {}", file.len()?);
    drop(file);
    finish(&fs)
}

/// Machine: a window. Share: `dax/host-write`, 4 MiB of its stream. Reads it, sync `host-write`: the host writes 8192
/// bytes of the stream `dax/host-write#2` at 4096, in place. They are there with no request.
pub(crate) fn host_write_visible(machine: &Machine) -> Outcome {
    const NAME: &str = "dax/host-write";
    let fs = mount_with_window(machine)?;
    let file = fs.open(NAME, OpenOptions::new().read(true))?;
    let size = file.len()? as usize;
    let mut buffer = vec![0; size];
    file.read_exact_at(&mut buffer, 0)?;
    let mut expected = stream(NAME, size);
    ensure!(buffer == expected, "{NAME} is not what it should be before the host's write");
    wait_for_host("host-write")?;
    expected[4096..12_288].copy_from_slice(&stream("dax/host-write#2", 8192));
    let before = fs.stats();
    file.read_exact_at(&mut buffer, 0)?;
    ensure!(buffer == expected, "{NAME}: the host's write is not visible");
    let requests = fs.stats().request_read_bytes - before.request_read_bytes;
    ensure!(requests == 0, "{requests} bytes came by READ");
    drop(file);
    finish(&fs)
}

/// Machine: a window. Share: `dax/map`, 6 MiB of its stream. A view of 2 MiB at 2 MiB lies in the window and has the
/// file's bytes. Sync `poke`: the host writes `HOSTPOKE` at 3 MiB; the view shows it. The kernel stores `GUESTPOK` at
/// 3 MiB + 4096; sync `poked-back`: the host has it. None of this takes a request.
pub(crate) fn map_zero_copy(machine: &Machine) -> Outcome {
    const NAME: &str = "dax/map";
    const AT: u64 = 2 << 20;
    const POKE: usize = 1 << 20;
    let fs = mount_with_window(machine)?;
    let file = fs.open(NAME, OpenOptions::new().read(true).write(true))?;
    let view = file.map_mut(AT, 2 << 20)?;
    ensure!(view.len() == 2 << 20, "the view has {} bytes", view.len());
    let Some(region) = fs.window_region() else { return Err(Stop::Fail("no window".into())) };
    let address = view.phys_addr();
    ensure!(region.range().contains(&address), "the view is at {address:#x}, outside the window");
    ensure!(view.as_ptr().addr().get() as u64 == address, "the view is not where its physical address says");
    let content = Content::of(NAME);
    for (index, value) in view.words().enumerate() {
        let at = AT / 8 + index as u64;
        ensure!(value == content.word(at), "{NAME}: the word at {} is {value:#018x}", at * 8);
    }
    let before = fs.stats().requests;
    wait_for_host("poke")?;
    let seen: Vec<u8> = view.iter().skip(POKE).take(8).collect();
    ensure!(seen == b"HOSTPOKE", "the view shows {seen:?} instead of what the host wrote");
    let stored = view.store(POKE + 4096, b"GUESTPOK");
    ensure!(stored == 8, "{stored} bytes stored");
    wait_for_host("poked-back")?;
    let requests = fs.stats().requests - before;
    ensure!(requests == 0, "{requests} requests were sent for stores and loads");
    let busy = fs.unmount();
    ensure!(busy.is_err(), "unmounting with a view alive is not refused");
    drop(view);
    file.sync_all()?;
    drop(file);
    finish(&fs)
}

/// Machine: a window on a host that maps whole pages only. Share: `dax/tail`, 2 MiB + 4096 + 777 bytes of its stream. The
/// last, partial page is read right by itself and with what is before it.
pub(crate) fn tail_of_odd_file(machine: &Machine) -> Outcome {
    const NAME: &str = "dax/tail";
    const SIZE: u64 = (2 << 20) + 4096 + 777;
    let fs = mount_with_window(machine)?;
    files::check_whole(&fs, NAME, SIZE, 1 << 20)?;
    let file = fs.open(NAME, OpenOptions::new().read(true))?;
    let content = Content::of(NAME);
    for (offset, length) in [(SIZE - 777, 777), (SIZE - 778, 778), (SIZE - 1, 1), (SIZE - 5000, 5000), (SIZE - 100, 50)]
    {
        let mut buffer = vec![0; length];
        file.read_exact_at(&mut buffer, offset)?;
        files::check(NAME, content, offset, &buffer)?;
    }
    let mut over = vec![0; 8192];
    let count = file.read_at(&mut over, SIZE - 777)?;
    ensure!(count == 777, "{count} bytes at the tail, not 777");
    let view = file.map(SIZE - 777, 777);
    ensure!(view.is_err(), "a view of the last, partial page on a host that cannot map it");
    let view = file.map(2 << 20, 4096 + 777)?;
    ensure!(view.len() == 4096, "the view of what is behind 2 MiB has {} bytes, not a page", view.len());
    drop(view);
    drop(file);
    finish(&fs)
}

/// Machine: a window. Share: `dax/extend`, 4196 bytes of its stream. 10000 bytes of `dax/extend#2` are written at 3096, so
/// that they begin inside the file and end outside. They go to the host as one whole by WRITE; sync `extended`: the
/// host looks. The file then has 13096 bytes.
pub(crate) fn extending_write(machine: &Machine) -> Outcome {
    const NAME: &str = "dax/extend";
    const SIZE: usize = 4196;
    // Begins on a page that is mapped: a write that was split would store the first part there.
    const OFFSET: usize = SIZE - 1100;
    let fs = mount_with_window(machine)?;
    let file = fs.open(NAME, OpenOptions::new().read(true).write(true))?;
    let mut first = vec![0; SIZE];
    file.read_exact_at(&mut first, 0)?;
    files::check(NAME, Content::of(NAME), 0, &first)?;
    let pattern = stream("dax/extend#2", 10_000);
    file.write_all_at(&pattern, OFFSET as u64)?;
    let by_write = fs.stats().request_write_bytes;
    ensure!(by_write == 10_000, "{by_write} bytes went by WRITE, not all 10000");
    ensure!(file.len()? == 13_096, "the file has {} bytes", file.len()?);
    wait_for_host("extended")?;
    let mut expected = first;
    expected.truncate(OFFSET);
    expected.extend_from_slice(&pattern);
    let mut buffer = vec![0; expected.len()];
    file.read_exact_at(&mut buffer, 0)?;
    ensure!(buffer == expected, "{NAME}: reading does not give what was written");
    drop(file);
    finish(&fs)
}
