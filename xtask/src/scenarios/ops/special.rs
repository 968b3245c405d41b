//! Attributes, extended attributes, locks, the file system.

use crate::scenarios::{
    scenario::{PLAIN, Scenario},
    stage::same,
    steps::{all_served, told, told_one_of, unknown},
};
use anyhow::{Context, Result, ensure};
use rustix::fs::{XattrFlags, getxattr, setxattr, statvfs};
use std::{
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, SystemTime},
};
use testkernel_protocol::content::Content;

pub(crate) fn attributes() -> Scenario {
    Scenario {
        our_daemon: &["--allow-setuid"],
        at: |stage, point| {
            let metadata = stage.share.join("ops/attributes").metadata()?;
            match point {
                "set" => {
                    let mode = metadata.mode() & 0o7777;
                    ensure!(mode == 0o640, "the mode on the host is {mode:o}");
                    let times = (metadata.atime(), metadata.atime_nsec(), metadata.mtime(), metadata.mtime_nsec());
                    ensure!(
                        times == (1_000_000_000, 123_456_789, 1_500_000_000, 987_654_321),
                        "the times on the host are {times:?}"
                    );
                    stage.note("the owner", metadata.uid() as usize);
                    stage.note("the group", metadata.gid() as usize);
                    Ok(())
                }
                "now" => {
                    ensure!(metadata.len() == 50, "{} bytes on the host", metadata.len());
                    let age = SystemTime::now().duration_since(metadata.modified()?).unwrap_or_default();
                    ensure!(age < Duration::from_secs(3600), "what changed now changed {age:?} ago");
                    Ok(())
                }
                _ => unknown(point),
            }
        },
        after: |stage, report| {
            stage.passed_by("now")?;
            let root = rustix::process::geteuid().is_root();
            ensure!(
                told(report, "owner")? == root.to_string(),
                "files can be given away: not {root}, as this user may"
            );
            let owner = (stage.noted("the owner")?, stage.noted("the group")?);
            ensure!(!root || owner == (1234, 5678), "the owner on the host is {owner:?}");
            Ok(())
        },
        ..PLAIN
    }
}

pub(crate) fn xattrs() -> Scenario {
    Scenario {
        daemon: &["--xattr"],
        at: |stage, point| {
            if point != "set" {
                return unknown(point);
            }
            let path = stage.share.join("ops/xattrs");
            same("user.colour", &xattr(&path, "user.colour")?, b"green")?;
            same("user.large", &xattr(&path, "user.large")?, &Content::of("user.large").bytes(0, 2000))?;
            same("user.empty", &xattr(&path, "user.empty")?, b"")?;
            ensure!(xattr(&path, "user.gone").is_err(), "user.gone is there on the host");
            setxattr(&path, "user.host", b"seen", XattrFlags::empty()).context("the host cannot set user.host")
        },
        after: |stage, report| {
            stage.passed_by("set")?;
            all_served(report, &["SETXATTR", "GETXATTR", "LISTXATTR", "REMOVEXATTR"])
        },
        ..PLAIN
    }
}

pub(crate) fn statfs_sync() -> Scenario {
    Scenario {
        after: |stage, report| {
            let ours = statvfs(&stage.share)?;
            let ours = format!("{} {} {}", ours.f_frsize, ours.f_blocks, ours.f_namemax);
            let told = told(report, "statfs")?;
            ensure!(
                told == ours,
                "block size, blocks and longest name are `{ours}` on the host; the kernel has `{told}`"
            );
            stage.holds("ops/synced", &Content::of("ops/synced").bytes(0, 8192))?;
            all_served(report, &["STATFS", "FSYNC", "FSYNCDIR", "SYNCFS", "FLUSH"])
        },
        ..PLAIN
    }
}

pub(crate) fn locks() -> Scenario {
    Scenario { after: |_, report| told_one_of(report, "locks", &["kept", "unsupported"]), ..PLAIN }
}

fn xattr(path: &Path, name: &str) -> Result<Vec<u8>> {
    let mut value = vec![0; 4096];
    let length = getxattr(path, name, value.as_mut_slice()).with_context(|| format!("the host cannot read {name}"))?;
    value.truncate(length);
    Ok(value)
}
