//! valgrind, whose callgrind counts instructions: the machine's own, or that of its own release's package.

use super::{Context, fetch};
use crate::process;
use anyhow::{Context as _, Result};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const PACKAGE: &str = "valgrind";
/// In the package: the programme itself, and the tools that it starts. The file in `usr/bin` is a script that starts the former.
const PROGRAMME: &str = "usr/bin/valgrind.bin";
const TOOLS: &str = "usr/libexec/valgrind";

/// How it is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Valgrind {
    programme: PathBuf,
    /// Where its tools are, if it does not know by itself.
    tools: Option<PathBuf>,
}

impl Valgrind {
    /// The command that starts it.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.programme);
        if let Some(tools) = &self.tools {
            command.env("VALGRIND_LIB", tools);
        }
        command
    }

    /// What was fetched, if it is there.
    fn fetched(place: &Path) -> Option<Self> {
        let programme = place.join(PROGRAMME);
        programme.is_file().then(|| Self { programme, tools: Some(place.join(TOOLS)) })
    }
}

/// Finds it, or fetches it.
///
/// # Errors
/// One sentence about what is in the way, and the way out.
pub(crate) fn ensure(context: &Context) -> Result<Valgrind> {
    if let Some(programme) = process::in_path(PACKAGE) {
        return Ok(Valgrind { programme, tools: None });
    }
    let _lock = context.lock()?;
    let place = context.paths.rig().join(PACKAGE);
    if let Some(found) = Valgrind::fetched(&place) {
        return Ok(found);
    }
    fetch::own_packages(context, &[PACKAGE], &place, keep).context("there is no valgrind in PATH; install it")?;
    Valgrind::fetched(&place).context("the package of valgrind was put in place and is gone")
}

/// Keeps of an unpacked package what is needed.
fn keep(root: &Path, result: &Path) -> Result<()> {
    let file = |from: PathBuf, to: PathBuf| {
        fs::copy(&from, to).map(drop).with_context(|| format!("cannot copy {}", from.display()))
    };
    for folder in [Path::new(PROGRAMME).parent().unwrap_or(Path::new("")), Path::new(TOOLS)] {
        fs::create_dir_all(result.join(folder))?;
    }
    file(root.join(PROGRAMME), result.join(PROGRAMME))?;
    let tools = root.join(TOOLS);
    for entry in fs::read_dir(&tools).with_context(|| format!("the package holds no {TOOLS}"))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            file(entry.path(), result.join(TOOLS).join(entry.file_name()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_package_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let (root, result) = (dir.path().join("root"), dir.path().join("result"));
        fs::create_dir_all(root.join("usr/bin")).unwrap();
        fs::create_dir_all(&result).unwrap();
        fs::write(root.join(PROGRAMME), "programme").unwrap();
        assert!(keep(&root, &result).unwrap_err().to_string().contains(TOOLS));
        fs::create_dir_all(root.join(TOOLS).join("folder")).unwrap();
        fs::write(root.join(TOOLS).join("callgrind-amd64-linux"), "tool").unwrap();
        keep(&root, &result).unwrap();
        let found = Valgrind::fetched(&result).unwrap();
        let command = found.command();
        assert_eq!(fs::read_to_string(command.get_program()).unwrap(), "programme");
        let tools = command.get_envs().find_map(|(name, value)| (name == "VALGRIND_LIB").then_some(value?)).unwrap();
        assert_eq!(fs::read_to_string(Path::new(tools).join("callgrind-amd64-linux")).unwrap(), "tool");
        assert_eq!(Valgrind::fetched(&root.join("elsewhere")), None);
    }
}
