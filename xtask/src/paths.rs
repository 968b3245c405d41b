//! Where things are: the repository, and the folders under its target directory that the commands write to.

use anyhow::{Context, Result};
use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// The folders that the commands use.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    /// The repository's root.
    pub(crate) root: PathBuf,
    /// Cargo's target directory: `$CARGO_TARGET_DIR`, else `target/` in the repository.
    pub(crate) target: PathBuf,
}

impl Paths {
    /// Finds them from where this program was built.
    pub(crate) fn find() -> Result<Self> {
        let manifest =
            env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
        let root = manifest.parent().context("the xtask crate has no parent folder")?.to_path_buf();
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(set) if !set.is_empty() => std::path::absolute(PathBuf::from(set))?,
            _ => root.join("target"),
        };
        Ok(Self { root, target })
    }

    /// What set-up fetched or built.
    pub(crate) fn rig(&self) -> PathBuf {
        self.target.join("rig")
    }

    /// A folder a test, with its logs.
    pub(crate) fn qemu_test(&self) -> PathBuf {
        self.target.join("qemu-test")
    }
}

/// Puts a folder that is complete in its place, in one step, so that nobody ever sees half of it.
///
/// # Errors
/// When the old folder cannot be moved away or the new one not moved in.
pub(crate) fn replace_folder(new: &Path, place: &Path) -> Result<()> {
    let old = place.with_extension("old");
    if old.exists() {
        fs::remove_dir_all(&old).with_context(|| format!("cannot remove {}", old.display()))?;
    }
    if place.exists() {
        fs::rename(place, &old).with_context(|| format!("cannot move {} away", place.display()))?;
    }
    fs::rename(new, place).with_context(|| format!("cannot put {} in place", place.display()))?;
    if old.exists() {
        fs::remove_dir_all(&old).with_context(|| format!("cannot remove {}", old.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let (new, place) = (dir.path().join("new"), dir.path().join("place"));
        for content in ["one", "two"] {
            fs::create_dir(&new).unwrap();
            fs::write(new.join("file"), content).unwrap();
            replace_folder(&new, &place).unwrap();
            assert_eq!(fs::read_to_string(place.join("file")).unwrap(), content);
            assert!(!new.exists());
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
