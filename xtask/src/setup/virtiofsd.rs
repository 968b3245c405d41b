//! An unmodified virtiofsd, which serves no window: the machine's own, the distribution's package, or the released crate.

use super::{Context, fetch, libraries, private::Programme, qemu, released};
use crate::process::{self, interrupt};
use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};

/// The release that is built when no package can be had.
const RELEASE: &str = "1.14.0";

/// A virtiofsd that was found.
#[derive(Clone, Debug)]
pub(crate) struct Virtiofsd {
    /// How it is started.
    pub(crate) programme: Programme,
    /// What it calls itself.
    pub(crate) version: String,
    /// Where it is.
    pub(crate) path: PathBuf,
}

/// Finds one without fetching anything.
pub(crate) fn find(context: &Context) -> Option<Virtiofsd> {
    let system = process::in_path("virtiofsd")
        .into_iter()
        .chain(["/usr/libexec/virtiofsd", "/usr/lib/virtiofsd"].map(Into::into));
    for path in system.chain([place(context).join("bin/virtiofsd")]).filter(|path| path.is_file()) {
        if let Some(found) = check(Programme::plain(&path), path) {
            return Some(found);
        }
    }
    [qemu::private_root(context), place(context)].iter().find_map(|root| look_in(root))
}

/// Finds one, fetches one, or builds one.
///
/// # Errors
/// One sentence about what is in the way, and the way out.
pub(crate) fn ensure(context: &Context) -> Result<Virtiofsd> {
    if let Some(found) = find(context) {
        return Ok(found);
    }
    let verify = |root: &Path| look_in(root).map(drop).context("the virtiofsd that was fetched does not run");
    if let Err(error) = fetch::debian_packages(context, &["virtiofsd"], None, &place(context), verify) {
        interrupt::check()?;
        eprintln!("no package of virtiofsd ({error:#}): building the released crate instead");
        install(context).context("virtiofsd is missing; put one in PATH, or let it be fetched")?;
    }
    find(context).context("the virtiofsd that was just set up does not run")
}

fn place(context: &Context) -> PathBuf {
    context.paths.rig().join("virtiofsd")
}

fn install(context: &Context) -> Result<()> {
    let libraries = libraries::ensure(context)?;
    released::install(context, "virtiofsd", RELEASE, &place(context), |command| libraries.apply(command))
}

fn look_in(root: &Path) -> Option<Virtiofsd> {
    ["usr/libexec/virtiofsd", "usr/bin/virtiofsd"]
        .into_iter()
        .find_map(|file| check(Programme::private(root, file)?, root.join(file)))
}

/// The programme in Rust, not the one in C of the same name that older QEMUs brought.
fn check(programme: Programme, path: PathBuf) -> Option<Virtiofsd> {
    let version = process::version_line(&mut programme.command())?;
    let number = version.strip_prefix("virtiofsd ")?;
    number.starts_with(|c: char| c.is_ascii_digit()).then_some(Virtiofsd { programme, version, path })
}
