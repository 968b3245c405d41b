//! A mount of the driver in a process of its own.

use crate::{
    peer::{self, Daemon, Peer},
    process::{self, cargo, child::Guarded, interrupt},
    setup::{Context, private::Programme},
};
use anyhow::{Context as _, Result, bail};
use rustix::{
    mount::{UnmountFlags, unmount},
    process::{Pid, Signal, kill_process},
};
use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const BUILD_PATIENCE: Duration = Duration::from_secs(900);
const PATIENCE: Duration = Duration::from_secs(60);
/// Request queues of the daemon that can have several.
const QUEUES: u16 = 2;
const TICK: Duration = Duration::from_millis(20);

/// Builds the programme that mounts, with the devices in the process if one of them is wanted, optimised if it has much to do.
/// Returns where it is.
///
/// # Errors
/// When it does not build.
pub(super) fn build(context: &Context, peers: bool, optimised: bool) -> Result<PathBuf> {
    let mut command = cargo::cargo(&context.paths);
    command.args(["build", "--locked", "--package", "virtiofs-mount"]);
    if peers {
        command.args(["--features", "virtiofs-mount/peers"]);
    }
    if optimised {
        command.arg("--release");
    }
    build_by(context, &mut command, if optimised { "release" } else { "debug" })
}

/// Builds it by another command, whose profile's folder is named.
///
/// # Errors
/// When it does not build.
pub(super) fn build_by(context: &Context, command: &mut Command, profile: &str) -> Result<PathBuf> {
    process::run(command, BUILD_PATIENCE).context("virtiofs-mount cannot be built")?;
    Ok(context.paths.target.join(profile).join("virtiofs-mount"))
}

/// Copies the programme into `folder`: who builds it meanwhile for something else leaves that one alone.
///
/// # Errors
/// When it cannot be copied.
pub(super) fn copy(built: &Path, folder: &Path) -> Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let programme = folder.join("virtiofs-mount");
    fs::copy(built, &programme).with_context(|| format!("cannot copy {}", built.display()))?;
    Ok(programme)
}

/// A mount. It is taken away when this is dropped, whatever its process does.
#[derive(Debug)]
pub(super) struct Mount {
    process: Guarded,
    daemon: Option<Daemon>,
    /// In a folder of its own near the root: names of sockets have 107 bytes at most.
    point: TempDir,
    log: PathBuf,
}

impl Mount {
    /// Mounts a share, with logs in `folder` and more options for the programme.
    ///
    /// # Errors
    /// When it does not come about; with what the programme said.
    pub(super) fn new(
        programme: &Path,
        peer: Peer,
        daemon: Option<&Programme>,
        share: &Path,
        folder: &Path,
        window: u64,
        options: &[&str],
    ) -> Result<Self> {
        let point = tempfile::Builder::new().prefix("conform-").tempdir().context("no temporary folder to mount on")?;
        let daemon = match daemon {
            Some(programme) => Some(peer::start(peer, programme, share, folder, window, QUEUES)?),
            None => None,
        };
        let log_path = folder.join("mount.log");
        let mut command = Command::new(programme);
        cargo::clean(&mut command);
        command.args(["--foreground", "--announce", "--strict-window", "--timeout", "0"]);
        command.args(["--window", &window.to_string()]).args(options);
        match &daemon {
            Some(daemon) => command.arg(&daemon.socket),
            None => command.args(["--peer", peer.name()]).arg(share),
        };
        command.arg(point.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&log_path)?);
        let mut mount = Self { process: Guarded::spawn(&mut command)?, daemon, point, log: log_path };
        mount.wait_for_it()?;
        Ok(mount)
    }

    fn wait_for_it(&mut self) -> Result<()> {
        let output = self.process.take_stdout().context("the mount has no output")?;
        let (told, tells) = channel();
        thread::spawn(move || {
            let mut line = String::new();
            let read = BufReader::new(output).read_line(&mut line);
            // Nobody listens any more if it came too late.
            let _ = told.send(read.is_ok() && line.trim() == "mounted");
        });
        if tells.recv_timeout(PATIENCE) == Ok(true) {
            return Ok(());
        }
        bail!("the share was not mounted: {}", self.last_words())
    }

    /// Where it is.
    pub(super) fn point(&self) -> &Path {
        self.point.path()
    }

    /// What its programme said last.
    pub(super) fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        text.trim().lines().last().unwrap_or("nothing was said").to_owned()
    }

    /// Unmounts, and checks that everything ended as it should and nothing is left.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn end(mut self) -> Result<()> {
        let pid = Pid::from_raw(self.process.id().cast_signed()).context("a process has a number")?;
        kill_process(pid, Signal::TERM).context("the mount's process cannot be asked to end")?;
        let Some(status) = self.process.wait(PATIENCE)? else {
            bail!("the mount did not end within {} s: {}", PATIENCE.as_secs(), self.last_words());
        };
        if !status.success() {
            bail!("the mount ended with {status}: {}", self.last_words());
        }
        if let Some(daemon) = &mut self.daemon {
            match daemon.process.wait(PATIENCE)? {
                Some(status) if status.success() => {}
                Some(status) => bail!("the daemon ended with {status}"),
                None => bail!("the daemon did not end within {} s", PATIENCE.as_secs()),
            }
        }
        let mounts = fs::read_to_string("/proc/self/mounts").context("/proc/self/mounts cannot be read")?;
        let point = self.point.path().to_string_lossy();
        if mounts.lines().any(|line| line.split(' ').nth(1) == Some(&point)) {
            bail!("{point} is still mounted");
        }
        Ok(())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.process.kill();
        detach(self.point.path());
    }
}

/// Takes away what is mounted at a place, if anything is, dead or alive.
fn detach(point: &Path) {
    let deadline = Instant::now() + PATIENCE;
    // Each call takes one of several mounts away, and the last one fails.
    while unmount(point, UnmountFlags::DETACH).is_ok() && Instant::now() < deadline && interrupt::check().is_ok() {
        thread::sleep(TICK);
    }
}
