//! Cases of a suite, and how they ended.

use std::collections::BTreeMap;

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// As it should.
    Passed,
    /// Not as it should; why.
    Failed(String),
    /// It did not run; why.
    Skipped(String),
}

/// Cases by name.
pub(super) type Cases = BTreeMap<String, Ended>;

/// One case alone: what a command that must succeed says.
pub(super) fn one(name: &str, outcome: anyhow::Result<()>) -> Cases {
    let ended = match outcome {
        Ok(()) => Ended::Passed,
        Err(error) => Ended::Failed(format!("{error:#}")),
    };
    Cases::from([(name.to_owned(), ended)])
}
