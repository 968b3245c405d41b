//! Whole file systems: others' and our own.

use crate::{
    paths::Paths,
    scenarios::{
        region,
        scenario::{PLAIN as NOTHING, Scenario, Script, Step, script},
        steps::told,
    },
};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;
use testkernel_protocol::shared_memory::{CHUNK, PLAIN, SMALL, STRIP_COUNT, STRIPS};

const GOLDEN: &str = "v48-interleave-small";

/// What those say who made the golden image.
fn sidecar() -> Result<Value> {
    let path = Paths::find()?.root.join(format!("crates/famfs/testdata/{GOLDEN}.json"));
    Ok(serde_json::from_slice(&fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?)?)
}

/// Hashes and patterns are those of the tools that made the image, and the image is as it was.
pub(crate) fn golden_image() -> Scenario {
    let script = Script {
        image: Some(GOLDEN),
        read_only: &[],
        steps: &[Step::Guests(&[(0, "read"), (1, "map")])],
        witness: |region, reports| {
            let sidecar = sidecar()?;
            let files = sidecar["files"].as_array().context("the sidecar has no files")?;
            ensure!(files.len() == 4, "the sidecar has {} files", files.len());
            for file in files {
                let name = file["path"].as_str().context("a file without a path")?;
                let sum = file["sha256"].as_str().context("a file without a hash")?;
                let found = told(&reports[0], &format!("sha256 {name}"))?;
                ensure!(found == sum, "{name} has the SHA-256 {found}, not {sum}");
                let kind = file["content"]["id"].to_string();
                let found = told(&reports[1], &format!("pattern {name}"))?;
                ensure!(found == kind, "{name} has the pattern {found}, not {kind}");
            }
            region.check().map(drop)
        },
    };
    Scenario { shared: Some(script), ..NOTHING }
}

/// The host reads what was made by the same crate, by its own map of it.
pub(crate) fn format_by_us_read_by_us() -> Scenario {
    script(&[Step::Guests(&[(0, "make")]), Step::Guests(&[(1, "read")])], |region, _| {
        let checked = region.check()?;
        ensure!(checked.entries == 3, "the host finds {} entries", checked.entries);
        [PLAIN, SMALL].iter().try_for_each(|file| region.holds(&checked, file.name, file.name))
    })
}

/// The file lies in strips, in the buckets that were asked for.
pub(crate) fn interleaved() -> Scenario {
    script(&[Step::Guests(&[(0, "make")]), Step::Guests(&[(1, "read")])], |region, _| {
        let checked = region.check()?;
        let file = region::file(&checked, STRIPS.name)?;
        ensure!(file.chunk() == Some(CHUNK), "a turn has {:?} bytes", file.chunk());
        let strips: Vec<_> = file.extents().iter().map(|strip| (strip.offset.0 >> 23, strip.len)).collect();
        // Ten MiB are five turns: two for each strip.
        let expected: Vec<_> = [6, 1, 4, 3].map(|bucket| (bucket, 2 * CHUNK)).into();
        ensure!(strips == expected && strips.len() == STRIP_COUNT, "the strips are in {strips:?}, not {expected:?}");
        region.holds(&checked, STRIPS.name, STRIPS.name)
    })
}
