//! The modules of one target, and what a path in one of them means.

use super::{
    source::Files,
    visit::{Method, Scope},
};
use crate::workspace::Crate;
use anyhow::{Context, Result};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// The number of a module in its tree.
type ModuleId = usize;

/// A module.
#[derive(Debug)]
pub(super) struct Module<'a> {
    /// The file that it is in.
    pub(super) file: PathBuf,
    /// What it has.
    pub(super) scope: &'a Scope,
    parent: Option<ModuleId>,
    children: BTreeMap<String, ModuleId>,
}

/// What a path means.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Meaning {
    /// A module.
    Module(ModuleId),
    /// Something that is defined in a module, or a part of it.
    Item(ModuleId, String),
}

/// All modules of one target; the first is the root.
#[derive(Debug)]
pub(super) struct ModuleTree<'a> {
    /// The modules.
    pub(super) modules: Vec<Module<'a>>,
}

impl<'a> ModuleTree<'a> {
    /// Follows the module declarations from the first file of a target.
    ///
    /// # Errors
    /// When the file is not among the crate's.
    pub(super) fn new(files: &'a Files, root: &Path, one: &Crate) -> Result<Self> {
        let root = root.strip_prefix(&one.folder).unwrap_or(root);
        let file = files.get(root).with_context(|| format!("{} has no file {}", one.name, root.display()))?;
        let mut tree = Self { modules: Vec::new() };
        let folder = root.parent().unwrap_or(Path::new("")).to_path_buf();
        tree.add(files, &file.scope, root, &folder, None);
        Ok(tree)
    }

    /// Adds a module and those in it. `folder` is where the files of its modules are.
    fn add(
        &mut self,
        files: &'a Files,
        scope: &'a Scope,
        file: &Path,
        folder: &Path,
        parent: Option<ModuleId>,
    ) -> usize {
        let id = self.modules.len();
        self.modules.push(Module { file: file.to_path_buf(), scope, parent, children: BTreeMap::new() });
        for (name, inner) in &scope.inner {
            let child = self.add(files, inner, file, &folder.join(name), Some(id));
            self.modules[id].children.insert(name.clone(), child);
        }
        for (name, stated) in &scope.outer {
            let places = match stated {
                Some(stated) => vec![file.parent().unwrap_or(Path::new("")).join(stated)],
                None => vec![folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs")],
            };
            let Some((place, source)) = places.into_iter().find_map(|place| {
                let source = files.get(&place)?;
                Some((place, source))
            }) else {
                continue;
            };
            let child = self.add(files, &source.scope, &place, &folder.join(name), Some(id));
            self.modules[id].children.insert(name.clone(), child);
        }
        id
    }

    /// What a path means in a module; `None` if it leads out of the crate or is not understood.
    pub(super) fn meaning(&self, module: ModuleId, path: &[String]) -> Option<Meaning> {
        self.resolve(module, path, &mut BTreeSet::new())
    }

    /// The type that an `impl` block is for.
    pub(super) fn owner(&self, module: ModuleId, method: &Method) -> Option<Meaning> {
        self.meaning(module, &method.of)
    }

    /// The module that something is in, or is.
    pub(super) fn file_of(&self, meaning: &Meaning) -> &Path {
        let (Meaning::Module(id) | Meaning::Item(id, _)) = meaning;
        &self.modules[*id].file
    }

    /// The file of a macro that any of its modules defines.
    pub(super) fn macro_file(&self, name: &str) -> Option<&Path> {
        let module = self.modules.iter().find(|module| module.scope.macros.iter().any(|one| one == name))?;
        Some(&module.file)
    }

    fn resolve(&self, module: ModuleId, path: &[String], seen: &mut BTreeSet<(ModuleId, String)>) -> Option<Meaning> {
        let (first, rest) = path.split_first()?;
        let start = match first.as_str() {
            "crate" | "$crate" => Meaning::Module(0),
            "self" => Meaning::Module(module),
            "super" => Meaning::Module(self.modules[module].parent?),
            name => self.lookup(module, name, seen)?,
        };
        self.follow(start, rest, seen)
    }

    /// Goes on from a meaning by the rest of a path.
    fn follow(&self, start: Meaning, rest: &[String], seen: &mut BTreeSet<(ModuleId, String)>) -> Option<Meaning> {
        let mut here = start;
        for name in rest {
            here = match here {
                Meaning::Module(id) if name == "super" => Meaning::Module(self.modules[id].parent?),
                Meaning::Module(id) if name == "self" => Meaning::Module(id),
                Meaning::Module(id) => self.lookup(id, name, seen)?,
                // Variants and associated items are where their type is.
                item @ Meaning::Item(..) => return Some(item),
            };
        }
        Some(here)
    }

    /// What a name means in a module.
    fn lookup(&self, id: ModuleId, name: &str, seen: &mut BTreeSet<(ModuleId, String)>) -> Option<Meaning> {
        // Re-exports may go round.
        if !seen.insert((id, name.to_owned())) {
            return None;
        }
        let module = &self.modules[id];
        let found = if let Some(&child) = module.children.get(name) {
            Some(Meaning::Module(child))
        } else if module.scope.items.iter().any(|item| item == name) {
            Some(Meaning::Item(id, name.to_owned()))
        } else if let Some((_, import)) = module.scope.imports.iter().find(|(imported, _)| imported == name) {
            self.resolve(id, &import.path, seen)
        } else {
            module.scope.globs.iter().find_map(|glob| match self.resolve(id, glob, seen)? {
                Meaning::Module(from) => self.lookup(from, name, seen),
                // The variants of an enum.
                Meaning::Item(..) => None,
            })
        };
        seen.remove(&(id, name.to_owned()));
        found
    }
}
