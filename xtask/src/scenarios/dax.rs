//! Reading and writing through the window.

use super::{PLAIN, SMALL_WINDOWS, Scenario, Stage, content::Content, files, share::BIG};
use crate::rig::{boot::Report, record::Record};
use anyhow::{Context, Result, bail, ensure};

const MIB: u64 = 1 << 20;

/// Reading whole pages of a file sends no READ, and once they are mapped nothing at all.
pub(super) const NO_READ_REQUESTS: Scenario = Scenario {
    name: "dax::no_read_requests",
    at: |stage, name| match name {
        "mapped" => {
            let maps = stage.record()?.maps();
            ensure!(maps > 0, "the kernel says that the file is mapped, but the daemon mapped nothing");
            stage.note("the number of mappings", maps);
            Ok(())
        }
        _ => bail!("the kernel waits for `{name}`, not `mapped`"),
    },
    after: |stage, report| {
        let record = record(report)?;
        let (before, after) = (stage.noted("the number of mappings")?, record.maps());
        ensure!(before == after, "{} mappings were made of what was mapped already", after - before);
        let reads = record.requests("READ");
        ensure!(reads == 0, "the daemon served {reads} READs of pages that can be mapped");
        Ok(())
    },
    ..PLAIN
};

/// What the kernel stores in the window is in the host's file, with no WRITE.
pub(super) const WRITE_VISIBLE_ON_HOST: Scenario = Scenario {
    name: "dax::write_visible_on_host",
    at: |stage, name| match name {
        "written" => {
            let mut expected = Content::of("dax/guest-write").bytes(0, 4 * MIB as usize);
            expected[123_456..133_456].copy_from_slice(&Content::of("dax/guest-write#2").bytes(0, 10_000));
            stage.holds("dax/guest-write", &expected)
        }
        _ => bail!("the kernel waits for `{name}`, not `written`"),
    },
    after: |stage, report| {
        stage.passed_by("written")?;
        let writes = record(report)?.requests("WRITE");
        ensure!(writes == 0, "the daemon served {writes} WRITEs");
        Ok(())
    },
    ..PLAIN
};

/// What the host writes is in the window.
pub(super) const HOST_WRITE_VISIBLE: Scenario = Scenario {
    name: "dax::host_write_visible",
    at: |stage, name| match name {
        "host-write" => stage.write("dax/host-write", 4096, &Content::of("dax/host-write#2").bytes(0, 8192)),
        _ => bail!("the kernel waits for `{name}`, not `host-write`"),
    },
    after: |stage, _| stage.passed_by("host-write"),
    ..PLAIN
};

/// The kernel's view of a file is the host's page cache itself, both ways.
pub(super) const MAP_ZERO_COPY: Scenario = Scenario {
    name: "dax::map_zero_copy",
    at: |stage, name| match name {
        "poke" => stage.write("dax/map", 3 * MIB, b"HOSTPOKE"),
        "poked-back" => {
            let file = stage.read("dax/map")?;
            let at = 3 * MIB as usize + 4096;
            ensure!(&file[at..at + 8] == b"GUESTPOK", "the kernel's bytes are not in the host's file");
            Ok(())
        }
        _ => bail!("the kernel waits for `{name}`, not `poke` or `poked-back`"),
    },
    after: |stage, report| {
        stage.passed_by("poke")?;
        stage.passed_by("poked-back")?;
        let record = record(report)?;
        for opcode in ["READ", "WRITE"] {
            let count = record.requests(opcode);
            ensure!(count == 0, "the daemon served {count} {opcode}s for a view that needs none");
        }
        Ok(())
    },
    ..PLAIN
};

/// A write that reaches past the end of the file makes it longer.
pub(super) const EXTENDING_WRITE: Scenario = Scenario {
    name: "dax::extending_write",
    at: |stage, name| match name {
        "extended" => {
            let mut expected = Content::of("dax/extend").bytes(0, 3096);
            expected.extend(Content::of("dax/extend#2").bytes(0, 10_000));
            stage.holds("dax/extend", &expected)
        }
        _ => bail!("the kernel waits for `{name}`, not `extended`"),
    },
    after: |stage, _| stage.passed_by("extended"),
    ..PLAIN
};

/// The neighbour of the file system in one window: what it stored is in the host's file, and of all mappings only its own one
/// is in its half.
pub(super) const PARTITION: Scenario = Scenario {
    name: "dax::partition",
    machines: SMALL_WINDOWS,
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
        let (low, high): (Vec<_>, Vec<_>) = record(report)?.places().partition(|&(offset, _)| offset < half);
        ensure!(low == [(2 * MIB, 4 * MIB)], "in the neighbour's half these mappings were made: {low:x?}");
        let ranges = half / (2 * MIB);
        ensure!(high.len() as u64 > 2 * ranges, "only {} mappings in the file system's half", high.len());
        Ok(())
    },
    ..PLAIN
};

/// The window has the size that was offered, is aligned to it, and is no RAM.
pub(super) fn window_is_as_offered(stage: &Stage, report: &Report) -> Result<()> {
    let told = report.info("window").context("the kernel told no window")?;
    let hex = |word: &str| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok();
    let numbers: Vec<u64> = told.split_whitespace().filter_map(hex).collect();
    let [address, length] = numbers[..] else { bail!("the kernel's window is `{told}`, not an address and a length") };
    let offered = stage.window.context("this machine has no window")?;
    ensure!(length == offered, "the kernel found a window of {length:#x} bytes, QEMU was given {offered:#x}");
    ensure!(address != 0 && address % (2 * MIB) == 0, "the kernel found the window at {address:#x}");
    Ok(())
}

/// The kernel read the file of every size as the host has it, and not by READ alone.
pub(super) fn hashes_through_window(stage: &Stage, report: &Report) -> Result<()> {
    files::sizes_are_the_hosts(stage, report)?;
    ensure!(record(report)?.maps() > 0, "the daemon mapped nothing");
    Ok(())
}

/// The last bytes of a file that ends inside a page.
pub(super) fn tail_hash_is_the_hosts(stage: &Stage, report: &Report) -> Result<()> {
    stage.hash_is_the_hosts(report, "dax/tail")
}

/// A file four times as long as the window was read right, with never more mappings than fit, and all of them removed.
pub(super) fn reclaim_is_balanced(stage: &Stage, report: &Report) -> Result<()> {
    stage.hash_is_the_hosts(report, BIG)?;
    let record = record(report)?;
    let (most, fit) = (record.most_live() as u64, stage.window.unwrap_or_default() / (2 * MIB));
    ensure!(most <= fit, "{most} mappings were alive at once in a window of {fit} ranges");
    ensure!(record.maps() as u64 >= 4 * fit, "{} mappings cannot have covered {BIG}", record.maps());
    Ok(())
}

fn record(report: &Report) -> Result<&Record> {
    report.record.as_ref().context("the daemon left no record")
}
