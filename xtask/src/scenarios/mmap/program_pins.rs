//! Pages that a program has pinned by their addresses.

use crate::scenarios::scenario::{PLAIN, Scenario};
use anyhow::bail;
use testkernel_protocol::content::Content;

const MIB: usize = 1 << 20;

/// A cut that is refused leaves the host's file as it was; in the end it is cut.
pub(crate) fn pinned_by_a_program() -> Scenario {
    Scenario {
        big: true,
        at: |stage, name| match name {
            "uncut" => stage.holds("dax/map", &Content::of("dax/map").bytes(0, 6 * MIB)),
            _ => bail!("the kernel waits for `{name}`, not `uncut`"),
        },
        after: |stage, _| {
            stage.passed_by("uncut")?;
            stage.holds("dax/map", &Content::of("dax/map").bytes(0, 2 * MIB))
        },
        ..PLAIN
    }
}
