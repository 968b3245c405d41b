//! The suites' programmes: released crates that are built here, what the machine has, and what its packages bring.

use crate::process;
use crate::setup::{Context, fetch, private::Programme, released};
use anyhow::{Context as _, Result, bail};
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

/// What a distribution packages. They are unpacked together, since they share most of what they depend on.
const PACKAGES: [&str; 4] = ["fio", "stress-ng", "dbench", "rsync"];

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

/// A programme of [`PACKAGES`]: the machine's own, or one that is fetched.
///
/// # Errors
/// One sentence about what is in the way.
pub(super) fn packaged(context: &Context, name: &str) -> Result<Programme> {
    if let Some(path) = process::in_path(name) {
        return Ok(Programme::plain(&path));
    }
    let _lock = context.lock()?;
    let folder = packages(context);
    if let Some(found) = look_in(&folder, name) {
        return Ok(found);
    }
    let complete = |root: &Path| {
        let runs = |name: &str| look_in(root, name).is_some_and(|found| starts(&found));
        let missing = PACKAGES.into_iter().find(|name| !runs(name));
        missing.map_or(Ok(()), |name| bail!("the packages that were fetched hold no {name} that runs"))
    };
    fetch::debian_packages(context, &PACKAGES, None, &folder, complete)
        .with_context(|| format!("there is no {name} in PATH; install it"))?;
    look_in(&folder, name).with_context(|| format!("the package of {name} was put in place and is gone"))
}

/// A file that comes with [`PACKAGES`]: the machine's own, or one that is fetched.
///
/// # Errors
/// When neither has it.
pub(super) fn packaged_file(context: &Context, path: &str) -> Result<PathBuf> {
    [PathBuf::from("/"), packages(context)]
        .into_iter()
        .map(|root| root.join(path))
        .find(|file| file.is_file())
        .with_context(|| format!("there is no /{path}"))
}

fn packages(context: &Context) -> PathBuf {
    place(context).join("packages")
}

fn look_in(root: &Path, name: &str) -> Option<Programme> {
    Programme::private(root, &format!("usr/bin/{name}"))
}

/// Whether a programme finds its libraries: the loader has a status of its own for one that does not.
fn starts(programme: &Programme) -> bool {
    const NOT_LOADED: i32 = 127;
    let output = process::output(programme.command().arg("--version"), Duration::from_secs(30));
    output.is_ok_and(|output| output.status.code().is_some_and(|code| code != NOT_LOADED))
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
