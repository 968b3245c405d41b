//! A window that two share.

use crate::scenarios::{
    scenario::{PLAIN, Scenario},
    steps,
};
use anyhow::{Context, bail, ensure};
use testkernel_protocol::content::Content;

const MIB: u64 = 1 << 20;

/// The neighbour of the file system in one window: what it stored is in the host's file, and of all mappings only its own one
/// is in its half.
pub(crate) fn partition() -> Scenario {
    Scenario {
        big: true,
        at: |stage, name| match name {
            "stored" => {
                let mut expected = Content::of("dax/map").bytes(0, 6 * MIB as usize);
                for index in 0..16_u64 {
                    let at = 2 * MIB as usize + index as usize * 37 * 4096 + 8;
                    expected[at..at + 8].copy_from_slice(&(0x1111_2222_0000_0000 | index).to_le_bytes());
                }
                stage.holds("dax/map", &expected)
            }
            _ => bail!("the kernel waits for `{name}`, not `stored`"),
        },
        after: |stage, report| {
            stage.passed_by("stored")?;
            let half = stage.window.context("this machine has no window")? / 2;
            let (low, high): (Vec<_>, Vec<_>) = steps::record(report)?.places().partition(|&(offset, _)| offset < half);
            ensure!(low == [(2 * MIB, 4 * MIB)], "in the neighbour's half these mappings were made: {low:x?}");
            let ranges = half / (2 * MIB);
            ensure!(high.len() as u64 > 2 * ranges, "only {} mappings in the file system's half", high.len());
            Ok(())
        },
        ..PLAIN
    }
}
