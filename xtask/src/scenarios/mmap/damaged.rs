//! Pages that are damaged, as a machine check reports them.

use crate::scenarios::scenario::{PLAIN, Scenario};
use anyhow::{Context, ensure};
use testkernel_protocol::content::Content;

const PAGE: usize = 4096;

/// What the kernel writes in the place of the lost page is in the host's file, by one WRITE.
pub(crate) fn damaged_page() -> Scenario {
    Scenario {
        at: |stage, point| {
            ensure!(point == "replaced", "the kernel waits for `{point}`, not `replaced`");
            let mut expected = Content::of("dax/map").bytes(0, 6 << 20);
            let lost = (2 << 20) + 9 * PAGE;
            expected[lost..lost + PAGE].copy_from_slice(&Content::of("dax/map#2").bytes(0, PAGE));
            stage.holds("dax/map", &expected)
        },
        after: |stage, report| {
            stage.passed_by("replaced")?;
            let writes = report.record.as_ref().context("the daemon left no record")?.requests("WRITE");
            ensure!(writes == 1, "{writes} WRITEs; only the lost page goes that way");
            Ok(())
        },
        ..PLAIN
    }
}
