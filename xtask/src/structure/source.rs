//! Reading source files: what each defines, imports and mentions.

use super::visit::{self, Function, Scope};
use anyhow::{Context, Result, anyhow};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
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
    let (next, done) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let work = || -> Result<()> {
        while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
            let file = parse(path)?;
            let place = path.strip_prefix(folder).unwrap_or(path).to_path_buf();
            // Nothing panics while it holds the lock.
            done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(place, file);
        }
        Ok(())
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| anyhow!("a worker panicked"))?)
    })?;
    Ok(Files(done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)))
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
