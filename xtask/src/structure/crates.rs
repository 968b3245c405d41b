//! Arrows between crates.

use super::offence::Offence;
use crate::workspace::Crate;
use std::collections::BTreeSet;

/// The crates that are published, each with those it may know directly; it may know what they know, too.
const BELOW: [(&str, &[&str]); 10] = [
    ("virtio-shm", &[]),
    ("virtio-transport", &["virtio-shm"]),
    ("transport-pci", &["virtio-transport"]),
    ("transport-mmio", &["virtio-transport"]),
    ("fs-errno", &[]),
    ("fuse-proto", &["fs-errno"]),
    ("fs-dax", &["fs-errno"]),
    ("dax-window", &["fs-dax"]),
    ("virtio-fs", &["transport-pci", "transport-mmio", "fuse-proto", "dax-window"]),
    ("famfs", &["fs-dax"]),
];

/// The folder of the crates that are published.
const PUBLISHED: &str = "crates";

/// Finds the dependencies that ought not to be, those of tests included.
pub(super) fn check(crates: &[Crate]) -> BTreeSet<Offence> {
    let mut found = BTreeSet::new();
    let library = |name: &str| crates.iter().any(|one| one.name == name && one.place.starts_with(PUBLISHED));
    for one in crates.iter().filter(|one| one.place.starts_with(PUBLISHED)) {
        if !BELOW.iter().any(|(name, _)| *name == one.name) {
            found.insert(Offence {
                key: format!("place {}", one.name),
                detail: format!("the crate {} has no place in the order of crates ({})", one.name, file!()),
            });
            continue;
        }
        for needed in one.needs.iter().filter(|needed| !may_know(&one.name, needed)) {
            let why = if library(needed) { "is not below it" } else { "is no library" };
            found.insert(Offence {
                key: format!("crate {} -> {needed}", one.name),
                detail: format!("the crate {} depends on {needed}, which {why}", one.name),
            });
        }
    }
    found
}

/// Whether there is a way down.
fn may_know(upper: &str, lower: &str) -> bool {
    let direct = BELOW.iter().find(|(name, _)| *name == upper).map_or(&[][..], |(_, below)| below);
    direct.iter().any(|&name| name == lower || may_know(name, lower))
}
