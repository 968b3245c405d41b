//! The two C libraries that a virtiofsd links: libseccomp and libcap-ng. The system's if a linker finds them; else their
//! static archives from this machine's own release, so that the daemon needs nothing at run time.

use super::{Context, fetch};
use crate::process;
use anyhow::{Context as _, Result, anyhow};
use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

const NAMES: [&str; 2] = ["seccomp", "cap-ng"];
const PACKAGES: [&str; 2] = ["libseccomp-dev", "libcap-ng-dev"];

/// Where the linker finds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Libraries {
    /// In the system's own folders.
    System,
    /// In this folder.
    Private(PathBuf),
}

impl fmt::Display for Libraries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("the system's libseccomp and libcap-ng"),
            Self::Private(folder) => write!(f, "libseccomp and libcap-ng ({})", folder.display()),
        }
    }
}

impl Libraries {
    /// Lets a build find them.
    pub(crate) fn apply(&self, command: &mut Command) {
        if let Self::Private(folder) = self {
            command.env("LIBSECCOMP_LIB_PATH", folder).env("LIBRARY_PATH", folder);
        }
    }
}

/// Finds them without fetching anything.
pub(crate) fn find(context: &Context) -> Option<Libraries> {
    if NAMES.iter().all(|name| linker_finds(name)) {
        return Some(Libraries::System);
    }
    let place = place(context);
    NAMES.iter().all(|name| place.join(archive(name)).is_file()).then_some(Libraries::Private(place))
}

/// Finds them, or fetches them.
///
/// # Errors
/// One sentence about what is in the way, and the way out.
pub(crate) fn ensure(context: &Context) -> Result<Libraries> {
    if let Some(found) = find(context) {
        return Ok(found);
    }
    let place = place(context);
    fetch::own_packages(context, &PACKAGES, &place, |root, result| {
        for name in NAMES {
            let file = root.join("usr/lib/x86_64-linux-gnu").join(archive(name));
            fs::copy(&file, result.join(archive(name)))
                .with_context(|| format!("the package holds no {}", archive(name)))?;
        }
        Ok(())
    })
    .map_err(|error| {
        anyhow!(
            "the daemon's libraries are missing and cannot be fetched: {error:#}; install {}",
            PACKAGES.join(" and ")
        )
    })?;
    Ok(Libraries::Private(place))
}

fn place(context: &Context) -> PathBuf {
    context.paths.rig().join("libraries")
}

fn archive(name: &str) -> String {
    format!("lib{name}.a")
}

/// Whether the C compiler, which links Rust programmes too, finds a library by itself.
fn linker_finds(name: &str) -> bool {
    let file = format!("lib{name}.so");
    let mut command = Command::new("cc");
    command.arg(format!("-print-file-name={file}"));
    process::output(&mut command, Duration::from_secs(30)).is_ok_and(|output| {
        let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        path != file && Path::new(&path).exists()
    })
}
