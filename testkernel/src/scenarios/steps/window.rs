//! Sessions that must use their window.

use crate::{
    events,
    machine::Machine,
    mount::{self, Fs},
    outcome::{Outcome, Stop, ensure},
};
use virtio_fs::{Config, DaxStatus};

/// Mounts, and fails unless the window is in use.
pub(crate) fn mount_with_window(machine: &Machine) -> Result<Fs, Stop> {
    let fs = mount::mount(machine, Config::default())?;
    let status = fs.dax_status();
    ensure!(status == DaxStatus::Active, "DAX is {status}");
    Ok(fs)
}

pub(crate) fn mount_with(machine: &Machine, config: Config) -> Result<Fs, Stop> {
    let fs = mount::mount(machine, config)?;
    let status = fs.dax_status();
    ensure!(status == DaxStatus::Active, "DAX is {status}");
    Ok(fs)
}

/// Ends the session and reports.
pub(crate) fn finish(fs: &Fs) -> Outcome {
    let status = fs.dax_status();
    ensure!(status == DaxStatus::Active, "DAX has become {status}");
    fs.unmount()?;
    mount::report(fs);
    let stats = fs.stats();
    events::info("dax_at_the_end", &stats.dax);
    Ok(())
}
