//! Daemons and devices that fail.

use crate::scenarios::scenario::{PLAIN, Scenario};
use anyhow::bail;
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
