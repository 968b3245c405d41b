//! A private apt: the machine's own apt with folders of its own, so that it needs no root and changes nothing of the
//! system. What it fetches is signed by the archive and checked against the signature before it is unpacked.

use super::sources::Source;
use crate::process::{self, last_words};
use anyhow::{Context, Result, anyhow, bail};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

/// How long one download may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(1800);

/// Why something could not be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The archive does not answer.
    Network,
    /// There is no room.
    Disk,
    /// The signature is missing, wrong, or by a key that isn't known.
    Signature,
    /// The archive has no such package.
    NoPackage,
    /// Anything else.
    Other,
}

impl Trouble {
    /// Reads it from what apt wrote.
    pub(crate) fn of(words: &str) -> Self {
        let has = |list: &[&str]| list.iter().any(|word| words.contains(word));
        if has(&["No space left", "enough free space", "Disk quota"]) {
            Self::Disk
        } else if has(&["NO_PUBKEY", "GPG error", "is not signed", "no longer signed", "OpenPGP", "signatures"]) {
            Self::Signature
        } else if has(&["Unable to locate package", "has no installation candidate", "No candidate version"]) {
            Self::NoPackage
        } else if has(&[
            "resolve",
            "Could not connect",
            "onnection",
            "Failed to fetch",
            "unreachable",
            "timed out",
            "does not have a Release file",
        ]) {
            Self::Network
        } else {
            Self::Other
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::Network => "the package archive in this machine's apt sources cannot be reached",
            Self::Disk => "the disk is full",
            Self::Signature => "the package archive's signature cannot be verified with the keys of this machine",
            Self::NoPackage => "the package archive in this machine's apt sources does not have it",
            Self::Other => "apt failed",
        }
    }
}

/// A failed fetch: its kind, and apt's own words.
#[derive(Debug)]
pub(crate) struct FetchError {
    /// Its kind.
    pub(crate) trouble: Trouble,
    words: String,
}

impl FetchError {
    fn of(output: &Output) -> Self {
        let text = String::from_utf8_lossy(&output.stderr);
        // The first error says why; those after it follow from it.
        let first = text.lines().map(str::trim).find(|line| line.starts_with("E:") || line.contains("rror:"));
        let words = first.map_or_else(|| last_words(output), |line| line.trim_start_matches("E:").trim().to_owned());
        Self { trouble: Trouble::of(&text), words }
    }
}

impl std::fmt::Display for FetchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.trouble.sentence(), self.words)
    }
}

impl std::error::Error for FetchError {}

/// An apt with folders of its own.
#[derive(Debug)]
pub(crate) struct Apt {
    dir: PathBuf,
    config: PathBuf,
}

impl Apt {
    /// Makes one in a folder, over some suites of one archive.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub(crate) fn new(dir: &Path, archive: &Source, suites: &[&str], keys: Option<&Path>) -> Result<Self> {
        for folder in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.join(folder)).with_context(|| format!("cannot create {}", dir.display()))?;
        }
        let options = keys.map(|keys| format!(" signed-by={}", keys.display())).unwrap_or_default();
        let list: String =
            suites.iter().map(|suite| format!("deb [arch=amd64{options}] {} {suite} main\n", archive.uri)).collect();
        fs::write(dir.join("sources.list"), list)?;
        // Nothing is installed, as far as this apt knows; its locks lie beside this file.
        fs::write(dir.join("status"), "")?;
        let config = dir.join("apt.conf");
        fs::write(&config, configuration(dir))?;
        Ok(Self { dir: dir.to_path_buf(), config })
    }

    /// Reads the archive's lists.
    ///
    /// # Errors
    /// A [`FetchError`], or that apt cannot be started.
    pub(crate) fn update(&self) -> Result<()> {
        self.call("apt-get", &["update"]).map(drop)
    }

    /// The version of a package that would be installed; `None` if there is none.
    ///
    /// # Errors
    /// When apt fails.
    pub(crate) fn candidate(&self, package: &str, suite: &str) -> Result<Option<String>> {
        let output = self.call("apt-cache", &["policy", "-t", suite, package])?;
        Ok(parse_candidate(&String::from_utf8_lossy(&output.stdout)))
    }

    /// The packages whose names match a pattern.
    ///
    /// # Errors
    /// When apt fails.
    pub(crate) fn names(&self, pattern: &str) -> Result<Vec<String>> {
        let output = self.call("apt-cache", &["search", "--names-only", pattern])?;
        Ok(parse_names(&String::from_utf8_lossy(&output.stdout)))
    }

    /// Fetches packages with everything they depend on.
    ///
    /// # Errors
    /// A [`FetchError`].
    pub(crate) fn fetch_with_dependencies(&self, packages: &[&str], suite: &str) -> Result<Vec<PathBuf>> {
        let mut arguments = vec!["--download-only", "--yes", "-t", suite, "install"];
        arguments.extend(packages);
        self.call("apt-get", &arguments)?;
        debs(&self.dir.join("cache/archives"))
    }

    /// Fetches packages alone.
    ///
    /// # Errors
    /// A [`FetchError`].
    pub(crate) fn fetch_alone(&self, packages: &[&str]) -> Result<Vec<PathBuf>> {
        let mut arguments = vec!["download"];
        arguments.extend(packages);
        self.call("apt-get", &arguments)?;
        debs(&self.dir)
    }

    fn call(&self, programme: &str, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(programme);
        command.arg("--config-file").arg(&self.config).args(arguments);
        command.current_dir(&self.dir).env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive");
        let output = process::output(&mut command, PATIENCE)?;
        if !output.status.success() {
            return Err(anyhow!(FetchError::of(&output)));
        }
        Ok(output)
    }
}

/// Unpacks packages into one folder.
///
/// # Errors
/// When there is none, or one cannot be unpacked.
pub(crate) fn unpack(debs: &[PathBuf], into: &Path) -> Result<()> {
    if debs.is_empty() {
        bail!("apt fetched no package");
    }
    fs::create_dir_all(into).with_context(|| format!("cannot create {}", into.display()))?;
    for deb in debs {
        let done = process::output(Command::new("dpkg-deb").arg("-x").arg(deb).arg(into), PATIENCE)?;
        if !done.status.success() {
            return Err(anyhow!(FetchError::of(&done))).with_context(|| format!("cannot unpack {}", deb.display()));
        }
    }
    Ok(())
}

fn debs(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Read after the machine's own configuration, whose proxies it keeps and whose hooks it drops.
fn configuration(dir: &Path) -> String {
    let dir = dir.display();
    let mut text = String::new();
    for hook in [
        "APT::Update::Pre-Invoke",
        "APT::Update::Post-Invoke",
        "APT::Update::Post-Invoke-Success",
        "DPkg::Pre-Invoke",
        "DPkg::Post-Invoke",
        "DPkg::Pre-Install-Pkgs",
        "APT::Default-Release",
    ] {
        text.push_str(&format!("#clear {hook};\n"));
    }
    text.push_str(&format!(
        r#"Dir::State "{dir}/state";
Dir::State::status "{dir}/status";
Dir::Cache "{dir}/cache";
Dir::Etc::sourcelist "{dir}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Architecture "amd64";
APT::Architectures {{ "amd64"; }};
APT::Sandbox::User "root";
APT::Install-Recommends "false";
APT::Install-Suggests "false";
APT::Update::Error-Mode "any";
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
// A snapshot of an archive is past its date; its signature is checked all the same.
Acquire::Check-Valid-Until "false";
"#
    ));
    text
}

fn parse_candidate(policy: &str) -> Option<String> {
    let candidate = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate:"))?.trim();
    (candidate != "(none)").then(|| candidate.to_owned())
}

/// Reads `NAME - WHAT IT IS` lines.
fn parse_names(found: &str) -> Vec<String> {
    found.lines().filter_map(|line| Some(line.split_once(" - ")?.0.trim().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_a_search() {
        assert_eq!(parse_names("a-1 - the first - of two\nb+2 - b\n"), ["a-1", "b+2"]);
        assert_eq!(parse_names(""), Vec::<String>::new());
    }

    #[test]
    fn troubles_are_told_apart() {
        let cases = [
            ("E: Failed to fetch http://m/x  Temporary failure resolving 'm'", Trouble::Network),
            ("E: Failed to fetch http://m/x  Could not connect to m:80", Trouble::Network),
            ("E: You don't have enough free space in /x/cache/archives/.", Trouble::Disk),
            ("dpkg-deb: error: failed to write: No space left on device", Trouble::Disk),
            ("W: GPG error: http://m trixie InRelease: NO_PUBKEY 6ED0E7B82643E131", Trouble::Signature),
            ("E: The repository 'http://m trixie InRelease' is not signed.", Trouble::Signature),
            ("E: Unable to locate package qemu-system-x86", Trouble::NoPackage),
            ("E: something new", Trouble::Other),
        ];
        for (words, trouble) in cases {
            assert_eq!(Trouble::of(words), trouble, "{words}");
        }
    }

    #[test]
    fn the_candidate_is_read_from_a_policy() {
        let policy = "qemu-system-x86:\n  Installed: (none)\n  Candidate: 1:11.1.3+ds-2~bpo13+1\n  Version table:\n";
        assert_eq!(parse_candidate(policy).as_deref(), Some("1:11.1.3+ds-2~bpo13+1"));
        assert_eq!(parse_candidate("x:\n  Candidate: (none)\n"), None);
        assert_eq!(parse_candidate(""), None);
    }
}
