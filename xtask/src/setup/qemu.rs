//! A QEMU that has vhost-user shared memory: 11.1 or newer.

pub(crate) use super::qemu_args::QemuArgs;
use super::{
    Context, fetch,
    private::Programme,
    version::{Version, parse_version},
};
use crate::process;
use anyhow::{Context as _, Result, anyhow, bail};
use std::{env, ffi::OsString, path::Path, path::PathBuf, process::Command, time::Duration};

/// The first version with vhost-user shared-memory regions.
pub(crate) const NEEDED: Version = Version(11, 1);
const NAME: &str = "qemu-system-x86_64";

/// A QEMU that was found.
#[derive(Clone, Debug)]
pub(crate) struct Qemu {
    /// How it is started.
    pub(crate) programme: Programme,
    /// What it calls itself, in one line.
    pub(crate) version: String,
    /// Where it is.
    pub(crate) path: PathBuf,
}

/// The folder of the QEMU that was fetched.
pub(crate) fn private_root(context: &Context) -> PathBuf {
    context.paths.rig().join("qemu")
}

/// Finds one without fetching anything; `None` if there is none.
///
/// # Errors
/// When the user named one that isn't there or is too old.
pub(crate) fn find(context: &Context) -> Result<Option<Qemu>> {
    let named = match &context.qemu.qemu {
        Some(path) => Some((path.clone(), "--qemu")),
        None => env::var_os("QEMU").filter(|value| !value.is_empty()).map(|value| (value.into(), "$QEMU")),
    };
    if let Some((path, by)) = named {
        return Ok(Some(check_named(&path, by)?));
    }
    if let Some(path) = process::in_path(NAME)
        && let Some(version) = process::version_line(&mut Command::new(&path))
        && parse_version(&version).is_some_and(|version| version >= NEEDED)
    {
        return Ok(Some(Qemu { programme: Programme::plain(&path), version, path }));
    }
    Ok(look_in(&private_root(context)))
}

/// Finds one, or fetches one.
///
/// # Errors
/// One sentence about what is in the way, and the way out.
pub(crate) fn ensure(context: &Context) -> Result<Qemu> {
    if let Some(found) = find(context)? {
        return Ok(found);
    }
    let place = private_root(context);
    fetch::debian_packages(context, &["qemu-system-x86", "virtiofsd"], Some(NEEDED), &place, |root| {
        look_in(root)
            .map(drop)
            .with_context(|| format!("the QEMU that was fetched is not {NEEDED} or newer, or does not run"))
    })
    .map_err(|error| {
        anyhow!(
            "QEMU {NEEDED} or newer is missing and cannot be fetched: {error:#}; name one with --qemu PATH or $QEMU"
        )
    })?;
    look_in(&place).with_context(|| format!("the QEMU in {} does not run", place.display()))
}

fn check_named(path: &Path, by: &str) -> Result<Qemu> {
    let path = if path.components().count() == 1 {
        process::in_path(&path.to_string_lossy()).unwrap_or_else(|| path.to_path_buf())
    } else {
        path.to_path_buf()
    };
    if !path.is_file() {
        bail!("the QEMU that {by} names, {}, does not exist", path.display());
    }
    let version = process::version_line(&mut Command::new(&path))
        .with_context(|| format!("the QEMU that {by} names, {}, does not run", path.display()))?;
    match parse_version(&version) {
        Some(number) if number >= NEEDED => Ok(Qemu { programme: Programme::plain(&path), version, path }),
        Some(number) => bail!(
            "the QEMU that {by} names, {}, is {number}, but a DAX window needs {NEEDED} or newer; leave {by} out and one is fetched",
            path.display()
        ),
        None => bail!("the programme that {by} names, {}, is not a QEMU (it says \"{version}\")", path.display()),
    }
}

fn look_in(root: &Path) -> Option<Qemu> {
    let programme = Programme::private(root, &format!("usr/bin/{NAME}"))?;
    let data = ["usr/share/qemu", "usr/share/seabios"].map(|folder| root.join(folder));
    let folders =
        data.into_iter().filter(|folder| folder.is_dir()).flat_map(|folder| [OsString::from("-L"), folder.into()]);
    let programme = programme.with(folders);
    let version = process::version_line(&mut programme.command())?;
    if parse_version(&version)? < NEEDED {
        return None;
    }
    let device = process::output(
        programme.command().args(["-device", "vhost-user-test-device-pci,help"]),
        Duration::from_secs(30),
    );
    if !device.ok()?.status.success() {
        return None;
    }
    Some(Qemu { programme, version, path: root.join("usr/bin").join(NAME) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_user_names_is_checked() {
        let error = check_named(Path::new("/no/such/qemu"), "--qemu").unwrap_err();
        assert!(error.to_string().contains("does not exist"), "{error}");
        let error = check_named(Path::new("/bin/sh"), "$QEMU").unwrap_err();
        assert!(error.to_string().contains("$QEMU"), "{error}");
        let dir = tempfile::tempdir().unwrap();
        let old = dir.path().join("qemu");
        std::fs::write(&old, "#!/bin/sh\necho 'QEMU emulator version 9.2.0'\n").unwrap();
        std::fs::set_permissions(&old, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let error = check_named(&old, "--qemu").unwrap_err();
        assert!(error.to_string().contains("is 9.2, but a DAX window needs 11.1"), "{error}");
    }

    #[test]
    fn half_a_folder_is_no_qemu() {
        let dir = tempfile::tempdir().unwrap();
        assert!(look_in(dir.path()).is_none());
    }
}
