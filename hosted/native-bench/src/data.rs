//! Reads and writes that the window holds.

use std::cell::RefCell;
use std::hint::black_box;
use std::os::unix::fs::FileExt as _;

use anyhow::Result;
use transport_vhost_user::HostLock;
use virtio_fs::{OpenOptions, VirtioFs};

use crate::contest::{compare_busy, rival};
use crate::files::{FILE, FILE_LEN, Files};
use crate::host::{self, Mapped};
use crate::offsets::{Cycle, Random};
use crate::{allocations, output};

/// Sizes, with the step from one access to the next and the part of the file that they go through: small ones stay in the
/// processor's caches.
const SIZES: [(&str, usize, u64, u64); 4] = [
    ("64", 64, 64, 4096),
    ("4k", 4096, 4096, 256 << 10),
    ("64k", 64 << 10, 64 << 10, 1 << 20),
    ("2m", 2 << 20, 2 << 20, FILE_LEN),
];

/// A file by all ways.
pub(crate) struct Ways {
    pub(crate) ours: virtio_fs::File<HostLock>,
    pub(crate) host: std::fs::File,
    pub(crate) mapped: Mapped,
}

impl Ways {
    /// Opens a file and maps all of it, everywhere.
    pub(crate) fn open(fs: &VirtioFs<HostLock>, files: &Files, name: &str) -> Result<Self> {
        let ours = fs.open(name, OpenOptions::new().read(true).write(true))?;
        let host = host::open(&files.path(name))?;
        let mapped = Mapped::new(&host, 0, FILE_LEN as usize)?;
        let ways = Self { ours, host, mapped };
        let mut byte = [0];
        for offset in (0..FILE_LEN).step_by(4096) {
            ways.mapped.read(&mut byte, offset)?;
            ways.mapped.write(&byte, offset)?;
            // Writable from the start.
            ways.ours.write_all_at(&byte, offset)?;
        }
        Ok(ways)
    }
}

pub(crate) fn hits(fs: &VirtioFs<HostLock>, files: &Files) -> Result<()> {
    let ways = Ways::open(fs, files, FILE)?;
    for (name, len, step, span) in SIZES {
        let offsets = RefCell::new(Cycle::new(step, span));
        reads(&ways, &format!("read_{name}"), len, &|| offsets.borrow_mut().next())?;
        writes(&ways, &format!("write_{name}"), len, &|| offsets.borrow_mut().next())?;
    }
    let random = RefCell::new(Random::new(64, FILE_LEN));
    reads(&ways, "read_random_64", 64, &|| random.borrow_mut().next())?;
    let before = allocations::count();
    let mut buffer = [0; 64];
    for offset in 0..100 {
        ways.ours.read_exact_at(&mut buffer, offset)?;
    }
    output::value("read_64", "allocations", (allocations::count() - before) as f64 / 100.0, "");
    Ok(())
}

fn reads(ways: &Ways, name: &str, len: usize, next: &dyn Fn() -> u64) -> Result<()> {
    let [mut ours, mut pread, mut memcpy] = [0; 3].map(|_| vec![0; len]);
    compare_busy(
        name,
        vec![
            rival("ours", || {
                ways.ours.read_exact_at(&mut ours, next())?;
                black_box(&ours);
                Ok(())
            }),
            rival("pread", || Ok(ways.host.read_exact_at(&mut pread, next())?)),
            rival("memcpy", || ways.mapped.read(&mut memcpy, next())),
        ],
    )
}

fn writes(ways: &Ways, name: &str, len: usize, next: &dyn Fn() -> u64) -> Result<()> {
    let bytes = vec![0x5a; len];
    compare_busy(
        name,
        vec![
            rival("ours", || Ok(ways.ours.write_all_at(black_box(&bytes), next())?)),
            rival("pwrite", || Ok(ways.host.write_all_at(black_box(&bytes), next())?)),
            rival("memcpy", || ways.mapped.write(black_box(&bytes), next())),
        ],
    )
}
