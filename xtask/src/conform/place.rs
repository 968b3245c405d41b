//! Where a suite runs.

use std::path::{Path, PathBuf};

/// A folder, bare or mounted, and what a suite may know of the run.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The folder for its files. It is empty, and nobody else's.
    pub(super) folder: PathBuf,
    /// A folder on the bare file system for logs and configuration.
    pub(super) scratch: PathBuf,
    /// Whether there is time.
    pub(super) long: bool,
}

impl Place {
    /// A file for logs or configuration.
    pub(super) fn scratch(&self, name: impl AsRef<Path>) -> PathBuf {
        self.scratch.join(name)
    }
}
