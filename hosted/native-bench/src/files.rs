//! The files that everybody reads.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Bytes of the large files.
pub(crate) const FILE_LEN: u64 = 64 << 20;
/// The one that is read and written, another one, and the folders of small ones.
pub(crate) const FILE: &str = "native-data";
pub(crate) const OTHER: &str = "native-other";
pub(crate) const FOLDER: &str = "native-names";
pub(crate) const LISTED: &str = "native-listed";
/// How many small ones.
pub(crate) const NAMES: usize = 3000;
pub(crate) const LISTED_NAMES: usize = 10_000;

/// Where they are on the host.
#[derive(Clone, Debug)]
pub(crate) struct Files(PathBuf);

impl Files {
    /// Makes what is missing.
    pub(crate) fn make(share: &Path) -> Result<Self> {
        let this = Self(share.into());
        let make = || -> Result<()> {
            for name in [FILE, OTHER] {
                this.fill(name)?;
            }
            for (folder, count) in [(FOLDER, NAMES), (LISTED, LISTED_NAMES)] {
                fs::create_dir_all(this.path(folder))?;
                for index in 0..count {
                    let path = this.path(folder).join(name(index));
                    if !path.exists() {
                        fs::write(path, "")?;
                    }
                }
            }
            Ok(())
        };
        make().with_context(|| format!("cannot make files in {}", share.display()))?;
        Ok(this)
    }

    fn fill(&self, name: &str) -> Result<()> {
        let path = self.path(name);
        if fs::metadata(&path).is_ok_and(|metadata| metadata.len() == FILE_LEN) {
            return Ok(());
        }
        let bytes: Vec<u8> = (0..FILE_LEN).map(|at| (at / 251 * 7 + at % 251) as u8).collect();
        Ok(fs::write(path, bytes)?)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// The name of a small file.
pub(crate) fn name(index: usize) -> String {
    format!("name-{index:05}")
}
