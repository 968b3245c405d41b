//! Files, modes and sizes that change under the window.

use crate::scenarios::scenario::{PLAIN, Scenario};
use anyhow::{Context, bail, ensure};
use testkernel_protocol::content::Content;

const MIB: usize = 1 << 20;

pub(crate) fn upgrade() -> Scenario {
    Scenario {
        at: |stage, point| {
            ensure!(point == "written", "the kernel waits for `{point}`, not `written`");
            let mut expected = Content::of("dax/guest-write").bytes(0, 4 * MIB);
            expected[123_456..133_456].copy_from_slice(&Content::of("dax/guest-write#2").bytes(0, 10_000));
            let second = 2 * MIB + 5;
            expected[second..second + 10_000].copy_from_slice(&Content::of("dax/guest-write#3").bytes(0, 10_000));
            stage.holds("dax/guest-write", &expected)
        },
        after: |stage, report| {
            stage.passed_by("written")?;
            let writes = report.record.as_ref().context("the daemon left no record")?.requests("WRITE");
            ensure!(writes == 1, "{writes} WRITEs; one write could not go through the window, and only one");
            Ok(())
        },
        ..PLAIN
    }
}

pub(crate) fn truncate_under_map() -> Scenario {
    Scenario {
        at: |stage, point| {
            let mut expected = Content::of("dax/map").bytes(0, 6 * MIB);
            let cut = 3 * MIB + 100;
            match point {
                "refused" => {}
                "cut" => expected.truncate(cut),
                "stretched" => expected[cut..].fill(0),
                _ => bail!("the kernel waits for `{point}`, not `refused`, `cut` or `stretched`"),
            }
            stage.holds("dax/map", &expected)
        },
        after: |stage, _| ["refused", "cut", "stretched"].iter().try_for_each(|point| stage.passed_by(point)),
        ..PLAIN
    }
}

pub(crate) fn inode_mode() -> Scenario {
    Scenario {
        after: |_, report| {
            let record = report.record.as_ref().context("the daemon left no record")?;
            ensure!(record.maps() > 0, "the daemon mapped nothing");
            ensure!(
                record.requests("READ") >= 4 * MIB / (128 << 10),
                "the file that is not for DAX was not read by READ"
            );
            Ok(())
        },
        ..PLAIN
    }
}
