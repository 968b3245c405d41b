//! A folder of unpacked packages, and how a programme in it is started with that folder's own libraries.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

/// A programme, and what it takes to start it.
#[derive(Clone, Debug)]
pub(crate) struct Programme {
    words: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
}

impl Programme {
    /// One that starts by itself.
    pub(crate) fn plain(path: &Path) -> Self {
        Self { words: vec![path.into()], variables: Vec::new() }
    }

    /// One in a folder of unpacked packages, started by that folder's own loader; `None` if it isn't there.
    pub(crate) fn private(root: &Path, programme: &str) -> Option<Self> {
        let libraries = library_folders(root);
        let loader = [root.join("usr/lib/x86_64-linux-gnu"), root.join("lib/x86_64-linux-gnu"), root.join("lib64")]
            .into_iter()
            .map(|folder| folder.join("ld-linux-x86-64.so.2"))
            .find(|file| file.is_file())?;
        let programme = root.join(programme);
        if !programme.is_file() {
            return None;
        }
        let path = std::env::join_paths(&libraries).ok()?;
        let words = vec![loader.into(), "--library-path".into(), path, programme.into()];
        let modules = root.join("usr/lib/x86_64-linux-gnu/qemu");
        Some(Self { words, variables: vec![("QEMU_MODULE_DIR".into(), modules.into())] })
    }

    /// The same with another argument before all others.
    pub(crate) fn with(mut self, arguments: impl IntoIterator<Item = OsString>) -> Self {
        self.words.extend(arguments);
        self
    }

    /// The command that starts it.
    pub(crate) fn command(&self) -> Command {
        let mut words = self.words.iter();
        let mut command = Command::new(words.next().map(OsString::as_os_str).unwrap_or_default());
        crate::process::cargo::clean(&mut command);
        command.args(words).envs(self.variables.iter().map(|(key, value)| (key, value)));
        command
    }
}

fn library_folders(root: &Path) -> Vec<PathBuf> {
    /// Folders of libraries that programmes find by a path in themselves, which does not lead here.
    const APART: [&str; 2] = ["usr/lib/x86_64-linux-gnu/pulseaudio", "usr/lib/x86_64-linux-gnu/ceph"];
    ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"]
        .into_iter()
        .chain(APART)
        .map(|folder| root.join(folder))
        .filter(|folder| folder.is_dir())
        .collect()
}
