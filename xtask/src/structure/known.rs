//! Breaches that are known: a list that may only get shorter.

use super::offence::Offence;
use anyhow::{Context, Result};
use std::{collections::BTreeSet, fs, io::ErrorKind, path::Path};

/// The list, in the repository; without it nothing is known.
pub(super) const FILE: &str = "xtask/known-offences.txt";

/// What is wrong: breaches that are not on the list, and lines of the list that are no breaches any more.
///
/// # Errors
/// When the list is there and cannot be read.
pub(super) fn compare(found: &BTreeSet<Offence>, list: &Path) -> Result<Vec<String>> {
    let text = match fs::read_to_string(list) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        other => other.with_context(|| format!("cannot read {}", list.display()))?,
    };
    let known: BTreeSet<&str> =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let keys: BTreeSet<&str> = found.iter().map(|offence| offence.key.as_str()).collect();
    let new = found.iter().filter(|offence| !known.contains(offence.key.as_str()));
    let gone = known.difference(&keys);
    Ok(new
        .map(|offence| format!("{}\n  ({})", offence.key, offence.detail))
        .chain(gone.map(|key| format!("{key}\n  (this is mended: take the line out of {FILE})")))
        .collect())
}
