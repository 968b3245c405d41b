//! What is reported.

use std::fmt;

/// A breach of one of the rules.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Offence {
    /// What stays the same while lines move: the rule and what breaks it.
    pub(super) key: String,
    /// Where it is, for a person.
    pub(super) detail: String,
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  ({})", self.key, self.detail)
    }
}
