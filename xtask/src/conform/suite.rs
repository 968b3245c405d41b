//! The suites.

use super::{case::Cases, fsx, pjdfstest, place::Place, programs};
use crate::setup::Context;
use anyhow::Result;

/// A suite.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suite {
    /// Its name, for `--suite`.
    pub(super) name: &'static str,
    /// What it does.
    pub(super) about: &'static str,
    /// Whether it belongs to the long form only.
    pub(super) long: bool,
    /// More options for the mount.
    pub(super) options: &'static [&'static str],
    /// Runs it. A suite that cannot run here says so in a case that was skipped.
    pub(super) run: fn(&Context, &Place) -> Result<Cases>,
}

/// What sends every store through the window, also those to files with holes.
const TRUST: &[&str] = &["--trust-holes"];

/// All suites, the quick ones first.
pub(super) const SUITES: [Suite; 6] = [
    Suite {
        name: "pjdfstest",
        about: "what POSIX says of names, modes and errors",
        long: false,
        options: &[],
        run: pjdfstest::run,
    },
    Suite {
        name: "fsx",
        about: "random operations on one file, checked byte for byte",
        long: false,
        options: TRUST,
        run: fsx::run,
    },
    Suite {
        name: "fio",
        about: "data that is verified after it was written",
        long: true,
        options: &[],
        run: programs::fio,
    },
    Suite {
        name: "sqlite",
        about: "a database with a write-ahead log",
        long: true,
        options: &[],
        run: programs::sqlite,
    },
    Suite {
        name: "git",
        about: "a repository: add, commit, gc, fsck, clone",
        long: true,
        options: &[],
        run: programs::git,
    },
    Suite {
        name: "tree",
        about: "many small files packed and unpacked",
        long: true,
        options: &[],
        run: programs::tree,
    },
];
