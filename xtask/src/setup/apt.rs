//! A private apt: the machine's own apt with folders of its own, so that it needs no root and changes nothing of the
//! system. What it fetches is signed by the archive and checked against the signature before it is unpacked.

use super::{sandbox::Sandbox, sources::Source};
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

/// Where packages come that are fetched alone.
const DEBS: &str = "debs";

/// Why something could not be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The archive does not answer.
    Network,
    /// There is no room.
    Disk,
    /// What came is not what was signed, or has a false signature.
    Tampered,
    /// The signature is missing, or by a key that isn't known.
    Signature,
    /// The lists are past the date until which they are valid.
    Old,
    /// The lists are of a time that this machine's clock says is to come.
    Clock,
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
        } else if has(&[
            "Hash Sum mismatch",
            "unexpected size",
            "BADSIG",
            "signatures were invalid",
            "invalid signature",
            "Clearsigned file isn't valid",
        ]) {
            Self::Tampered
        } else if has(&["is expired (invalid since"]) {
            Self::Old
        } else if has(&["is not valid yet"]) {
            Self::Clock
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
            Self::Tampered => {
                "what the package archive sent is not what it signed: it was tampered with on the way, or broke"
            }
            Self::Old => {
                "the package archive is older than its signature lets it be, so what it has may be known to be unsafe; \
                 if an old one is meant, name its suite with --accept-old-archive SUITE"
            }
            Self::Clock => "the package archive is of a time to come: this machine's clock is late",
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
    pub(crate) fn new(
        dir: &Path,
        archive: &Source,
        suites: &[&str],
        keys: Option<&Path>,
        old: &[String],
        user: Option<&Sandbox>,
    ) -> Result<Self> {
        for folder in ["state/lists/partial", "cache/archives/partial", DEBS] {
            let folder = dir.join(folder);
            fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
            if let Some(user) = user {
                user.give(&folder)?;
            }
        }
        let list: String = suites.iter().map(|suite| source_line(archive, suite, keys, old)).collect();
        fs::write(dir.join("sources.list"), list)?;
        // Nothing is installed, as far as this apt knows; its locks lie beside this file.
        fs::write(dir.join("status"), "")?;
        let config = dir.join("apt.conf");
        fs::write(&config, configuration(dir, user))?;
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

    /// The packages with names that match a pattern.
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
        self.call_in(&self.dir.join(DEBS), "apt-get", &arguments)?;
        debs(&self.dir.join(DEBS))
    }

    fn call(&self, programme: &str, arguments: &[&str]) -> Result<Output> {
        self.call_in(&self.dir, programme, arguments)
    }

    fn call_in(&self, folder: &Path, programme: &str, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(programme);
        command.arg("--config-file").arg(&self.config).args(arguments);
        command.current_dir(folder).env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive");
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

/// One line of a list of sources.
fn source_line(archive: &Source, suite: &str, keys: Option<&Path>, old: &[String]) -> String {
    let mut options = String::from("arch=amd64");
    if let Some(keys) = keys {
        options.push_str(&format!(" signed-by={}", keys.display()));
    }
    if old.iter().any(|accepted| accepted == suite) {
        options.push_str(" check-valid-until=no");
    }
    format!("deb [{options}] {} {suite} main\n", archive.uri)
}

/// Read after the machine's own configuration: it keeps the proxies and drops the hooks.
fn configuration(dir: &Path, user: Option<&Sandbox>) -> String {
    let user = user.map_or("root", |user| user.name.as_str());
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
APT::Sandbox::User "{user}";
APT::Install-Recommends "false";
APT::Install-Suggests "false";
APT::Update::Error-Mode "any";
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
Acquire::Check-Valid-Until "true";
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
            ("E: Failed to fetch http://m/x.deb  Hash Sum mismatch\n   Hashes of expected file:", Trouble::Tampered),
            ("E: Failed to fetch http://m/x.deb  File has unexpected size (3 != 4). Mirror sync?", Trouble::Tampered),
            (
                "W: GPG error: http://m trixie InRelease: The following signatures were invalid: BADSIG 6ED",
                Trouble::Tampered,
            ),
            (
                "E: Clearsigned file isn't valid, got 'NOSPLIT' (does the network require authentication?)",
                Trouble::Tampered,
            ),
            (
                "E: Release file for http://m/dists/sid/InRelease is expired (invalid since 3d 2h 1min 9s).",
                Trouble::Old,
            ),
            (
                "E: Release file for http://m/dists/sid/InRelease is not valid yet (invalid for another 1d 2h).",
                Trouble::Clock,
            ),
            ("E: The repository 'http://m trixie InRelease' is not signed.", Trouble::Signature),
            ("E: Unable to locate package qemu-system-x86", Trouble::NoPackage),
            ("E: something new", Trouble::Other),
        ];
        for (words, trouble) in cases {
            assert_eq!(Trouble::of(words), trouble, "{words}");
        }
    }

    #[test]
    fn an_old_archive_is_accepted_by_name_only() {
        let archive = Source { uri: "http://m/d".into(), suite: "s".into(), components: Vec::new(), signed_by: None };
        let old = ["sid".to_owned()];
        assert_eq!(
            source_line(&archive, "sid", None, &old),
            "deb [arch=amd64 check-valid-until=no] http://m/d sid main\n"
        );
        let keys = Some(Path::new("/k.gpg"));
        assert_eq!(
            source_line(&archive, "trixie", keys, &old),
            "deb [arch=amd64 signed-by=/k.gpg] http://m/d trixie main\n"
        );
        assert!(configuration(Path::new("/d"), None).contains("Check-Valid-Until \"true\""));
    }

    #[test]
    fn the_candidate_is_read_from_a_policy() {
        let policy = "qemu-system-x86:\n  Installed: (none)\n  Candidate: 1:11.1.3+ds-2~bpo13+1\n  Version table:\n";
        assert_eq!(parse_candidate(policy).as_deref(), Some("1:11.1.3+ds-2~bpo13+1"));
        assert_eq!(parse_candidate("x:\n  Candidate: (none)\n"), None);
        assert_eq!(parse_candidate(""), None);
    }
}
