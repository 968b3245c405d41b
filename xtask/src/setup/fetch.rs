//! Fetching packages into a folder: all of it or nothing.

use super::{
    Context,
    apt::{self, Apt, FetchError, Trouble},
    context::SCRATCH,
    sandbox::Sandbox,
    sources::{self, Source},
    version::{self, Version},
};
use crate::{paths, process, progress::Step};
use anyhow::{Context as _, Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where to look, in this order: the stable release with its backports, then what comes next.
const SUITES: [&[&str]; 2] = [&["trixie", "trixie-backports"], &["sid"]];
/// Where Debian-like systems keep the archive's keys.
const KEYS: [&str; 2] =
    ["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"];
/// Bytes that an unpacked QEMU with its packages needs at most.
const ROOM: u64 = 600 << 20;

/// What a suite has of what is wanted.
enum Offer {
    /// It is fetched.
    Fetched(Vec<PathBuf>),
    /// Nothing that would do; perhaps an older version.
    Nothing(Option<String>),
}

/// How something is got from one suite of an archive.
type Get<'a> = &'a dyn Fn(&Apt, &str, &Step) -> Result<Offer>;

/// Fetches Debian packages with all they depend on, unpacks them, has them checked and puts them in place.
///
/// # Errors
/// One sentence about what is in the way. Nothing is left behind.
pub(crate) fn debian_packages(
    context: &Context,
    packages: &[&str],
    at_least: Option<Version>,
    place: &Path,
    check: impl Fn(&Path) -> Result<()>,
) -> Result<()> {
    let what = packages.join(" and ");
    let get = |apt: &Apt, suite: &str, step: &Step| {
        let candidate = packages.first().map(|first| apt.candidate(first, suite)).transpose()?.flatten();
        let new_enough = match (&candidate, at_least) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(version), Some(needed)) => version::parse_version(version).is_some_and(|version| version >= needed),
        };
        if !new_enough {
            return Ok(Offer::Nothing(candidate));
        }
        step.at(format!("Downloading {what}"));
        Ok(Offer::Fetched(apt.fetch_with_dependencies(packages, suite)?))
    };
    from_debian(context, &what, &get, place, check)
}

/// Fetches one Debian package; its name isn't known but chosen among those that match a pattern, without what it
/// depends on; else as [`debian_packages`].
///
/// # Errors
/// One sentence about what is in the way. Nothing is left behind.
pub(crate) fn debian_package_like(
    context: &Context,
    what: &str,
    pattern: &str,
    choose: impl Fn(&[String]) -> Option<String>,
    place: &Path,
    check: impl Fn(&Path) -> Result<()>,
) -> Result<()> {
    let get = |apt: &Apt, _: &str, step: &Step| {
        let Some(name) = choose(&apt.names(pattern)?) else { return Ok(Offer::Nothing(None)) };
        step.at(format!("Downloading {name}"));
        Ok(Offer::Fetched(apt.fetch_alone(&[&name])?))
    };
    from_debian(context, what, &get, place, check)
}

fn from_debian(
    context: &Context,
    what: &str,
    get: Get<'_>,
    place: &Path,
    check: impl Fn(&Path) -> Result<()>,
) -> Result<()> {
    let step = Step::begin(format!("Fetching {what}"));
    let result = (|| {
        need_apt()?;
        let rig = context.paths.rig();
        need_room(&rig, ROOM)?;
        let (sources, release) = (sources::of_this_machine(&context.etc)?, sources::release(&context.etc)?);
        let Some(archive) = sources::debian_archive(&sources, &release) else {
            bail!("this machine ({}) has no Debian archive in its apt sources to fetch it from", release.name);
        };
        let scratch = scratch(&rig)?;
        let downloads = Downloads::new(context, scratch.path())?;
        let host_keys =
            archive.signed_by.clone().or_else(|| KEYS.map(PathBuf::from).into_iter().find(|file| file.exists()));
        let fetched = downloads.packages_of(&archive, host_keys.as_deref(), get, &step);
        let debs = match fetched {
            Err(error) if trouble(&error) == Some(Trouble::Signature) => {
                step.at("Fetching the Debian archive's keys from this machine's own release");
                let keys = downloads
                    .keys_of_own_release(&sources, &release)
                    .with_context(|| format!("{error:#}, and newer keys cannot be had"))?;
                downloads.packages_of(&archive, Some(&keys), get, &step)?
            }
            other => other?,
        };
        step.at(format!("Unpacking {} packages", debs.len()));
        let root = scratch.path().join("root");
        apt::unpack(&debs, &root)?;
        check(&root)?;
        paths::replace_folder(&root, place)
    })();
    result.map_err(|error| or_disk_full(error, &context.paths.target))?;
    step.done(&format!("Fetched {what}"));
    Ok(())
}

/// Fetches packages of this machine's own release, without what they depend on.
///
/// # Errors
/// One sentence about what is in the way.
pub(crate) fn own_packages(
    context: &Context,
    packages: &[&str],
    place: &Path,
    finish: impl Fn(&Path, &Path) -> Result<()>,
) -> Result<()> {
    let what = packages.join(" and ");
    let step = Step::begin(format!("Fetching {what}"));
    let result = (|| {
        need_apt()?;
        let rig = context.paths.rig();
        let (sources, release) = (sources::of_this_machine(&context.etc)?, sources::release(&context.etc)?);
        let scratch = scratch(&rig)?;
        let debs = Downloads::new(context, scratch.path())?.packages_of_own_release(&sources, &release, packages)?;
        let (root, result) = (scratch.path().join("root"), scratch.path().join("result"));
        apt::unpack(&debs, &root)?;
        fs::create_dir(&result)?;
        finish(&root, &result)?;
        paths::replace_folder(&result, place)
    })();
    result.map_err(|error| or_disk_full(error, &context.paths.target))?;
    step.done(&format!("Fetched {what}"));
    Ok(())
}

/// A folder for what isn't finished, under the rig's own folder so that it can be moved into place in one step.
pub(crate) fn scratch(rig: &Path) -> Result<tempfile::TempDir> {
    fs::create_dir_all(rig).with_context(|| format!("cannot create {}", rig.display()))?;
    tempfile::Builder::new()
        .prefix(SCRATCH)
        .tempdir_in(rig)
        .with_context(|| format!("cannot create a folder in {}", rig.display()))
}

/// Where downloads go, and by which rules.
struct Downloads<'a> {
    folder: PathBuf,
    /// Where the user without rights cannot pass through to the rig's folder: a folder elsewhere, removed with this.
    _elsewhere: Option<tempfile::TempDir>,
    user: Option<Sandbox>,
    /// The suites that may be past their date.
    old: &'a [String],
}

impl<'a> Downloads<'a> {
    fn new(context: &'a Context, scratch: &Path) -> Result<Self> {
        let user = Sandbox::find(&context.etc);
        let (mut folder, mut elsewhere) = (scratch.to_path_buf(), None);
        if user.is_some() && !Sandbox::let_through(scratch)? {
            let outside = tempfile::tempdir().context("cannot create a folder for downloads")?;
            if Sandbox::let_through(outside.path())? {
                folder = outside.path().to_path_buf();
                elsewhere = Some(outside);
            }
        }
        Ok(Self { folder, _elsewhere: elsewhere, user, old: &context.qemu.accept_old_archive })
    }

    fn apt(&self, dir: &Path, archive: &Source, suites: &[&str], keys: Option<&Path>) -> Result<Apt> {
        Apt::new(dir, archive, suites, keys, self.old, self.user.as_ref())
    }

    fn packages_of(&self, archive: &Source, keys: Option<&Path>, get: Get<'_>, step: &Step) -> Result<Vec<PathBuf>> {
        let mut seen = None;
        for suites in SUITES {
            let Some(suite) = suites.last() else { continue };
            let dir = self.folder.join(suite);
            if dir.exists() {
                fs::remove_dir_all(&dir)?;
            }
            step.at(format!("Reading the package lists of {suite}"));
            let apt = self.apt(&dir, archive, suites, keys)?;
            apt.update()?;
            match get(&apt, suite, step)? {
                Offer::Fetched(debs) => return Ok(debs),
                Offer::Nothing(older) => seen = older.or(seen),
            }
        }
        match seen {
            Some(version) => bail!("the newest that the Debian archive in this machine's apt sources has is {version}"),
            None => bail!("the Debian archive in this machine's apt sources does not have it"),
        }
    }

    fn packages_of_own_release(
        &self,
        sources: &[Source],
        release: &sources::Release,
        packages: &[&str],
    ) -> Result<Vec<PathBuf>> {
        let Some(archive) = sources::own_archive(sources, release) else {
            bail!("the apt sources of this machine ({}) name no archive of its own release", release.name);
        };
        let dir = self.folder.join("own");
        let apt = self.apt(&dir, &archive, &[&release.codename], archive.signed_by.as_deref())?;
        apt.update()?;
        apt.fetch_alone(packages)
    }

    /// The package of keys of this machine's own release, which that release signs.
    fn keys_of_own_release(&self, sources: &[Source], release: &sources::Release) -> Result<PathBuf> {
        let debs = self.packages_of_own_release(sources, release, &["debian-archive-keyring"])?;
        let root = self.folder.join("keys");
        apt::unpack(&debs, &root)?;
        KEYS.into_iter()
            .map(|file| root.join(file.trim_start_matches('/')))
            .find(|file| file.is_file())
            .context("the package debian-archive-keyring holds no keyring")
    }
}

fn need_apt() -> Result<()> {
    if !cfg!(target_arch = "x86_64") {
        bail!("fetching works on x86_64 machines only");
    }
    for tool in ["apt-get", "dpkg-deb"] {
        if process::in_path(tool).is_none() {
            bail!("this machine has no {tool}, and only Debian-like systems can fetch it");
        }
    }
    Ok(())
}

/// Bytes free where a folder is or will be.
fn free(folder: &Path) -> Option<u64> {
    let existing = folder.ancestors().find(|folder| folder.exists())?;
    let stat = rustix::fs::statvfs(existing).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn need_room(folder: &Path, bytes: u64) -> Result<()> {
    if let Some(free) = free(folder)
        && free < bytes
    {
        bail!(
            "the disk that holds {} has {} MiB free and {} MiB are needed; make room, or set CARGO_TARGET_DIR to a folder elsewhere",
            folder.display(),
            free >> 20,
            bytes >> 20
        );
    }
    Ok(())
}

fn trouble(error: &anyhow::Error) -> Option<Trouble> {
    error.chain().find_map(|cause| cause.downcast_ref::<FetchError>()).map(|error| error.trouble)
}

/// Says what matters when the disk filled up, whatever failed because of it.
fn or_disk_full(error: anyhow::Error, target: &Path) -> anyhow::Error {
    let full = trouble(&error) == Some(Trouble::Disk)
        || error.chain().any(|cause| {
            cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::StorageFull)
        });
    if full {
        error.context(format!(
            "the disk that holds {} is full; make room, or set CARGO_TARGET_DIR to a folder elsewhere",
            target.display()
        ))
    } else {
        error
    }
}
