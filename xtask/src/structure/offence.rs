//! What is reported.

/// A breach of one of the rules.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Offence {
    /// What stays the same while lines move: the rule and what breaks it, as in the list of known ones.
    pub(super) key: String,
    /// Where it is, for a person.
    pub(super) detail: String,
}
