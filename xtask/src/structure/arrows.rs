//! Arrows between the files of a crate.

use super::{
    module_tree::{Meaning, ModuleTree},
    visit::Mention,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// Which file points at which, with the first line that does and what it says.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrows(BTreeMap<PathBuf, BTreeMap<PathBuf, Reason>>);

/// Why one file points at another.
#[derive(Clone, Debug)]
pub(super) struct Reason {
    /// The line.
    pub(super) line: usize,
    /// The path or method there.
    pub(super) words: String,
}

impl Arrows {
    /// Adds those of one target.
    pub(super) fn add(&mut self, tree: &ModuleTree<'_>) {
        let methods = methods(tree);
        for (id, module) in tree.modules.iter().enumerate() {
            let imports = || module.scope.imports.iter().map(|(_, import)| import);
            for mention in imports().chain(&module.scope.mentions) {
                match tree.meaning(id, &mention.path) {
                    // A module's name says nothing yet: what is taken from it does.
                    None | Some(Meaning::Module(_)) => {}
                    Some(meaning) => {
                        self.point(&module.file, tree.file_of(&meaning), mention.line, || mention.path.join("::"));
                    }
                }
            }
            let own = |mention: &&Mention| mention.path.first().is_some_and(|first| first == "crate");
            for mention in imports().filter(own).chain(&module.scope.expands) {
                if let Some(file) = mention.path.last().and_then(|name| tree.macro_file(name)) {
                    self.point(&module.file, file, mention.line, || mention.path.join("::"));
                }
            }
            for (call, line) in &module.scope.calls {
                let Some(owner) = tree.owner(id, call) else { continue };
                let Some(places) = methods.get(&(owner, call.name.as_str())) else { continue };
                if !places.contains(module.file.as_path()) {
                    for place in places {
                        self.point(&module.file, place, *line, || format!("self.{}()", call.name));
                    }
                }
            }
        }
    }

    fn point(&mut self, from: &Path, to: &Path, line: usize, words: impl FnOnce() -> String) {
        if from != to {
            let reasons = self.0.entry(from.to_path_buf()).or_default();
            reasons.entry(to.to_path_buf()).or_insert_with(|| Reason { line, words: words() });
        }
    }

    /// The files that point at others.
    pub(super) fn sources(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }

    /// What a file points at.
    pub(super) fn from(&self, file: &Path) -> impl Iterator<Item = (&Path, &Reason)> {
        self.0.get(file).into_iter().flatten().map(|(to, reason)| (to.as_path(), reason))
    }

    /// An arrow as a person reads it.
    pub(super) fn shown(&self, from: &Path, to: &Path) -> String {
        let reason = self.from(from).find(|(file, _)| *file == to).map(|(_, reason)| reason);
        let (line, words) = reason.map_or((0, ""), |reason| (reason.line, reason.words.as_str()));
        format!("{}:{line} -> {} ({words})", from.display(), to.display())
    }
}

/// The files that add a method to a type.
fn methods<'a>(tree: &'a ModuleTree<'_>) -> BTreeMap<(Meaning, &'a str), BTreeSet<&'a Path>> {
    let mut methods: BTreeMap<_, BTreeSet<&Path>> = BTreeMap::new();
    for (id, module) in tree.modules.iter().enumerate() {
        for added in &module.scope.adds {
            if let Some(owner) = tree.owner(id, added) {
                methods.entry((owner, added.name.as_str())).or_default().insert(&module.file);
            }
        }
    }
    methods
}
