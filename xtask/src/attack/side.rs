//! The two sides, as programmes of this repository.

use super::{campaign::Campaign, verdict::Verdict};
use crate::{
    paths::Paths,
    process::{self, cargo, child::Guarded},
    setup::{build, libraries::Libraries},
};
use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use std::{
    fmt,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

/// A build may take this long.
const BUILD: Duration = Duration::from_secs(1800);
/// How much longer than it was asked to an attack may take: a session that has begun is gone through.
const GRACE: Duration = Duration::from_secs(120);

/// Who attacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Side {
    /// A guest, the daemon
    Guest,
    /// A device, the driver
    Device,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Guest => "guest",
            Self::Device => "device",
        })
    }
}

impl Side {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Guest, Self::Device];

    /// What it does.
    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::Guest => "a hostile guest against the daemon",
            Self::Device => "a hostile device against the driver",
        }
    }

    /// Builds both parties, optimised, and attacks. `libraries` are the daemon's, which the guest's side needs.
    ///
    /// # Errors
    /// When they cannot be built, or the attack does not end.
    pub(crate) fn attack(self, paths: &Paths, libraries: Option<&Libraries>, campaign: &Campaign) -> Result<Verdict> {
        self.attack_with(&self.build(paths, libraries, campaign.sanitizer)?, campaign)
    }

    /// Attacks with programmes that are built, in this folder.
    ///
    /// # Errors
    /// When the attack does not end.
    pub(crate) fn attack_with(self, built: &Path, campaign: &Campaign) -> Result<Verdict> {
        let mut command = Command::new(built.join(self.programme()));
        if self == Self::Guest {
            command.arg("--daemon").arg(built.join("virtiofsd-dax"));
        }
        command.args(["--seconds", &campaign.seconds.to_string(), "--seed", &campaign.seed.to_string()]);
        if let Some(session) = campaign.session {
            command.args(["--session", &session.to_string()]);
        }
        let verdict = run(command, Duration::from_secs(campaign.seconds).saturating_add(GRACE))?;
        if verdict.findings > 0 {
            println!("repeat a finding: cargo xtask attack --side {self} --seed {} --session NUMBER", campaign.seed);
        }
        Ok(verdict)
    }

    fn programme(self) -> &'static str {
        match self {
            Self::Guest => "attack",
            Self::Device => "attack-device",
        }
    }

    /// Builds what is needed; returns the folder with the programmes.
    fn build(self, paths: &Paths, libraries: Option<&Libraries>, sanitizer: bool) -> Result<PathBuf> {
        let mut command = cargo::cargo(paths);
        if self == Self::Device && sanitizer {
            return sanitized(command, paths, self.programme());
        }
        command.args(["build", "--release", "--locked"]);
        match self {
            Self::Guest => command.args(build::DAEMON_PACKAGES),
            Self::Device => command.args(["--package", "attack-device"]),
        };
        if let Some(libraries) = libraries {
            libraries.apply(&mut command);
        }
        process::run(&mut command, BUILD).with_context(|| format!("the {self}'s side cannot be built"))?;
        Ok(paths.target.join("release"))
    }
}

/// Builds a programme with AddressSanitizer, apart from other builds. The standard library is as it comes: what it allocates is
/// watched all the same, only its own loads and stores are not.
fn sanitized(mut command: Command, paths: &Paths, package: &str) -> Result<PathBuf> {
    let triple = build::host_triple()?;
    let target = paths.target.join("sanitizer");
    command.args(["+nightly", "build", "--release", "--locked", "--target", &triple]);
    command.args(["--package", package]).env("CARGO_TARGET_DIR", &target).env("RUSTFLAGS", "-Zsanitizer=address");
    process::run(&mut command, BUILD).context(
        "the device's side cannot be built with AddressSanitizer; \
         `rustup toolchain install nightly` gets what it takes",
    )?;
    Ok(target.join(triple).join("release"))
}

/// Runs an attack, shows what it prints and reads how it ended.
fn run(mut command: Command, patience: Duration) -> Result<Verdict> {
    println!("$ {}", process::shown(&command));
    let mut child = Guarded::spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
    let pipe = child.take_stdout().context("the attack has no output")?;
    let reader = std::thread::spawn(move || {
        let mut said = String::new();
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            println!("{line}");
            said = said + &line + "\n";
        }
        said
    });
    let Some(status) = child.wait(patience)? else { bail!("it did not end within {} s", patience.as_secs()) };
    let said = reader.join().map_err(|_| anyhow::anyhow!("the reader of the attack's output panicked"))?;
    Ok(Verdict::of(status.success(), &said))
}
