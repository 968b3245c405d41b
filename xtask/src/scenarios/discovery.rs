//! Devices and their windows.

use crate::{
    rig::boot::Report,
    scenarios::{
        scenario::{PLAIN, Scenario},
        stage::Stage,
    },
};
use anyhow::{Context, Result, bail, ensure};

const MIB: u64 = 1 << 20;

pub(crate) fn pci_window_found() -> Scenario {
    Scenario { after: window_is_as_offered, ..PLAIN }
}

pub(crate) fn no_window_is_normal() -> Scenario {
    PLAIN
}

pub(crate) fn window_sizes() -> Scenario {
    Scenario { after: window_is_as_offered, ..PLAIN }
}

pub(crate) fn second_device() -> Scenario {
    Scenario { after: window_is_as_offered, ..PLAIN }
}

pub(crate) fn region_over_4g() -> Scenario {
    Scenario { after: window_is_as_offered, ..PLAIN }
}

/// The window has the size that was offered, is aligned to it, and is no RAM.
pub(super) fn window_is_as_offered(stage: &Stage, report: &Report) -> Result<()> {
    let told = report.info("window").context("the kernel reported no window")?;
    let hex = |word: &str| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok();
    let numbers: Vec<u64> = told.split_whitespace().filter_map(hex).collect();
    let [address, length] = numbers[..] else { bail!("the kernel's window is `{told}`, not an address and a length") };
    let offered = stage.window.context("this machine has no window")?;
    ensure!(length == offered, "the kernel found a window of {length:#x} bytes, QEMU was given {offered:#x}");
    ensure!(address != 0 && address % (2 * MIB) == 0, "the kernel found the window at {address:#x}");
    Ok(())
}
