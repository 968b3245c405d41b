//! Long functions.

use super::{offence::Offence, source::Files};
use crate::workspace::Crate;
use std::collections::BTreeSet;

/// A function may have so many lines, from its name to its last brace.
const LINES: usize = 60;
/// What a comment directly above a longer one begins with.
const REASON: &str = "// Long: ";

/// Finds the long functions that don't say why.
pub(super) fn check(one: &Crate, files: &Files) -> BTreeSet<Offence> {
    let mut found = BTreeSet::new();
    for (path, file) in files.iter() {
        for function in &file.functions {
            let lines = function.last + 1 - function.first;
            if lines <= LINES || has_reason(&file.lines, function.first) {
                continue;
            }
            let place = one.place.join(path);
            found.insert(Offence {
                key: format!("long {} {}", place.display(), function.name),
                detail: format!(
                    "{}:{}: the function {} has {lines} lines, more than {LINES}, and no line `{REASON}...` above it",
                    place.display(),
                    function.first,
                    function.name
                ),
            });
        }
    }
    found
}

/// Looks at the comments and attributes directly above a line, which is counted from one.
fn has_reason(lines: &[String], line: usize) -> bool {
    let above = lines.iter().take(line.saturating_sub(1)).rev().map(|line| line.trim());
    let mut above = above.take_while(|line| line.starts_with("//") || line.starts_with("#["));
    above.any(|line| line.strip_prefix(REASON.trim_end()).is_some_and(|reason| !reason.trim().is_empty()))
}
