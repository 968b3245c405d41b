//! Reading and writing through the window.

use crate::{
    rig::boot::Report,
    scenarios::{
        scenario::{PLAIN, Scenario},
        stage::Stage,
        steps,
    },
};
use anyhow::{Result, bail, ensure};
use testkernel_protocol::{content::Content, share};

const MIB: u64 = 1 << 20;

pub(crate) fn read_matches_host() -> Scenario {
    Scenario { after: hashes_through_window, ..PLAIN }
}

/// Reading whole pages of a file sends no READ, and once they are mapped nothing at all.
pub(crate) fn no_read_requests() -> Scenario {
    Scenario {
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
            let record = steps::record(report)?;
            let (before, after) = (stage.noted("the number of mappings")?, record.maps());
            ensure!(before == after, "{} mappings were made of what was mapped already", after - before);
            let reads = record.requests("READ");
            ensure!(reads == 0, "the daemon served {reads} READs of pages that can be mapped");
            Ok(())
        },
        ..PLAIN
    }
}

/// What the kernel stores in the window is in the host's file, with no WRITE.
pub(crate) fn write_visible_on_host() -> Scenario {
    Scenario {
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
            let writes = steps::record(report)?.requests("WRITE");
            ensure!(writes == 0, "the daemon served {writes} WRITEs");
            Ok(())
        },
        ..PLAIN
    }
}

/// What the host writes is in the window.
pub(crate) fn host_write_visible() -> Scenario {
    Scenario {
        at: |stage, name| match name {
            "host-write" => stage.write("dax/host-write", 4096, &Content::of("dax/host-write#2").bytes(0, 8192)),
            _ => bail!("the kernel waits for `{name}`, not `host-write`"),
        },
        after: |stage, _| stage.passed_by("host-write"),
        ..PLAIN
    }
}

/// The kernel's view of a file is the host's page cache itself, both ways.
pub(crate) fn map_zero_copy() -> Scenario {
    Scenario {
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
            let record = steps::record(report)?;
            for opcode in ["READ", "WRITE"] {
                let count = record.requests(opcode);
                ensure!(count == 0, "the daemon served {count} {opcode}s for a view that needs none");
            }
            Ok(())
        },
        ..PLAIN
    }
}

/// The last bytes of a file that ends inside a page.
pub(crate) fn tail_of_odd_file() -> Scenario {
    Scenario { after: |stage, report| stage.hash_is_the_hosts(report, share::TAIL.name), ..PLAIN }
}

/// A write that reaches past the end of the file makes it longer.
pub(crate) fn extending_write() -> Scenario {
    Scenario {
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
    }
}

/// The kernel read the file of every size as the host has it, and not by READ alone.
pub(super) fn hashes_through_window(stage: &Stage, report: &Report) -> Result<()> {
    steps::sizes_are_the_hosts(stage, report)?;
    ensure!(steps::record(report)?.maps() > 0, "the daemon mapped nothing");
    Ok(())
}
