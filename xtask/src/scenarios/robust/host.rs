//! A host, or another guest, that changes files while the guest has them open.

use crate::scenarios::scenario::{PLAIN, Scenario};
use anyhow::{Context, ensure};
use std::fs::{self, File};
use testkernel_protocol::{content::Content, share};

pub(crate) fn host_replaces() -> Scenario {
    Scenario {
        at: |stage, point| {
            ensure!(point == "replace", "the kernel waits for `{point}`, not `replace`");
            let share::File { name, size } = share::MAP;
            let (new, place) = (stage.share.join("new"), stage.share.join(name));
            fs::write(&new, Content::of(&format!("{name}#2")).bytes(0, usize::try_from(size)?))?;
            fs::rename(&new, &place).with_context(|| format!("the host cannot replace {name}"))
        },
        after: |stage, _| stage.passed_by("replace"),
        ..PLAIN
    }
}

pub(crate) fn host_cuts() -> Scenario {
    Scenario {
        at: |stage, point| {
            ensure!(point == "cut", "the kernel waits for `{point}`, not `cut`");
            let name = share::HOST_WRITE.name;
            let file = File::options().write(true).open(stage.share.join(name));
            file.and_then(|file| file.set_len((1 << 20) + 100)).with_context(|| format!("the host cannot cut {name}"))
        },
        after: |stage, _| stage.passed_by("cut"),
        ..PLAIN
    }
}

/// Two guests on one share, each with a daemon of its own. They wait for each other at every point.
pub(crate) fn two_guests() -> Scenario {
    Scenario {
        twins: true,
        at: |_, _| Ok(()),
        after: |stage, _| {
            for turn in ["written", "seen", "answered", "read", "cut"] {
                stage.passed_by(turn)?;
            }
            let share::File { name, .. } = share::GUEST_WRITE;
            stage.holds(name, &Content::of("second").bytes(0, 5000))
        },
        ..PLAIN
    }
}
