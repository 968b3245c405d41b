//! What a mutation is.

/// A change of the source that some test must notice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mutation {
    /// What it breaks.
    pub(super) name: &'static str,
    /// The crate that it changes.
    pub(super) of: &'static str,
    /// The changes, all made at once: more than one where each alone would be caught by the other's code.
    pub(super) edits: &'static [Edit],
    /// The words after `cargo test` that run what should notice.
    pub(super) tests: &'static [&'static str],
}

/// One change. Its place is found by the text, wherever in the crate's source that is; it must be there exactly once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edit {
    /// What stands there.
    pub(super) old: &'static str,
    /// What takes its place.
    pub(super) new: &'static str,
}

/// The tests of the window.
pub(super) const WINDOW: &[&str] = &["--package", "dax-window", "--all-features", "--lib", "--tests"];
