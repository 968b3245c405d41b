//! Who serves a driver in a process, and how it is started.

use crate::{
    process::child::Guarded,
    setup::{Context, build, libraries, private::Programme, virtiofsd},
};
use anyhow::{Result, bail};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(20);
const TICK: Duration = Duration::from_millis(5);

/// A peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Our daemon, with a window.
    VirtiofsdDax,
    /// The unmodified one, without.
    Virtiofsd,
    /// libkrun's device in the process.
    Libkrun,
    /// fuse-backend-rs's server in the process.
    FuseBackendRs,
}

impl Peer {
    /// All of them, those of the short form first.
    pub(crate) const ALL: [Self; 4] = [Self::VirtiofsdDax, Self::Virtiofsd, Self::Libkrun, Self::FuseBackendRs];

    /// Its name, for `--peer`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::VirtiofsdDax => "virtiofsd-dax",
            Self::Virtiofsd => "virtiofsd",
            Self::Libkrun => "libkrun",
            Self::FuseBackendRs => "fuse-backend-rs",
        }
    }

    /// Whether it is a device in the mount's own process.
    pub(crate) const fn is_local(self) -> bool {
        matches!(self, Self::Libkrun | Self::FuseBackendRs)
    }

    /// Whether it has a window.
    pub(crate) const fn has_window(self) -> bool {
        !matches!(self, Self::Virtiofsd)
    }

    /// How it is started; nothing for what needs no process of its own.
    ///
    /// # Errors
    /// When it cannot be had.
    pub(crate) fn programme(self, context: &Context) -> Result<Option<Programme>> {
        let _lock = context.lock()?;
        match self {
            Self::VirtiofsdDax => {
                let libraries = libraries::ensure(context)?;
                Ok(Some(Programme::plain(&build::daemon(context, &libraries)?)))
            }
            Self::Virtiofsd => Ok(Some(virtiofsd::ensure(context)?.programme)),
            Self::Libkrun | Self::FuseBackendRs => Ok(None),
        }
    }
}

/// A daemon that runs.
#[derive(Debug)]
pub(crate) struct Daemon {
    pub(crate) process: Guarded,
    pub(crate) socket: PathBuf,
}

/// Starts a daemon that serves `share`, with its socket and log in `folder`, and a window and several request queues if it can
/// have them.
///
/// # Errors
/// When it does not start or does not listen; with what it said.
pub(crate) fn start(
    peer: Peer,
    programme: &Programme,
    share: &Path,
    folder: &Path,
    window: u64,
    queues: u16,
) -> Result<Daemon> {
    let socket = folder.join("socket");
    if socket.exists() {
        fs::remove_file(&socket)?;
    }
    let log_file = folder.join("daemon.log");
    let log = File::create(&log_file)?;
    let mut command = programme.command();
    command.arg("--socket-path").arg(&socket).arg("--shared-dir").arg(share);
    command.args(["--sandbox", "none", "--xattr", "--log-level", "warn"]);
    if peer.has_window() {
        command.args(["--window-size", &window.to_string(), "--num-request-queues", &queues.to_string()]);
        // What POSIX has and a guest ought not to do on a host: the suites ask for it.
        command.args(["--allow-setuid", "--allow-devices"]);
    }
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let mut process = Guarded::spawn(&mut command)?;
    let deadline = Instant::now() + PATIENCE;
    // A daemon serves one connection, so nobody tries one: a socket that exists is listened at, or will be in a moment.
    while !socket.exists() {
        if let Some(status) = process.try_wait()? {
            let said = fs::read_to_string(&log_file).unwrap_or_default();
            bail!("the daemon ended at once ({status}): {}", said.trim().lines().last().unwrap_or("it said nothing"));
        }
        if Instant::now() >= deadline {
            bail!("the daemon made no socket within {} s", PATIENCE.as_secs());
        }
        thread::sleep(TICK);
    }
    Ok(Daemon { process, socket })
}
