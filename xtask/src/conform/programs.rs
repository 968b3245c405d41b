//! Programmes that people use, run so that they check what they did.

use super::{
    case::{self, Cases},
    place::Place,
    tools,
};
use crate::{
    process::{self, shown},
    setup::Context,
};
use anyhow::{Context as _, Result, bail};
use std::{fs, path::Path, process::Command, time::Duration};

const PATIENCE: Duration = Duration::from_secs(1800);
/// Files of the tree in the long form, and otherwise.
const FILES: (usize, usize) = (50_000, 5000);

fn must(command: &mut Command) -> Result<String> {
    let output = process::quiet(command, PATIENCE)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A database in write-ahead mode, whose index file it maps shared.
pub(super) fn sqlite(_: &Context, place: &Place) -> Result<Cases> {
    const SCRIPT: &str = "
        PRAGMA journal_mode=WAL;
        CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<20000)
            INSERT INTO t SELECT i, randomblob(200) FROM n;
        UPDATE t SET b=randomblob(300) WHERE a%3=0;
        DELETE FROM t WHERE a%7=0;
        PRAGMA wal_checkpoint(TRUNCATE);
        VACUUM;
        PRAGMA integrity_check;
        SELECT count(*) FROM t;";
    let check = || -> Result<()> {
        let said = must(Command::new("sqlite3").arg(place.folder.join("database")).arg(SCRIPT))?;
        let lines: Vec<&str> = said.lines().collect();
        // Of 20000 rows every seventh was deleted.
        if !matches!(lines[..], ["wal", .., "ok", "17143"]) {
            bail!("sqlite3 says {said:?}");
        }
        Ok(())
    };
    Ok(case::one("wal", check()))
}

/// A repository of a few hundred files.
pub(super) fn git(_: &Context, place: &Place) -> Result<Cases> {
    let repository = place.folder.join("repository");
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.arg("-C").arg(&repository).args(["-c", "user.name=conform", "-c", "user.email=conform@localhost"]);
        must(command.args(arguments))
    };
    let check = || -> Result<()> {
        fs::create_dir(&repository)?;
        git(&["init", "--quiet"])?;
        for round in 0..3 {
            for file in 0..100 {
                let folder = repository.join(format!("folder-{}", file % 10));
                fs::create_dir_all(&folder)?;
                fs::write(folder.join(format!("file-{file}")), format!("{round} {file}\n").repeat(file + 1))?;
            }
            git(&["add", "--all"])?;
            git(&["commit", "--quiet", "--message", "a round"])?;
        }
        git(&["gc", "--quiet", "--aggressive"])?;
        git(&["fsck", "--strict", "--full"])?;
        let clone = place.folder.join("clone");
        must(Command::new("git").args(["clone", "--quiet", "--no-hardlinks"]).arg(&repository).arg(&clone))?;
        let status = must(Command::new("git").arg("-C").arg(&clone).args(["status", "--porcelain"]))?;
        if !status.is_empty() {
            bail!("the clone is not clean: {status}");
        }
        Ok(())
    };
    Ok(case::one("repository", check()))
}

/// A tree of many small files: made, packed, unpacked, and compared by its contents; then copied, and compared by checksums.
pub(super) fn tree(context: &Context, place: &Place) -> Result<Cases> {
    let files = if place.long { FILES.0 } else { FILES.1 };
    let source = place.scratch("tree");
    let archive = place.folder.join("archive.tar");
    let unpacked = place.folder.join("unpacked");
    let pack = || -> Result<()> {
        must(Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&source).arg("."))?;
        fs::create_dir(&unpacked)?;
        must(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&unpacked))?;
        same(&source, &unpacked)
    };
    let rsync = tools::packaged(context, "rsync")?;
    // Times, modes and contents are what they were: nothing is left to copy.
    let compare = || -> Result<()> {
        let mut command = rsync.command();
        command.args(["--archive", "--checksum", "--itemize-changes", "--delete"]).arg(source.join("")).arg(&unpacked);
        let changes = must(&mut command)?;
        if !changes.is_empty() {
            bail!("rsync finds differences: {}", changes.lines().take(3).collect::<Vec<_>>().join("; "));
        }
        Ok(())
    };
    make_tree(&source, files)?;
    let mut cases = case::one("tar", pack());
    cases.extend(case::one("rsync", compare()));
    cases.extend(case::one("remove", fs::remove_dir_all(&unpacked).context("the tree cannot be removed")));
    fs::remove_dir_all(&source).context("the tree's model cannot be removed")?;
    Ok(cases)
}

fn make_tree(root: &Path, files: usize) -> Result<()> {
    for file in 0..files {
        let folder = root.join(format!("{}/{}", file % 17, file % 101));
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(file.to_string()), format!("{file} ").repeat(file % 500))?;
    }
    Ok(())
}

/// Compares two trees by names and contents.
fn same(one: &Path, other: &Path) -> Result<()> {
    let mut command = Command::new("diff");
    command.arg("-r").arg("--brief").arg(one).arg(other);
    let output = process::output(&mut command, PATIENCE)?;
    if !output.status.success() {
        bail!(
            "`{}`: {}",
            shown(&command),
            String::from_utf8_lossy(&output.stdout).lines().take(3).collect::<Vec<_>>().join("; ")
        );
    }
    Ok(())
}
