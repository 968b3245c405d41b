//! The suites.

use super::{case::Cases, fsx, pjdfstest, place::Place, programs, tools};
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
    /// Gets what it needs; an error is the reason why the suite is skipped.
    pub(super) prepare: fn(&Context) -> Result<()>,
    /// Runs it.
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
        prepare: |context| tools::pjdfstest(context).map(drop),
        run: pjdfstest::run,
    },
    Suite {
        name: "fsx",
        about: "random operations on one file, checked byte for byte",
        long: false,
        options: TRUST,
        prepare: |context| tools::fsx(context).map(drop),
        run: fsx::run,
    },
    Suite {
        name: "fio",
        about: "data that is verified after it was written",
        long: true,
        options: &[],
        prepare: |_| tools::in_path("fio"),
        run: programs::fio,
    },
    Suite {
        name: "sqlite",
        about: "a database with a write-ahead log",
        long: true,
        options: &[],
        prepare: |_| tools::in_path("sqlite3"),
        run: programs::sqlite,
    },
    Suite {
        name: "git",
        about: "a repository: add, commit, gc, fsck, clone",
        long: true,
        options: &[],
        prepare: |_| tools::in_path("git"),
        run: programs::git,
    },
    Suite {
        name: "tree",
        about: "many small files packed and unpacked",
        long: true,
        options: &[],
        prepare: |_| tools::in_path("tar"),
        run: programs::tree,
    },
];
