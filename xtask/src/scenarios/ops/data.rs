//! Bytes, sizes and holes.

use crate::{
    rig::{boot::Report, regular},
    scenarios::{
        scenario::{PLAIN, Scenario},
        stage::Stage,
        steps::{all_served, has_size, told, told_one_of, unknown},
    },
};
use anyhow::{Result, ensure};
use rustix::fs::{SeekFrom, seek};
use std::{os::unix::fs::MetadataExt, path::Path};
use testkernel_protocol::content::Content;

const MIB: usize = 1 << 20;

const HOLES: &str = "ops/holes";

pub(crate) fn create_write_truncate() -> Scenario {
    Scenario {
        at: |stage, point| {
            const NAME: &str = "ops/truncated";
            let mut expected = Content::of("ops/data").bytes(0, 6000);
            expected.resize(9000, 0);
            expected.extend(Content::of("ops/data#2").bytes(0, 1000));
            match point {
                "cut" => {}
                "grown" => {
                    expected.resize(3 * MIB, 0);
                    expected[MIB..MIB + 4096].copy_from_slice(&Content::of("ops/data#3").bytes(0, 4096));
                }
                "again" => expected = b"\0\0\0again".to_vec(),
                _ => return unknown(point),
            }
            has_size(stage, NAME, expected.len() as u64)?;
            stage.holds(NAME, &expected)
        },
        after: |stage, _| ["cut", "grown", "again"].iter().try_for_each(|point| stage.passed_by(point)),
        ..PLAIN
    }
}

pub(crate) fn fallocate_holes() -> Scenario {
    Scenario {
        at: |stage, point| {
            if point != "holes" {
                return unknown(point);
            }
            has_size(stage, HOLES, 4 * MIB as u64)?;
            let file = stage.read(HOLES)?;
            let mut expected = Content::of(HOLES).bytes(0, 4 * MIB);
            expected[MIB..2 * MIB].fill(0);
            // Whether the range was zeroed depends on the host's file system; the kernel says it, and checks the bytes.
            if file[3 * MIB..3 * MIB + 4096].iter().all(|&byte| byte == 0) {
                expected[3 * MIB..3 * MIB + 4096].fill(0);
                stage.note("a zeroed range", 1);
            }
            stage.holds(HOLES, &expected)?;
            let map = map(&stage.share, HOLES)?;
            ensure!(map.contains("hole 1048576 2097152"), "what was punched is no hole on the host: {map}");
            // 3 MiB are left of it, and 1 MiB is allocated past its end.
            let allocated = stage.share.join(HOLES).metadata()?.blocks() * 512;
            ensure!(allocated >= 4 * MIB as u64, "{allocated} bytes are allocated on the host");
            Ok(())
        },
        after: |stage, report| {
            stage.passed_by("holes")?;
            let zeroed = stage.noted("a zeroed range").is_ok().to_string();
            ensure!(told(report, "zeroed")? == zeroed, "zeroed on the host: {zeroed}; the kernel says otherwise");
            map_is_the_hosts(stage, report, HOLES)?;
            all_served(report, &["FALLOCATE", "LSEEK", "FSYNC"])
        },
        ..PLAIN
    }
}

pub(crate) fn copy_range() -> Scenario {
    Scenario {
        at: |stage, point| {
            if point != "copied" {
                return unknown(point);
            }
            let part = Content::of("files/size-5243003").bytes(123_456, 1_000_000);
            let mut expected = part.clone();
            expected.resize(2_000_000, 0);
            expected.extend(part);
            stage.holds("ops/copied", &expected)
        },
        after: |stage, report| {
            stage.passed_by("copied")?;
            all_served(report, &["COPY_FILE_RANGE"])
        },
        ..PLAIN
    }
}

pub(crate) fn lseek_sparse() -> Scenario {
    Scenario {
        after: |stage, report| {
            map_is_the_hosts(stage, report, "files/sparse-67108864")?;
            map_is_the_hosts(stage, report, "files/size-4097")?;
            all_served(report, &["LSEEK"])
        },
        ..PLAIN
    }
}

pub(crate) fn tmpfile() -> Scenario {
    Scenario {
        after: |stage, report| {
            told_one_of(report, "tmpfile", &["made", "unsupported"])?;
            let names = std::fs::read_dir(stage.share.join("ops"))?.count();
            ensure!(names == 0, "{names} names on the host where none was made");
            Ok(())
        },
        ..PLAIN
    }
}

/// The kernel knows the data and the holes of a file that the host has.
fn map_is_the_hosts(stage: &Stage, report: &Report, name: &str) -> Result<()> {
    let (told, ours) = (told(report, &format!("map {name}"))?, map(&stage.share, name)?);
    ensure!(told == ours, "{name}: the kernel has `{told}`, the host has `{ours}`");
    Ok(())
}

/// Data and holes: `data 0 4096 hole 4096 8192`.
fn map(share: &Path, name: &str) -> Result<String> {
    let file = regular::open(share, Path::new(name))?;
    let size = file.metadata()?.len();
    let mut words = Vec::new();
    let mut at = 0;
    while at < size {
        let data = match seek(&file, SeekFrom::Data(at)) {
            Err(rustix::io::Errno::NXIO) => size,
            found => found?,
        };
        let (kind, next) = if data > at { ("hole", data) } else { ("data", seek(&file, SeekFrom::Hole(at))?) };
        ensure!(next > at, "after {at} comes {next}");
        words.push(format!("{kind} {at} {next}"));
        at = next;
    }
    Ok(words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs::File, os::unix::fs::FileExt};

    #[test]
    fn a_map_covers_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let file = File::create(&path).unwrap();
        assert_eq!(map(dir.path(), "x").unwrap(), "");
        file.write_all_at(b"x", 9999).unwrap();
        let map = map(dir.path(), "x").unwrap();
        assert!(map.ends_with(" 10000") && map.contains("data "), "{map}");
    }
}
