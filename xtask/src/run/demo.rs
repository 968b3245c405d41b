//! The demo folder: a copy of the repository's, with one larger file that need not be in a repository.

use crate::{paths::Paths, rig::regular};
use anyhow::{Context, Result};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// A file that takes several ranges of the window, and ends inside a page.
const LARGE: &str = "large.txt";
const LARGE_LINES: u32 = 200_000;

/// A copy of the demo folder.
#[derive(Debug)]
pub(super) struct Demo {
    folder: PathBuf,
    names: BTreeSet<PathBuf>,
}

impl Demo {
    /// Copies it.
    ///
    /// # Errors
    /// When that fails.
    pub(super) fn copy(paths: &Paths, folder: &Path) -> Result<Self> {
        let from = paths.root.join("demo");
        copy_tree(&from, folder).with_context(|| format!("cannot copy {} to {}", from.display(), folder.display()))?;
        let large: String = (1..=LARGE_LINES).map(|line| format!("line {line} of a larger file\n")).collect();
        fs::write(folder.join(LARGE), large).with_context(|| format!("cannot write to {}", folder.display()))?;
        Ok(Self { folder: folder.to_path_buf(), names: names(folder)? })
    }

    /// Where it is.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Prints what the host finds in it that it didn't put there.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn show_what_is_new(&self) -> Result<()> {
        for name in names(&self.folder)?.difference(&self.names) {
            let bytes = regular::read(&self.folder, name)?;
            let text = String::from_utf8_lossy(&bytes);
            println!("The host finds the new file {} of {} bytes:", name.display(), bytes.len());
            for line in text.lines().take(3) {
                println!("    {line}");
            }
        }
        Ok(())
    }
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// The files of a tree, relative to it.
fn names(folder: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = PathBuf::from(entry.file_name());
        if entry.file_type()?.is_dir() {
            names.extend(self::names(&entry.path())?.into_iter().map(|inner| name.join(inner)));
        } else {
            names.insert(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_is_whole_and_what_is_new_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths { root: dir.path().join("root"), target: dir.path().join("target") };
        fs::create_dir_all(paths.root.join("demo/sub")).unwrap();
        fs::write(paths.root.join("demo/sub/a"), "a").unwrap();
        let demo = Demo::copy(&paths, &dir.path().join("copy")).unwrap();
        assert_eq!(demo.names, BTreeSet::from([PathBuf::from("sub/a"), PathBuf::from(LARGE)]));
        let large = fs::metadata(demo.folder().join(LARGE)).unwrap().len();
        assert!(large > 4 << 20 && !large.is_multiple_of(4096), "{large}");
        fs::write(demo.folder().join("sub/b"), "b").unwrap();
        let now = names(demo.folder()).unwrap();
        assert_eq!(now.difference(&demo.names).collect::<Vec<_>>(), [Path::new("sub/b")]);
        assert!(!paths.root.join("demo/sub/b").exists());
    }
}
