//! Reads without a window.

use std::os::unix::fs::FileExt as _;

use anyhow::Result;
use transport_vhost_user::HostLock;
use virtio_fs::{OpenOptions, VirtioFs};

use crate::contest::{compare, rival};
use crate::files::{FILE, FILE_LEN, Files};
use crate::offsets::Cycle;
use crate::{host, threads};

/// Threads that read at once: as many as there may be queues.
const MANY: usize = 4;

pub(crate) fn measure(fs: &VirtioFs<HostLock>, files: &Files) -> Result<()> {
    let file = fs.open(FILE, OpenOptions::new().read(true))?;
    let node = file.node();
    let host = host::open(&files.path(FILE))?;
    for (name, len) in [("request_128k", 128 << 10), ("request_1m", 1 << 20)] {
        let [mut ours, mut pread] = [0; 2].map(|_| vec![0; len]);
        let [mut next, mut next_host] = [0; 2].map(|_| Cycle::new(len as u64, FILE_LEN));
        compare(
            name,
            vec![
                rival("ours", || Ok(file.read_exact_at(&mut ours, next.next())?)),
                rival("pread", || Ok(host.read_exact_at(&mut pread, next_host.next())?)),
                rival("trip", || Ok(node.refresh_attr()?)),
            ],
        )?;
    }
    threads::scale(
        "request_depth",
        MANY,
        128 << 10,
        &[
            ("ours", &|_, buffer, offset| Ok(file.read_exact_at(buffer, offset)?)),
            ("pread", &|_, buffer, offset| Ok(host.read_exact_at(buffer, offset)?)),
        ],
    )
}
