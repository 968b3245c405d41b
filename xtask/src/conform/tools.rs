//! The suites' programmes: released crates that are built here, and what the machine's packages bring.

use crate::process;
use crate::setup::{Context, fetch, released};
use anyhow::{Context as _, Result};
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// A crate's programme that is built here.
#[derive(Clone, Copy, Debug)]
struct Released {
    name: &'static str,
    version: &'static str,
}

const PJDFSTEST: Released = Released { name: "pjdfstest", version: "0.2.2" };
const FSX: Released = Released { name: "fsx", version: "0.3.2" };

/// Where POSIX suites test access control lists, a programme links this.
const ACL: &str = "libacl.so";
/// The package with it, and the library that the one of this machine is.
const ACL_PACKAGE: &str = "libacl1-dev";
const ACL_LOADED: &str = "libacl.so.1";

/// pjdfstest, built if it is not there.
///
/// # Errors
/// One sentence about what is in the way.
pub(super) fn pjdfstest(context: &Context) -> Result<PathBuf> {
    install(context, PJDFSTEST, |command| {
        if let Some(folder) = acl(context)? {
            command.env("LIBRARY_PATH", folder);
        }
        Ok(())
    })
}

/// fsx, built if it is not there.
///
/// # Errors
/// One sentence about what is in the way.
pub(super) fn fsx(context: &Context) -> Result<PathBuf> {
    install(context, FSX, |_| Ok(()))
}

/// Whether a programme of the machine's packages is there.
///
/// # Errors
/// One sentence with the way out.
pub(super) fn in_path(programme: &str) -> Result<()> {
    process::in_path(programme).map(drop).with_context(|| format!("there is no {programme} in PATH; install it"))
}

fn install(context: &Context, tool: Released, prepare: impl FnOnce(&mut Command) -> Result<()>) -> Result<PathBuf> {
    let Released { name, version } = tool;
    let place = place(context).join(format!("{name}-{version}"));
    let programme = place.join("bin").join(name);
    if !programme.is_file() {
        let _lock = context.lock()?;
        let mut prepared = Ok(());
        released::install(context, name, version, &place, |command| {
            // It waits for the file system most of the time: how fast it builds matters more than how fast it is.
            command.arg("--debug");
            prepared = prepare(command);
        })
        .and(prepared)
        .with_context(|| format!("{name} {version} cannot be built"))?;
    }
    Ok(programme)
}

/// A folder in which a linker finds libacl, if it does not find it by itself.
fn acl(context: &Context) -> Result<Option<PathBuf>> {
    if library("-print-file-name", ACL)?.is_some() {
        return Ok(None);
    }
    let folder = place(context).join("acl");
    if folder.join(ACL).exists() {
        return Ok(Some(folder));
    }
    if let Some(loaded) = library("-print-file-name", ACL_LOADED)? {
        fs::create_dir_all(&folder)?;
        symlink(loaded, folder.join(ACL))?;
        return Ok(Some(folder));
    }
    fetch::own_packages(context, &[ACL_PACKAGE, "libacl1"], &folder, |root, result| {
        let libraries = root.join("usr/lib/x86_64-linux-gnu");
        for entry in fs::read_dir(&libraries)? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(ACL)) {
                fs::copy(&path, result.join(path.file_name().unwrap_or_default()))?;
            }
        }
        Ok(())
    })
    .with_context(|| format!("pjdfstest needs libacl; install {ACL_PACKAGE}"))?;
    Ok(Some(folder))
}

/// Where the C compiler, which links Rust programmes too, finds a library.
fn library(option: &str, file: &str) -> Result<Option<PathBuf>> {
    let output = process::output(Command::new("cc").arg(format!("{option}={file}")), Duration::from_secs(30))?;
    let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    Ok((path != Path::new(file) && path.exists()).then_some(path))
}

fn place(context: &Context) -> PathBuf {
    context.paths.rig().join("conform")
}
