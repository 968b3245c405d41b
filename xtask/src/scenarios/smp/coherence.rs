//! One file, seen by every processor and by the host.

use crate::scenarios::{
    scenario::{PLAIN, Scenario},
    stage::Stage,
    steps::told,
};
use anyhow::{Context, Result, ensure};
use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::PathBuf,
};
use testkernel_protocol::edits::{self, Edit};

const EDITS: &str = "edits";

pub(crate) fn coherence() -> Scenario {
    Scenario {
        big: true,
        seconds: 240,
        at: edit,
        after: |stage, report| {
            stage.passed_by("edit")?;
            let name = told(report, "name")?;
            ensure!(the_file(stage)?.ends_with(name), "the file is not called {name} on the host");
            stage.hash_is_the_hosts(report, name)
        },
        ..PLAIN
    }
}

/// The next edit of the file, whatever its name is now.
fn edit(stage: &mut Stage, point: &str) -> Result<()> {
    ensure!(point == "edit", "the kernel waits for `{point}`, not `edit`");
    let number = stage.noted(EDITS).unwrap_or(0);
    let path = the_file(stage)?;
    let file = File::options().write(true).open(&path).with_context(|| format!("cannot open {}", path.display()))?;
    match Edit::nth(number as u64, file.metadata()?.len()) {
        Edit::Write { offset, len } => file.write_all_at(&edits::bytes(number as u64, len), offset)?,
        Edit::Resize(size) => file.set_len(size)?,
    }
    stage.note(EDITS, number + 1);
    Ok(())
}

/// The only file of the share whose name begins so.
fn the_file(stage: &Stage) -> Result<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(&stage.share)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("coherence-") {
            found.push(entry.path());
        }
    }
    ensure!(found.len() == 1, "{} files are called coherence-*", found.len());
    found.pop().context("there is one")
}
