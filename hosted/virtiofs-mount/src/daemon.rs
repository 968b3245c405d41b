//! A daemon for a folder, which does not outlive this process.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::cli::Args;

/// How long it may take until it listens, and to end when its front end is gone.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often to look.
const TICK: Duration = Duration::from_millis(5);
const OURS: &str = "virtiofsd-dax";
/// Where distributions put the daemon.
const USUAL: [&str; 2] = ["/usr/libexec/virtiofsd", "/usr/lib/virtiofsd"];

/// A daemon that runs.
#[derive(Debug)]
pub(crate) struct Daemon {
    process: Child,
    folder: TempDir,
    log: File,
}

impl Daemon {
    /// Starts one for the folder that `args` names, and waits until it has made its socket.
    pub(crate) fn start(args: &Args) -> Result<Self> {
        let path = match &args.daemon {
            Some(path) => path.clone(),
            None => find().context("there is no virtiofsd-dax and no virtiofsd; name one with --daemon")?,
        };
        let folder = tempfile::tempdir().context("no temporary folder for a socket")?;
        let log = tempfile::tempfile().context("no temporary file for the daemon's log")?;
        let mut command = Command::new(&path);
        command.arg("--socket-path").arg(folder.path().join("socket")).arg("--shared-dir").arg(&args.source);
        command.args(["--xattr", "--log-level", "warn"]);
        let has_window = is_ours(&path);
        if has_window {
            command.args(["--window-size", &args.window.to_string()]);
            command.args(["--num-request-queues", &args.queues.to_string()]);
        }
        command.args(&args.daemon_arg);
        let process = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log.try_clone()?)
            .spawn()
            .with_context(|| format!("the daemon {} cannot be started", path.display()))?;
        let mut daemon = Self { process, folder, log };
        daemon.wait_for_socket(&path)?;
        if !has_window && args.window > 0 {
            eprintln!("virtiofs-mount: {} has no DAX window; files go by READ and WRITE", path.display());
        }
        Ok(daemon)
    }

    fn wait_for_socket(&mut self, path: &Path) -> Result<()> {
        let begin = Instant::now();
        while !self.socket().exists() {
            if let Some(status) = self.process.try_wait()? {
                bail!("the daemon {} ended at once ({status}): {}", path.display(), self.last_words());
            }
            if begin.elapsed() > PATIENCE {
                bail!("the daemon {} made no socket within {} s", path.display(), PATIENCE.as_secs());
            }
            std::thread::sleep(TICK);
        }
        Ok(())
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// Whether it runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.process.try_wait().is_ok_and(|status| status.is_none())
    }

    /// The last line that it wrote.
    pub(crate) fn last_words(&mut self) -> String {
        let mut text = String::new();
        // What cannot be read is not shown.
        let _ = self.log.seek(SeekFrom::Start(0));
        let _ = self.log.read_to_string(&mut text);
        text.trim().lines().last().unwrap_or("it said nothing").to_owned()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It ends by itself when its front end is gone; one that hangs is killed.
        let begin = Instant::now();
        while self.is_alive() && begin.elapsed() < PATIENCE {
            std::thread::sleep(TICK);
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The daemon to use if none is named.
fn find() -> Option<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(OURS)));
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let in_path =
        |name: &str| std::env::split_paths(&paths).map(|folder| folder.join(name)).find(|path| path.is_file());
    let usual = || USUAL.iter().map(PathBuf::from).find(|path| path.is_file());
    beside.filter(|path| path.is_file()).or_else(|| in_path(OURS)).or_else(|| in_path("virtiofsd")).or_else(usual)
}

/// Whether it is the daemon with a window, which has options of its own.
fn is_ours(path: &Path) -> bool {
    let said = Command::new(path).arg("--version").stdin(Stdio::null()).output();
    said.is_ok_and(|output| output.stdout.starts_with(OURS.as_bytes()))
}
