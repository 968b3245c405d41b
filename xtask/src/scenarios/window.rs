//! The window when files, modes and demands change under it, and daemons that stop.

use super::{PLAIN, SMALL_WINDOW, Scenario, content::Content};
use anyhow::{Context, bail, ensure};

const MIB: usize = 1 << 20;

/// All of them.
pub(super) const ALL: [Scenario; 7] = [
    UPGRADE,
    TRUNCATE_UNDER_MAP,
    INODE_MODE,
    Scenario { name: "reclaim::guard", machines: SMALL_WINDOW, big: true, ..PLAIN },
    Scenario { name: "reclaim::read_ahead", machines: SMALL_WINDOW, big: true, ..PLAIN },
    Scenario { name: "reclaim::background", machines: SMALL_WINDOW, big: true, ..PLAIN },
    DAEMON_STOPS,
];

const UPGRADE: Scenario = Scenario {
    name: "dax::upgrade",
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
};

const TRUNCATE_UNDER_MAP: Scenario = Scenario {
    name: "dax::truncate_under_map",
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
};

const INODE_MODE: Scenario = Scenario {
    name: "dax::inode_mode",
    after: |_, report| {
        let record = report.record.as_ref().context("the daemon left no record")?;
        ensure!(record.maps() > 0, "the daemon mapped nothing");
        ensure!(record.requests("READ") >= 4 * MIB / (128 << 10), "the file that is not for DAX was not read by READ");
        Ok(())
    },
    ..PLAIN
};

const DAEMON_STOPS: Scenario = Scenario {
    name: "robust::daemon_stops",
    machines: &["q35-dax", "q35-plain"],
    at: |stage, point| {
        match point {
            "stop-daemon" => stage.stop_daemon(),
            "resume-daemon" => stage.resume_daemon(),
            _ => bail!("the kernel waits for `{point}`, not `stop-daemon` or `resume-daemon`"),
        }
        Ok(())
    },
    after: |stage, _| {
        stage.passed_by("stop-daemon")?;
        stage.passed_by("resume-daemon")?;
        stage.holds("files/size-4097", &Content::of("files/size-4097").bytes(0, 4097))
    },
    ..PLAIN
};
