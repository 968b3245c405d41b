//! Daemons that stop, die or are slow.

use crate::scenarios::scenario::{PLAIN, Scenario};
use anyhow::{bail, ensure};
use testkernel_protocol::content::Content;

pub(crate) fn daemon_stops() -> Scenario {
    Scenario {
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
    }
}

/// Nothing of the daemon's is left to be judged but that it is gone.
pub(crate) fn daemon_killed() -> Scenario {
    Scenario {
        daemon_dies: true,
        at: |stage, point| {
            ensure!(point == "kill-daemon", "the kernel waits for `{point}`, not `kill-daemon`");
            stage.kill_daemon();
            Ok(())
        },
        after: |stage, _| stage.passed_by("kill-daemon"),
        ..PLAIN
    }
}

/// Every request takes a tenth of a second, and what makes data durable a second more.
pub(crate) fn daemon_slow() -> Scenario {
    Scenario {
        faults: &["fsync:delay-1000@1", "any:delay-100"],
        after: |stage, _| stage.holds("slow", &Content::of("slow").bytes(0, 8192 + 5)),
        ..PLAIN
    }
}

/// In the first session most answers are noise, but for that to INIT and the first to each way in.
pub(crate) fn daemon_lies() -> Scenario {
    Scenario {
        faults: &[
            "lookup:lie@2-60",
            "getattr:lie@2-60",
            "open:lie@2-20",
            "read:lie",
            "write:lie",
            "readdir:lie@2-20",
            "readdirplus:lie@2-20",
            "statfs:lie@1-20",
            "setupmapping:lie@2-4",
            "removemapping:lie@1-2",
            "create:lie",
            "flush:lie",
        ],
        after: |stage, _| {
            stage.holds("files/size-4097", &Content::of("files/size-4097").bytes(0, 4097))?;
            stage.holds("after-lies", &Content::of("after-lies").bytes(0, 5000))
        },
        ..PLAIN
    }
}
