//! What is printed and written of results.

use anyhow::{Context, Result};
use serde::Serialize;
use std::{
    fmt, fs,
    io::{self, IsTerminal, Write},
    path::Path,
};

/// What came of one test on one machine.
#[derive(Clone, Debug)]
pub(crate) struct TestResult {
    pub(crate) name: &'static str,
    pub(crate) machine: &'static str,
    pub(crate) outcome: Outcome,
    pub(crate) seconds: f64,
    /// What the kernel counted, for a test that was asked to take a certain time.
    pub(crate) numbers: Vec<String>,
}

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ok,
    Failed { message: String, details: String },
    Skipped(String),
}

impl Outcome {
    /// Of a test on several machines: failed if it failed on one, skipped if it ran on none.
    pub(crate) fn of_all<'a>(outcomes: impl Iterator<Item = &'a Self> + Clone) -> Self {
        let failed = outcomes.clone().find(|outcome| matches!(outcome, Self::Failed { .. }));
        let passed = outcomes.clone().find(|outcome| matches!(outcome, Self::Ok));
        let mut outcomes = outcomes;
        failed.or(passed).or_else(|| outcomes.next()).cloned().unwrap_or(Self::Skipped("it ran on no machine".into()))
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed { .. } => "failed",
            Self::Skipped(_) => "skipped",
        }
    }
}

/// How many passed, failed and were skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Tally {
    /// Counts.
    pub(crate) fn of(outcomes: impl Iterator<Item = Outcome>) -> Self {
        let mut tally = Self::default();
        for outcome in outcomes {
            match outcome {
                Outcome::Ok => tally.passed += 1,
                Outcome::Failed { .. } => tally.failed += 1,
                Outcome::Skipped(_) => tally.skipped += 1,
            }
        }
        tally
    }

    /// Both together.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }

    /// None failed and at least one passed.
    pub(crate) fn succeeded(&self) -> bool {
        self.failed == 0 && self.passed > 0
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// Prints the line of a test, and what went wrong on which machine.
pub(crate) fn print(name: &str, results: &[TestResult]) {
    let mut out = io::stdout().lock();
    let colour = out.is_terminal();
    let paint = |code: &str, word: &str| if colour { format!("\x1b[{code}m{word}\x1b[0m") } else { word.to_owned() };
    let line = match Outcome::of_all(results.iter().map(|result| &result.outcome)) {
        Outcome::Ok => format!("test {name} ... {}", paint("32", "ok")),
        Outcome::Failed { .. } => format!("test {name} ... {}", paint("31", "FAILED")),
        Outcome::Skipped(reason) => format!("test {name} ... {} ({reason})", paint("33", "skipped")),
    };
    let mut text = format!("{line}\n");
    for result in results {
        if let Outcome::Failed { message, details } = &result.outcome {
            text.push_str(&format!("  on {}: {message}\n{details}", result.machine));
        }
        if !result.numbers.is_empty() {
            text.push_str(&format!("  numbers on {}:\n    {}\n", result.machine, result.numbers.join("\n    ")));
        }
    }
    // If nobody reads any more there is nobody to tell.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    machine: &'a str,
    outcome: &'a str,
    seconds: f64,
    message: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    numbers: &'a [String],
}

/// Writes the results as an array of {name, machine, outcome, seconds, message}, and numbers where there are any.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn write_json(file: &Path, results: &[TestResult]) -> Result<()> {
    let rows: Vec<Row<'_>> = results
        .iter()
        .map(|result| Row {
            name: result.name,
            machine: result.machine,
            outcome: result.outcome.word(),
            seconds: (result.seconds * 1000.0).round() / 1000.0,
            message: match &result.outcome {
                Outcome::Ok => "",
                Outcome::Failed { message, .. } => message,
                Outcome::Skipped(reason) => reason,
            },
            numbers: &result.numbers,
        })
        .collect();
    let text = serde_json::to_string_pretty(&rows)?;
    fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed() -> Outcome {
        Outcome::Failed { message: "m".into(), details: String::new() }
    }

    #[test]
    fn one_machine_fails_a_test_and_one_is_enough_to_pass_it() {
        let skipped = Outcome::Skipped("s".into());
        let of = |outcomes: &[Outcome]| Outcome::of_all(outcomes.iter());
        assert_eq!(of(&[Outcome::Ok, failed(), skipped.clone()]), failed());
        assert_eq!(of(&[skipped.clone(), Outcome::Ok]), Outcome::Ok);
        assert_eq!(of(&[skipped.clone(), skipped.clone()]), skipped);
        assert!(matches!(of(&[]), Outcome::Skipped(_)));
    }

    #[test]
    fn nothing_run_is_no_success() {
        let tally = |outcomes: Vec<Outcome>| Tally::of(outcomes.into_iter());
        assert!(!tally(vec![]).succeeded());
        assert!(!tally(vec![Outcome::Skipped("s".into())]).succeeded());
        assert!(!tally(vec![Outcome::Ok, failed()]).succeeded());
        assert!(tally(vec![Outcome::Ok, Outcome::Skipped("s".into())]).succeeded());
        assert_eq!(tally(vec![Outcome::Ok, failed(), Outcome::Ok]).to_string(), "2 passed, 1 failed, 0 skipped");
    }

    #[test]
    fn results_are_written_for_scripts() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("r.json");
        let result =
            TestResult { name: "a::b", machine: "q35-dax", outcome: failed(), seconds: 1.23456, numbers: vec![] };
        let counted =
            TestResult { outcome: Outcome::Ok, seconds: 2.0, numbers: vec!["faults 7".into()], ..result.clone() };
        write_json(&file, &[result, counted]).unwrap();
        let rows: serde_json::Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        let expected = serde_json::json!([
            { "name": "a::b", "machine": "q35-dax", "outcome": "failed", "seconds": 1.235, "message": "m" },
            {
                "name": "a::b", "machine": "q35-dax", "outcome": "ok", "seconds": 2.0, "message": "",
                "numbers": ["faults 7"]
            }
        ]);
        assert_eq!(rows, expected);
        assert!(write_json(&dir.path().join("no/such/folder"), &[]).is_err());
    }
}
