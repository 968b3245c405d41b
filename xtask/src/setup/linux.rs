//! A Linux guest to compare with: a kernel with virtio-fs and DAX built in, and the first file system that it runs.

use super::{Context, fetch};
use crate::process::{self, cargo};
use anyhow::{Context as _, Result, anyhow, bail};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// The series that is preferred: the one that comparisons are about.
const SERIES: (u32, u32) = (7, 2);
/// Debian's cloud kernels have everything built in that a guest without modules needs.
const PATTERN: &str = "^linux-(binary|image)-7\\.[0-9].*-cloud-amd64$";
const TARGET: &str = "x86_64-unknown-linux-gnu";
const PATIENCE: Duration = Duration::from_secs(1800);

/// A Linux guest.
#[derive(Clone, Debug)]
pub(crate) struct Linux {
    /// The kernel's image.
    pub(crate) kernel: PathBuf,
    /// Its version, as it calls itself.
    pub(crate) version: String,
    /// The archive with its only programme.
    pub(crate) initramfs: PathBuf,
}

/// Finds the kernel that the user names, or one that was fetched, or fetches one; and builds the programme.
///
/// # Errors
/// One sentence about what is in the way, and the way out.
pub(crate) fn ensure(context: &Context, named: Option<&Path>) -> Result<Linux> {
    let (kernel, version) = match named {
        Some(path) => {
            let version = version_of(path).with_context(|| format!("{} is no Linux kernel", path.display()))?;
            (path.to_path_buf(), version)
        }
        None => fetched(context)?,
    };
    Ok(Linux { kernel, version, initramfs: initramfs(context)? })
}

fn fetched(context: &Context) -> Result<(PathBuf, String)> {
    let place = context.paths.rig().join("linux");
    if let Some(found) = look_in(&place) {
        return Ok(found);
    }
    let what = format!("a Linux {}.{} kernel", SERIES.0, SERIES.1);
    fetch::debian_package_like(context, &what, PATTERN, choose, &place, |root| {
        look_in(root).map(drop).context("the package that was fetched holds no kernel")
    })
    .map_err(|error| {
        anyhow!("{what} for the comparison is missing and cannot be fetched: {error:#}; name one with --linux PATH")
    })?;
    look_in(&place).context("the kernel that was just fetched is not there")
}

/// The newest kernel of the preferred series, else the newest of all.
fn choose(names: &[String]) -> Option<String> {
    let key = |name: &String| {
        let version = package_version(name)?;
        let preferred = version.starts_with(&[SERIES.0, SERIES.1]);
        // Where an image depends on a binary of the same version, the kernel is in the latter.
        Some((preferred, version, name.starts_with("linux-binary-")))
    };
    names.iter().filter_map(|name| Some((key(name)?, name))).max().map(|(_, name)| name.clone())
}

/// `linux-binary-7.2.12+deb13-cloud-amd64`: 7, 2, 12. Nothing for kernels that lack their signature, and for others.
fn package_version(name: &str) -> Option<Vec<u32>> {
    let rest = name.strip_prefix("linux-binary-").or_else(|| name.strip_prefix("linux-image-"))?;
    let numbers = rest.split(['+', '-', '~']).next()?;
    numbers.split('.').map(|number| number.parse().ok()).collect()
}

/// The kernel in a folder of unpacked packages.
fn look_in(root: &Path) -> Option<(PathBuf, String)> {
    let files = |folder: &Path| -> Vec<PathBuf> {
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let modules = files(&root.join("usr/lib/modules")).into_iter().map(|folder| folder.join("vmlinuz"));
    modules.chain(files(&root.join("boot"))).find_map(|path| Some((path.clone(), version_of(&path).ok()?)))
}

/// What a kernel calls itself, by the header that Linux's boot protocol for x86 describes: `HdrS` at 0x202, and at 0x20e
/// where the version is, counted from 0x200.
fn version_of(path: &Path) -> Result<String> {
    let image = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    if image.get(0x202..0x206) != Some(b"HdrS") {
        bail!("it has no boot header");
    }
    let at = image.get(0x20e..0x210).map_or(0, |bytes| usize::from(u16::from_le_bytes([bytes[0], bytes[1]])));
    let text = image.get(0x200 + at..).unwrap_or_default();
    let text: Vec<u8> = text.iter().copied().take_while(|byte| byte.is_ascii_graphic()).collect();
    if at == 0 || text.is_empty() {
        bail!("its boot header has no version");
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The programme, built to need nothing, in its archive.
fn initramfs(context: &Context) -> Result<PathBuf> {
    let mut command = cargo::cargo(&context.paths);
    command.args(["build", "--locked", "--release", "--package", "linux-guest", "--target", TARGET]);
    command.env("RUSTFLAGS", "-C target-feature=+crt-static");
    process::run(&mut command, PATIENCE).context("the Linux guest's programme cannot be built")?;
    let programme = context.paths.target.join(TARGET).join("release/linux-guest");
    let init = fs::read(&programme).with_context(|| format!("cannot read {}", programme.display()))?;
    let archive = context.paths.rig().join("linux-guest.cpio");
    fs::write(&archive, linux_guest::initramfs(&init))
        .with_context(|| format!("cannot write {}", archive.display()))?;
    Ok(archive)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(names: &[&str]) -> Option<String> {
        choose(&names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_newest_of_the_series_is_chosen_by_number() {
        let names = [
            "linux-binary-7.2.9+deb13-cloud-amd64",
            "linux-image-7.2.12+deb13-cloud-amd64",
            "linux-binary-7.2.12+deb13-cloud-amd64",
            "linux-binary-unsigned-7.2.13+deb13-cloud-amd64",
            "linux-binary-7.3.4+deb13-cloud-amd64",
            "linux-binary-6.19.14+deb13-cloud-amd64",
            "linux-image-cloud-amd64",
        ];
        assert_eq!(chosen(&names).as_deref(), Some("linux-binary-7.2.12+deb13-cloud-amd64"));
        assert_eq!(chosen(&[names[1], names[4]]).as_deref(), Some("linux-image-7.2.12+deb13-cloud-amd64"));
        assert_eq!(chosen(&[names[4], names[5]]).as_deref(), Some("linux-binary-7.3.4+deb13-cloud-amd64"));
        assert_eq!(chosen(&[names[3], names[6]]), None);
        assert_eq!(chosen(&[]), None);
    }

    #[test]
    fn a_kernels_version_is_in_its_header() {
        let dir = tempfile::tempdir().unwrap();
        let modules = dir.path().join("usr/lib/modules/x");
        fs::create_dir_all(&modules).unwrap();
        let file = modules.join("vmlinuz");
        let mut image = vec![0; 0x400];
        fs::write(&file, &image).unwrap();
        assert!(look_in(dir.path()).is_none());
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x20e..0x210].copy_from_slice(&0x100_u16.to_le_bytes());
        image[0x300..0x30d].copy_from_slice(b"7.2.12 (x@y) ");
        fs::write(&file, &image).unwrap();
        assert_eq!(look_in(dir.path()), Some((file.clone(), "7.2.12".to_owned())));
        image[0x20e..0x210].copy_from_slice(&0xffff_u16.to_le_bytes());
        fs::write(&file, &image).unwrap();
        assert!(version_of(&file).is_err());
    }
}
