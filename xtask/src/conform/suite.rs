//! The suites.

use super::{case::Cases, crate_build, fio, fsx, pjdfstest, place::Place, programs, stress, tools};
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

/// What has every read and write of a program reach the driver, past the kernel's page cache.
const DIRECT: &[&str] = &["--direct-io"];

/// All suites, the quick ones first.
pub(super) const SUITES: [Suite; 11] = [
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
        prepare: |context| tools::packaged(context, "fio").map(drop),
        run: fio::run,
    },
    Suite {
        name: "fsx-direct",
        about: "fsx past the kernel's page cache",
        long: true,
        options: &["--direct-io", "--trust-holes"],
        prepare: |context| tools::fsx(context).map(drop),
        run: fsx::direct,
    },
    Suite {
        name: "fio-direct",
        about: "fio past the kernel's page cache",
        long: true,
        options: DIRECT,
        prepare: |context| tools::packaged(context, "fio").map(drop),
        run: fio::direct,
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
        about: "many small files packed, unpacked and compared by checksums",
        long: true,
        options: &[],
        prepare: |context| tools::in_path("tar").and_then(|()| tools::packaged(context, "rsync").map(drop)),
        run: programs::tree,
    },
    Suite {
        name: "stress-ng",
        about: "stressors of files and folders, with their own checks",
        long: true,
        options: &[],
        prepare: |context| tools::packaged(context, "stress-ng").map(drop),
        run: stress::stress_ng,
    },
    Suite {
        name: "dbench",
        about: "what a file server's clients do",
        long: true,
        options: &[],
        prepare: |context| tools::packaged(context, "dbench").map(drop),
        run: stress::dbench,
    },
    Suite {
        name: "crate",
        about: "a Rust crate with macros, built and tested in the folder",
        long: true,
        options: &[],
        prepare: |_| Ok(()),
        run: crate_build::run,
    },
];
