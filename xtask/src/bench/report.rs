//! What is printed and written of results.

use super::{
    host::Versions,
    results::{BenchResult, Target},
};
use anyhow::{Context, Result};
use serde::Serialize;
use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

/// The table, and which targets are missed.
pub(super) fn text(results: &[BenchResult], with_linux: bool) -> String {
    let mut text = String::new();
    let mut line = |cells: [&str; 8]| {
        let [name, unit, ours, linux, limit, of_linux, of_limit, verdict] = cells;
        // Writing to a string cannot fail.
        let _ = write!(text, "{name:<16} {unit:<5} {ours:>9}");
        if with_linux {
            let _ = write!(text, " {linux:>9} {of_linux:>12}");
        }
        let line = format!(" {limit:>9} {of_limit:>12}  {verdict}");
        text.push_str(line.trim_end());
        text.push('\n');
    };
    line(["benchmark", "unit", "ours", "Linux", "limit", "ours/Linux", "ours/limit", ""]);
    let (mut met, mut missed) = (0, Vec::new());
    for result in results {
        let targets = result.targets();
        met += targets.iter().filter(|target| target.met).count();
        let verdict = verdict(&targets);
        missed.extend(targets.iter().filter(|target| !target.met).map(|target| words(result.row.name, target)));
        let number = |value: Option<f64>| value.map(number).unwrap_or_default();
        let ratio = |value: Option<f64>| value.map(|value| format!("{value:.2}")).unwrap_or_default();
        line([
            result.row.name,
            result.row.unit,
            &number(Some(result.ours)),
            &number(result.linux),
            &number(result.limit),
            &ratio(result.ratio_linux()),
            &ratio(result.ratio_limit()),
            &verdict,
        ]);
    }
    let _ = writeln!(
        text,
        "A ratio says how many times as good as the other ours is. {met} targets are met, {} are missed.",
        missed.len()
    );
    for miss in missed {
        let _ = writeln!(text, "MISSED: {miss}");
    }
    text
}

/// What of a benchmark's targets is met and missed.
fn verdict(targets: &[Target]) -> String {
    let one = |target: &Target| {
        let word = if target.met { "met" } else { "MISSED" };
        let sign = if target.against == "requests" { "<=" } else { ">=" };
        format!("{word}: {} {sign} {}", target.against, target.must)
    };
    targets.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn words(name: &str, target: &Target) -> String {
    let Target { against, is, must, .. } = target;
    match *against {
        "requests" => format!("{name} takes {is:.2} requests, it must be at most {must}"),
        _ => format!("{name} is {is:.2} times as good as {against}, it must be {must}"),
    }
}

/// Three digits or more.
fn number(value: f64) -> String {
    let decimals = match value {
        value if value >= 100.0 || value == value.trunc() => 0,
        value if value >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

#[derive(Serialize)]
struct JsonRow {
    name: &'static str,
    unit: &'static str,
    better: &'static str,
    ours: f64,
    linux: Option<f64>,
    limit: Option<f64>,
    ratio_linux: Option<f64>,
    ratio_limit: Option<f64>,
}

/// Writes the results as an array of {name, unit, better, ours, linux, limit, ratio_linux, ratio_limit}, and the versions to
/// a file beside it.
///
/// # Errors
/// When one cannot be written.
pub(super) fn write_json(file: &Path, results: &[BenchResult], versions: &Versions) -> Result<()> {
    let row = |result: &BenchResult| JsonRow {
        name: result.row.name,
        unit: result.row.unit,
        better: result.row.better.word(),
        ours: result.ours,
        linux: result.linux,
        limit: result.limit,
        ratio_linux: result.ratio_linux(),
        ratio_limit: result.ratio_limit(),
    };
    write(file, &results.iter().map(row).collect::<Vec<_>>())?;
    write(&versions_file(file), versions)
}

/// `results.json`: `results.versions.json`.
fn versions_file(file: &Path) -> PathBuf {
    file.with_extension("versions.json")
}

fn write(file: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::table::ROWS;

    fn results() -> Vec<BenchResult> {
        let row = |name: &str| ROWS.iter().find(|row| row.name == name).unwrap();
        vec![
            BenchResult {
                row: row("read_warm_2m"),
                ours: 1000.0,
                linux: Some(500.0),
                limit: Some(1000.0),
                requests: None,
            },
            BenchResult {
                row: row("lookup_miss"),
                ours: 25.0,
                linux: Some(100.0),
                limit: Some(20.0),
                requests: Some(2.0),
            },
        ]
    }

    #[test]
    fn what_is_missed_is_seen_with_its_target() {
        let text = text(&results(), true);
        let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
        let warm = line("read_warm_2m");
        assert!(warm.contains("2.00") && warm.ends_with("MISSED: Linux >= 3, met: the limit >= 0.9"), "{warm}");
        assert!(line("lookup_miss").ends_with("met: Linux >= 2, MISSED: requests <= 1"));
        assert!(text.contains("2 targets are met, 2 are missed."), "{text}");
        assert!(text.contains("MISSED: read_warm_2m is 2.00 times as good as Linux, it must be 3\n"), "{text}");
        assert!(text.contains("MISSED: lookup_miss takes 2.00 requests, it must be at most 1\n"), "{text}");
    }

    #[test]
    fn without_linux_there_is_no_column_of_it() {
        let mut results = results();
        results.iter_mut().for_each(|result| result.linux = None);
        let text = text(&results, false);
        assert!(!text.contains("Linux"), "{text}");
        assert!(text.contains("1 targets are met, 1 are missed."), "{text}");
    }

    #[test]
    fn results_are_written_for_scripts() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("r.json");
        let mut results = results();
        results[1].linux = None;
        write_json(&file, &results, &Versions::default()).unwrap();
        let read = |file: &Path| serde_json::from_str::<serde_json::Value>(&fs::read_to_string(file).unwrap()).unwrap();
        let expected = serde_json::json!([
            { "name": "read_warm_2m", "unit": "MB/s", "better": "higher", "ours": 1000.0, "linux": 500.0,
              "limit": 1000.0, "ratio_linux": 2.0, "ratio_limit": 1.0 },
            { "name": "lookup_miss", "unit": "us", "better": "lower", "ours": 25.0, "linux": null,
              "limit": 20.0, "ratio_linux": null, "ratio_limit": 0.8 },
        ]);
        assert_eq!(read(&file), expected);
        let versions = read(&dir.path().join("r.versions.json"));
        for key in ["host", "qemu", "daemon", "linux"] {
            assert!(versions.get(key).is_some(), "{key}: {versions}");
        }
        assert!(write_json(&dir.path().join("no/such/folder"), &results, &Versions::default()).is_err());
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([1545.4, 64.0, 12.34, 3.456, 0.0].map(number), ["1545", "64", "12.3", "3.46", "0"]);
    }
}
