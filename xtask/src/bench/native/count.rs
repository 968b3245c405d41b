//! Instructions, counted by valgrind's callgrind: the same number in each run, whatever else the machine does.

use anyhow::{Context, Result, bail};
use std::{collections::BTreeMap, ffi::OsString, fs, path::Path};

/// Where the functions are that are counted, and all of them.
const MODULE: &str = "native_bench::counted::count::";
const FUNCTIONS: [&str; 7] = ["read_64", "write_64", "map_drop", "getattr", "lookup_hit", "lookup_miss", "map_again"];

/// What one call of a function took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) instructions: u64,
    /// Of them, those with a lock on the bus.
    pub(super) locked: u64,
}

/// Callgrind's arguments: it counts inside those functions only, and writes a file into `folder` after each.
pub(super) fn arguments(folder: &Path) -> Vec<OsString> {
    let mut output = OsString::from("--callgrind-out-file=");
    output.push(folder.join("counts"));
    let mut arguments: Vec<OsString> = ["--tool=callgrind", "--collect-bus=yes", "--quiet"].map(Into::into).into();
    arguments.push(output);
    arguments.push(format!("--toggle-collect={MODULE}*").into());
    arguments.extend(FUNCTIONS.map(|function| format!("--dump-after={MODULE}{function}").into()));
    arguments
}

/// What the cheapest call of each function took, by the function's name: whatever makes one dearer is the machine's doing.
///
/// # Errors
/// When nothing was counted, or a file is no file of callgrind's.
pub(super) fn read(folder: &Path) -> Result<BTreeMap<String, Counted>> {
    let mut counts = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        // The file without a number is of the end of the programme.
        if path.extension().is_none_or(|number| number.to_str().is_none_or(|number| number.parse::<u32>().is_err())) {
            continue;
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        if let Some((function, counted)) =
            parse(&text).with_context(|| format!("{} cannot be understood", path.display()))?
        {
            let least: &mut Counted = counts.entry(function).or_insert(counted);
            least.instructions = least.instructions.min(counted.instructions);
            least.locked = least.locked.min(counted.locked);
        }
    }
    if let Some(function) = FUNCTIONS.iter().find(|function| !counts.contains_key(**function)) {
        bail!("valgrind counted nothing of {function}");
    }
    Ok(counts)
}

/// The function that the file was written after, and what it took; `None` if it was written for another reason.
fn parse(text: &str) -> Result<Option<(String, Counted)>> {
    let line = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
    let trigger = line("desc: Trigger: --dump-after=").and_then(|name| name.trim().strip_prefix(MODULE));
    let Some(function) = trigger else { return Ok(None) };
    let events: Vec<&str> = line("events:").context("no events")?.split_whitespace().collect();
    let totals: Vec<&str> = line("totals:").context("no totals")?.split_whitespace().collect();
    let of = |event: &str| -> Result<u64> {
        let place = events.iter().position(|name| *name == event).with_context(|| format!("no {event}"))?;
        // What did not happen at the end of the list is left out.
        Ok(totals.get(place).map_or(Ok(0), |count| count.parse())?)
    };
    Ok(Some((function.to_owned(), Counted { instructions: of("Ir")?, locked: of("Ge")? })))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# callgrind format\nversion: 1\npid: 7\n\ndesc: Trigger: --dump-after=\
                        native_bench::counted::count::read_64\n\npositions: line\nevents: Ir Ge\n\nfn=(1) x\n0 3 1\n\n\
                        totals: 1200 40\n";

    #[test]
    fn the_cheapest_call_counts() {
        let dir = tempfile::tempdir().unwrap();
        for (at, function) in FUNCTIONS.iter().enumerate() {
            fs::write(dir.path().join(format!("counts.{at}")), FILE.replace("read_64", function)).unwrap();
        }
        fs::write(dir.path().join("counts.10"), FILE.replace("1200 40", "600")).unwrap();
        fs::write(dir.path().join("counts.12"), FILE.replace("1200 40", "9000 50")).unwrap();
        fs::write(dir.path().join("counts.11"), FILE.replace("--dump-after=", "something else ")).unwrap();
        fs::write(dir.path().join("counts"), "at the end").unwrap();
        let counts = read(dir.path()).unwrap();
        assert_eq!(counts.len(), FUNCTIONS.len());
        assert_eq!(counts["read_64"], Counted { instructions: 600, locked: 0 });
        assert_eq!(counts["getattr"], Counted { instructions: 1200, locked: 40 });
    }

    #[test]
    fn nothing_and_nonsense_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(dir.path()).unwrap_err().to_string().contains("nothing of read_64"));
        fs::write(dir.path().join("counts.1"), FILE.replace("totals", "tools")).unwrap();
        assert!(read(dir.path()).is_err());
    }
}
