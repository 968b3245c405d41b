//! More files than window.

use super::{Machine, Outcome, dax, ensure, files};
use crate::content::Content;
use alloc::vec;
use virtio_fs::OpenOptions;

/// The file, 64 MiB of its stream.
const NAME: &str = "reclaim/big";
const SIZE: u64 = 64 << 20;
/// Both.
pub(crate) const BIG: (&str, u64) = (NAME, SIZE);

/// Machine: a window of 16 MiB. Share: `reclaim/big`, 64 MiB of its stream. Read from begin to end, backwards, and in
/// random small pieces. Info `sha256 reclaim/big`. At the daemon every mapping is removed at the end, and never more
/// live at once than the window holds.
pub(crate) fn small_window(machine: &Machine) -> Outcome {
    let fs = dax::mount_with_window(machine)?;
    let window = fs.window_region().map_or(0, |region| region.len());
    ensure!(window * 4 <= SIZE, "the window of {window} bytes is not small");
    files::check_whole(&fs, NAME, SIZE, 1 << 20)?;
    let file = fs.open(NAME, OpenOptions::new().read(true))?;
    let content = Content::of(NAME);
    let mut buffer = vec![0; 300_000];
    let mut offset = SIZE;
    while let Some(next) = offset.checked_sub(1_900_001) {
        offset = next;
        file.read_exact_at(&mut buffer, offset)?;
        files::check(NAME, content, offset, &buffer)?;
    }
    let random = Content::of("where to read");
    for index in 0..500 {
        let offset = random.word(index) % (SIZE - 4096);
        file.read_exact_at(&mut buffer[..4096], offset)?;
        files::check(NAME, content, offset, &buffer[..4096])?;
    }
    let stats = fs.stats();
    ensure!(stats.removed_mappings > 0, "no mapping was ever removed");
    ensure!(stats.dax_read_bytes >= SIZE, "only {} bytes came out of the window", stats.dax_read_bytes);
    drop(file);
    dax::finish(&fs)
}
