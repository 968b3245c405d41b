//! Dependencies that no source names.

use super::{offence::Offence, source::Files};
use crate::workspace::Crate;
use std::collections::BTreeSet;

/// Finds them.
pub(super) fn check(one: &Crate, files: &Files) -> BTreeSet<Offence> {
    let itself = one.name.replace('-', "_");
    let unused = one.dependencies.iter().filter(|name| **name != itself && !named(files, name));
    unused
        .map(|name| Offence {
            key: format!("unused {} {name}", one.name),
            detail: format!("{}: no source of the crate names its dependency {name}", one.name),
        })
        .collect()
}

fn named(files: &Files, name: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    files.iter().flat_map(|(_, file)| &file.lines).any(|line| line.split(|c| !is_word(c)).any(|word| word == name))
}
