//! More files than window.

use crate::{
    machine::Machine,
    outcome::{Outcome, ensure},
    scenarios::steps::{
        files,
        window::{finish, mount_with_window},
    },
};
use alloc::vec;
use testkernel_protocol::{content::Content, share};
use virtio_fs::OpenOptions;

/// Machine: a window of 16 MiB. Share: `reclaim/big`, 64 MiB of its stream. Read from begin to end, backwards, and in
/// random small pieces. Info `sha256 reclaim/big`. At the daemon every mapping is removed at the end, and never more
/// live at once than the window holds.
pub(crate) fn small_window(machine: &Machine) -> Outcome {
    let share::File { name, size } = share::BIG;
    let fs = mount_with_window(machine)?;
    let window = fs.window_region().map_or(0, |region| region.len());
    ensure!(window * 4 <= size, "the window of {window} bytes is not small");
    files::check_whole(&fs, name, size, 1 << 20)?;
    let file = fs.open(name, OpenOptions::new().read(true))?;
    let content = Content::of(name);
    let mut buffer = vec![0; 300_000];
    let mut offset = size;
    while let Some(next) = offset.checked_sub(1_900_001) {
        offset = next;
        file.read_exact_at(&mut buffer, offset)?;
        files::check(name, content, offset, &buffer)?;
    }
    let random = Content::of("where to read");
    for index in 0..500 {
        let offset = random.word(index) % (size - 4096);
        file.read_exact_at(&mut buffer[..4096], offset)?;
        files::check(name, content, offset, &buffer[..4096])?;
    }
    let stats = fs.stats();
    ensure!(stats.removed_mappings > 0, "no mapping was ever removed");
    ensure!(stats.dax_read_bytes >= size, "only {} bytes came out of the window", stats.dax_read_bytes);
    drop(file);
    finish(&fs)
}
