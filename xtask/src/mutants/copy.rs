//! The private copy of the tree.

use super::mutation::Edit;
use anyhow::{Context, Result, bail};
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

/// What is never copied.
const SKIPPED: [&str; 2] = ["target", ".git"];

/// A copy of a folder.
#[derive(Clone, Debug)]
pub(super) struct Copy {
    root: PathBuf,
}

/// A file of the copy as it was before an edit; it is so again when this is dropped.
#[derive(Debug)]
pub(super) struct Edited {
    file: PathBuf,
    before: String,
}

impl Copy {
    /// Makes a copy what the original is. Files that are the same are not touched, so that nothing is built for them.
    ///
    /// # Errors
    /// When one cannot be read or the other not written.
    pub(super) fn sync(original: &Path, root: &Path) -> Result<Self> {
        sync(original, root).with_context(|| format!("cannot copy {} to {}", original.display(), root.display()))?;
        Ok(Self { root: root.to_path_buf() })
    }

    /// Where it is.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Makes an edit in a crate.
    ///
    /// # Errors
    /// When the old text is not there exactly once.
    pub(super) fn edit(&self, of: &str, edit: &Edit) -> Result<Edited> {
        let mut found = Vec::new();
        for folder in ["crates", "hosted", "qemu", ""].map(|folder| self.root.join(folder).join(of).join("src")) {
            if folder.is_dir() {
                search(&folder, edit.old, &mut found)?;
            }
        }
        let first = edit.old.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        let [file] = found.as_slice() else {
            bail!(
                "the text \"{first}\" is there {} times in the source of {of}, not once: bring the list up to date",
                found.len()
            );
        };
        let before = fs::read_to_string(file)?;
        fs::write(file, before.replacen(edit.old, edit.new, 1))?;
        Ok(Edited { file: file.clone(), before })
    }
}

impl Drop for Edited {
    fn drop(&mut self) {
        // The next run copies the original again if this fails.
        let _ = fs::write(&self.file, &self.before);
    }
}

/// The files with the text, once for each time that it is there.
fn search(folder: &Path, text: &str, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            search(&path, text, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let times = fs::read_to_string(&path)?.matches(text).count();
            found.extend(std::iter::repeat_n(path, times));
        }
    }
    Ok(())
}

fn sync(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    let mut kept = BTreeSet::new();
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if SKIPPED.iter().any(|&skipped| name == skipped) {
            continue;
        }
        let (source, place) = (entry.path(), to.join(&name));
        // What a link leads to is copied: the copy has no place for links out of it.
        if source.is_dir() {
            sync(&source, &place)?;
        } else if source.is_file() {
            let bytes = fs::read(&source)?;
            if fs::read(&place).ok().as_deref() != Some(&bytes) {
                fs::write(&place, bytes)?;
            }
        }
        kept.insert(name);
    }
    for entry in fs::read_dir(to)? {
        let entry = entry?;
        if !kept.contains(&entry.file_name()) {
            if entry.file_type()?.is_dir() { fs::remove_dir_all(entry.path())? } else { fs::remove_file(entry.path())? }
        }
    }
    Ok(())
}
