//! A disk that is really full: a small one that only the daemon has mounted, seen through its eyes.

use crate::scenarios::{
    scenario::{PLAIN, Scenario},
    stage::{Stage, same},
    steps::{told, unknown},
};
use anyhow::{Context, Result, ensure};
use rustix::fs::statvfs;
use std::{fs, os::unix::fs::MetadataExt};
use testkernel_protocol::content::Content;

const LEN: u64 = 8 << 20;

pub(crate) fn full_disk() -> Scenario {
    Scenario {
        small_disk: Some(LEN),
        at: |stage, point| match point {
            "full" => {
                let disk = stage.small_disk()?;
                ensure!(statvfs(&disk)?.f_bfree == 0, "the disk is not full");
                let mut old = Content::of("old").bytes(0, 3 << 20);
                old[1 << 20..][..5].copy_from_slice(b"dense");
                holds(stage, "old", &old)?;
                let hole = disk.join("hole").metadata()?;
                ensure!((hole.len(), hole.blocks()) == (2 << 20, 0), "the hole has {} blocks", hole.blocks());
                stage.note("written", disk.join("new").metadata()?.len() as usize);
                holds(stage, "new", &Content::of("new").bytes(0, stage.noted("written")?))
            }
            "removed" => {
                let free = statvfs(&stage.small_disk()?)?.f_bfree;
                ensure!(free >= 512, "{free} pages are free: the file without a name still takes up the rest");
                Ok(())
            }
            "again" => holds(stage, "hole", &Content::of("hole").bytes(0, 2 << 20)),
            _ => unknown(point),
        },
        after: |stage, report| {
            for point in ["full", "removed", "again"] {
                stage.passed_by(point)?;
            }
            // Of the write that was refused the daemon may have written a part.
            let (told_written, written) = (told(report, "written")?.parse::<usize>()?, stage.noted("written")?);
            ensure!(
                (told_written..told_written + 200_000).contains(&written),
                "{written} bytes on the host, the kernel reported {told_written}"
            );
            // The unmodified daemon announces mounts only if it is asked to.
            ensure!(report.record.is_none() || told(report, "submount")? == "true", "the mount was not announced");
            Ok(())
        },
        ..PLAIN
    }
}

/// Fails unless a file of the small disk holds exactly this.
fn holds(stage: &Stage, name: &str, expected: &[u8]) -> Result<()> {
    let found = fs::read(stage.small_disk()?.join(name)).with_context(|| format!("the host cannot read {name}"))?;
    same(name, &found, expected)
}
