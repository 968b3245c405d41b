//! Operations for an instruction counter: each in a function of its own, which does nothing else.
//!
//! `valgrind --tool=callgrind --toggle-collect='native_bench::counted::count::*'` counts from the entry of such a function to its end.

use anyhow::Result;
use transport_vhost_user::HostLock;
use virtio_fs::{OpenOptions, VirtioFs};

use crate::files::{FILE, FILE_LEN, FOLDER, name};
use crate::output;

/// How often a function does its operation.
const TIMES: u64 = 32;
/// How often each function is called, of which the cheapest call counts: a busy machine makes attributes grow old in the middle of
/// one, and devices answer late.
const ROUNDS: usize = 40;

/// The functions that are counted.
mod count {
    use std::hint::black_box;

    use anyhow::Result;
    use transport_vhost_user::HostLock;
    use virtio_fs::{File, Node};

    use super::TIMES;

    #[inline(never)]
    pub(super) fn read_64(file: &File<HostLock>, buffer: &mut [u8]) -> Result<()> {
        for time in 0..TIMES {
            black_box(file.read_at(buffer, time % 32 * 64)?);
        }
        Ok(())
    }

    #[inline(never)]
    pub(super) fn write_64(file: &File<HostLock>, buffer: &[u8]) -> Result<()> {
        for time in 0..TIMES {
            black_box(file.write_at(buffer, time % 32 * 64)?);
        }
        Ok(())
    }

    #[inline(never)]
    pub(super) fn map_drop(file: &File<HostLock>) -> Result<()> {
        for _ in 0..TIMES {
            drop(black_box(file.map(4096, 4096)?));
        }
        Ok(())
    }

    #[inline(never)]
    pub(super) fn getattr(node: &Node<HostLock>) -> Result<()> {
        for _ in 0..TIMES {
            black_box(node.refresh_attr()?);
        }
        Ok(())
    }

    #[inline(never)]
    pub(super) fn lookup_hit(node: &Node<HostLock>, name: &str) -> Result<()> {
        for _ in 0..TIMES {
            drop(black_box(node.lookup(name)?));
        }
        Ok(())
    }

    #[inline(never)]
    pub(super) fn lookup_miss(node: &Node<HostLock>, names: &[String]) -> Result<()> {
        for name in names {
            drop(black_box(node.lookup(name)?));
        }
        Ok(())
    }

    #[inline(never)]
    pub(super) fn map_again(file: &File<HostLock>, offsets: &[u64]) -> Result<()> {
        for &offset in offsets {
            file.read_exact_at(&mut [0], offset)?;
        }
        Ok(())
    }
}

/// Does each operation in as many rounds as are counted.
pub(crate) fn run(fs: &VirtioFs<HostLock>) -> Result<()> {
    let file = fs.open(FILE, OpenOptions::new().read(true).write(true))?;
    let root = fs.root()?;
    let node = root.lookup(FILE)?;
    let mut buffer = [0; 64];
    file.write_all_at(&buffer, 0)?;
    for _ in 0..ROUNDS {
        count::read_64(&file, &mut buffer)?;
        count::write_64(&file, &buffer)?;
        count::map_drop(&file)?;
        count::getattr(&node)?;
        count::lookup_hit(&root, FILE)?;
    }
    let folder = root.lookup(FOLDER)?;
    let names: Vec<String> = (0..ROUNDS * TIMES as usize).map(name).collect();
    for part in names.chunks(TIMES as usize) {
        count::lookup_miss(&folder, part)?;
    }
    let offsets: Vec<u64> = (0..TIMES).map(|time| time * (2 << 20) % FILE_LEN).collect();
    for _ in 0..ROUNDS {
        count::map_again(&file, &offsets)?;
    }
    for name in ["read_64", "write_64", "map_drop", "getattr", "lookup_hit", "lookup_miss", "map_again"] {
        output::value(name, "operations", TIMES as f64, "");
    }
    Ok(())
}
