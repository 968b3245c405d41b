//! A session with the server begins and ends.

use crate::{
    events,
    machine::Machine,
    mount,
    outcome::{Outcome, Stop, ensure},
};
use alloc::format;
use virtio_fs::Config;

/// Any machine with a file system device. Infos `fuse_version`, `flags`, `dax`. Two sessions follow one another, since
/// what the first leaves behind shows in the second.
pub(crate) fn init(machine: &Machine) -> Outcome {
    for round in 0..2 {
        let fs = mount::mount(machine, Config::default())?;
        let minor = fs.protocol().minor();
        ensure!(minor >= 31, "FUSE 7.{minor} is older than any server with virtio-fs");
        let root = fs.attr("/")?;
        ensure!(root.is_dir(), "session {round}: the root is no folder: mode {:o}", root.mode);
        let missing = fs.attr("/there is no such file");
        let errno = missing.as_ref().err().map(virtio_fs::Error::errno);
        ensure!(errno == Some(fuse_proto::Errno::ENOENT), "session {round}: a missing file gives {missing:?}");
        fs.unmount()?;
        let after = fs.attr("/");
        ensure!(after.is_err(), "session {round}: requests work after the unmount");
    }
    Ok(())
}

/// Any machine with a file system device, with `irq=msix` or `irq=line`; skipped when it is polled. Requests are answered
/// by interrupts that arrive. Metric `interrupts`.
pub(crate) fn interrupts(machine: &Machine) -> Outcome {
    // The host is often so fast that the reply is there before the kernel halts; not this often, though.
    const REQUESTS: u32 = 5000;
    const ENOUGH: u32 = 20;
    let (fs, interrupt) = mount::mount_and_connect(machine, Config::default())?;
    let Some(interrupt) = interrupt else {
        return Err(Stop::Skip("the device is polled: irq=msix or irq=line is needed".into()));
    };
    let before = interrupt.vector.count();
    let mut count = 0;
    for number in 0..REQUESTS {
        let missing = fs.attr(format!("/missing-{number}"));
        ensure!(missing.is_err(), "a missing file has attributes");
        count = interrupt.vector.count().wrapping_sub(before);
        if count >= ENOUGH {
            break;
        }
    }
    events::metric("interrupts", u64::from(count), "1");
    ensure!(count >= ENOUGH, "{count} interrupts arrived for {REQUESTS} requests");
    fs.unmount()?;
    Ok(())
}
