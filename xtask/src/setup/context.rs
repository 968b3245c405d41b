//! What set-up works with, and its lock.

use super::qemu_args::QemuArgs;
use crate::paths::Paths;
use anyhow::{Context as _, Result};
use std::{
    fs::{self, File},
    path::PathBuf,
};

/// How folders begin that hold what isn't finished.
pub(crate) const SCRATCH: &str = ".unfinished-";

/// What set-up needs to know.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// Where things are.
    pub(crate) paths: Paths,
    /// The user's choice of a QEMU.
    pub(crate) qemu: QemuArgs,
    /// The folder of the system's configuration, `/etc`.
    pub(crate) etc: PathBuf,
}

impl Context {
    /// For this repository on this machine.
    pub(crate) fn new(qemu: &QemuArgs) -> Result<Self> {
        Ok(Self { paths: Paths::find()?, qemu: qemu.clone(), etc: "/etc".into() })
    }

    /// Keeps other runs of these commands from setting up at the same time, and clears away what one that was killed
    /// had begun.
    pub(crate) fn lock(&self) -> Result<File> {
        let rig = self.paths.rig();
        fs::create_dir_all(&rig).with_context(|| format!("cannot create {}", rig.display()))?;
        let lock = File::create(rig.join(".lock")).with_context(|| format!("cannot write to {}", rig.display()))?;
        lock.lock().context("the lock of the rig's folder cannot be had")?;
        for entry in fs::read_dir(&rig)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(SCRATCH) {
                fs::remove_dir_all(entry.path())
                    .with_context(|| format!("cannot remove {}", entry.path().display()))?;
            }
        }
        Ok(lock)
    }
}
