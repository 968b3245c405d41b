//! Names.

use crate::{
    rig::boot::Report,
    scenarios::{
        scenario::{PLAIN, Scenario},
        stage::{Stage, same},
        steps::{all_served, listing_is_the_hosts, served, told, unknown},
    },
};
use anyhow::{Result, ensure};
use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
};
use testkernel_protocol::content::Content;

pub(crate) fn names() -> Scenario {
    Scenario { after: tree_is_right, ..PLAIN }
}

pub(crate) fn readdirplus() -> Scenario {
    Scenario {
        after: |stage, report| {
            listing_is_the_hosts(stage, report)?;
            all_served(report, &["READDIRPLUS", "READDIR"])?;
            // The path has two components; a listing of names with a look-up for each would need hundreds.
            ensure!(served(report, "LOOKUP").is_none_or(|count| count < 20), "{:?} LOOKUPs", served(report, "LOOKUP"));
            Ok(())
        },
        ..PLAIN
    }
}

pub(crate) fn paths() -> Scenario {
    Scenario {
        at: |stage, point| match point {
            "made" => {
                ensure!(stage.share.join("ops/dangling").symlink_metadata()?.is_symlink(), "the link is gone");
                stage.holds("ops/made-through", b"through")
            }
            _ => unknown(point),
        },
        after: |stage, _| stage.passed_by("made"),
        ..PLAIN
    }
}

pub(crate) fn errors() -> Scenario {
    Scenario {
        after: |stage, report| {
            let root = rustix::process::geteuid().is_root();
            let expected = if root { "checked" } else { "not checked" };
            ensure!(
                told(report, "permissions")? == expected,
                "permissions are not {expected}, as this user would have it"
            );
            let mut names: Vec<_> = fs::read_dir(stage.share.join("ops"))?
                .map(|entry| Ok(entry?.file_name().into_string().unwrap_or_default()))
                .collect::<Result<_>>()?;
            names.sort();
            let long = "m".repeat(255);
            let mut expected = vec!["empty", "file", "full", &long, "secret"];
            if root {
                expected.push("theirs");
                let theirs = stage.share.join("ops/theirs").metadata()?;
                ensure!(theirs.uid() == 4321 && theirs.gid() == 4321, "what user 4321 made is {}'s", theirs.uid());
            }
            ensure!(names == expected, "after operations that fail there are {names:?}");
            stage.holds("ops/full/file", b"x")?;
            stage.holds("ops/file", b"x")?;
            stage.holds("ops/secret", b"secret")
        },
        ..PLAIN
    }
}

pub(crate) fn read_only() -> Scenario {
    Scenario {
        daemon: &["--readonly"],
        after: |stage, _| {
            const FILE: &str = "files/size-4097";
            ensure!(stage.share.join("new").symlink_metadata().is_err(), "something new is in a share for reading");
            stage.holds(FILE, &Content::of(FILE).bytes(0, 4097))?;
            let mode = stage.share.join(FILE).metadata()?.mode() & 0o7777;
            ensure!(mode == 0o644, "{FILE} has the mode {mode:o}");
            Ok(())
        },
        ..PLAIN
    }
}

/// What must be under `ops`: kind and path, sorted as the kernel lists them.
const TREE: [&str; 8] =
    ["d ops/a", "f ops/a/moved", "d ops/c", "p ops/fifo", "f ops/linked", "f ops/old", "l ops/symbolic", "f ops/three"];

/// The kernel's listing of the tree is the host's own, and both have what the operations should have left.
fn tree_is_right(stage: &Stage, _: &Report) -> Result<()> {
    let mut lines = Vec::new();
    list(&stage.share, "ops", &mut lines)?;
    let names: Vec<String> = lines
        .iter()
        .map(|line| {
            let mut words = line.split(' ');
            format!("{} {}", words.next().unwrap_or_default(), words.nth(3).unwrap_or_default())
        })
        .collect();
    ensure!(names == TREE, "under ops the host has {names:?}");
    for (name, content) in [("ops/a/moved", "two"), ("ops/three", "one"), ("ops/linked", "one"), ("ops/old", "new")] {
        stage.holds(name, content.as_bytes())?;
    }
    let inode = |name: &str| stage.share.join(name).metadata().map(|metadata| metadata.ino());
    ensure!(inode("ops/three")? == inode("ops/linked")?, "two names of one file are two files");
    ensure!(fs::read_link(stage.share.join("ops/symbolic"))? == Path::new("a/one"), "the link says something else");
    let mode = stage.share.join("ops/a").metadata()?.mode() & 0o7777;
    ensure!(mode == 0o750, "a folder made with the mode 0750 has {mode:o}");
    let mut text = lines.join("\n");
    text.push('\n');
    same("the listing of ops", &stage.output, text.as_bytes())
}

/// Lists a tree as the kernel does.
fn list(share: &Path, folder: &str, lines: &mut Vec<String>) -> Result<()> {
    let mut names: Vec<String> = fs::read_dir(share.join(folder))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    names.sort();
    for name in names {
        let path = format!("{folder}/{name}");
        let metadata = share.join(&path).symlink_metadata()?;
        let (kind, mode, links) = (metadata.file_type(), metadata.mode() & 0o7777, metadata.nlink());
        lines.push(if kind.is_dir() {
            format!("d {mode:04o} - - {path}")
        } else if kind.is_symlink() {
            format!("l - {links} - {path} -> {}", fs::read_link(share.join(&path))?.display())
        } else if kind.is_file() {
            format!("f {mode:04o} {links} {} {path}", metadata.len())
        } else {
            ensure!(kind.is_fifo(), "{path} is a {kind:?}");
            format!("p {mode:04o} {links} - {path}")
        });
        if kind.is_dir() {
            list(share, &path, lines)?;
        }
    }
    Ok(())
}
