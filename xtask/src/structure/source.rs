//! Reading source files: what each defines, imports and mentions.

use super::visit::{self, Function, Scope};
use anyhow::{Context, Result, anyhow};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Folders that hold no source of a crate.
const SKIPPED: [&str; 4] = ["target", "testdata", "fuzz", ".git"];

/// A source file, as far as it matters here.
#[derive(Clone, Debug, Default)]
pub(super) struct SourceFile {
    /// Its lines.
    pub(super) lines: Vec<String>,
    /// Every function in it.
    pub(super) functions: Vec<Function>,
    /// What the module has that it is.
    pub(super) scope: Scope,
}

/// The files of a crate by their paths in its folder.
#[derive(Clone, Debug, Default)]
pub(super) struct Files(BTreeMap<PathBuf, SourceFile>);

impl Files {
    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&PathBuf, &SourceFile)> {
        self.0.iter()
    }

    /// One of them.
    pub(super) fn get(&self, path: &Path) -> Option<&SourceFile> {
        self.0.get(path)
    }
}

/// Reads all files of a crate.
///
/// # Errors
/// When one cannot be read or is no Rust.
pub(super) fn read(folder: &Path) -> Result<Files> {
    let mut paths = Vec::new();
    list(folder, &mut paths)?;
    let file = |path: PathBuf| Ok((path.strip_prefix(folder).unwrap_or(&path).to_path_buf(), parse(&path)?));
    Ok(Files(paths.into_iter().map(file).collect::<Result<_>>()?))
}

fn list(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            if !path.file_name().is_some_and(|name| SKIPPED.iter().any(|&skipped| name == skipped)) {
                list(&path, paths)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
    Ok(())
}

fn parse(path: &Path) -> Result<SourceFile> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let syntax =
        syn::parse_file(&text).map_err(|error| anyhow!("{}:{}: {error}", path.display(), error.span().start().line))?;
    let (scope, functions) = visit::file(&syntax);
    Ok(SourceFile { lines: text.lines().map(str::to_owned).collect(), functions, scope })
}
