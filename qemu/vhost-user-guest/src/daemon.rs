//! The daemon's process, which does not outlive whoever started it.

use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// How long anything may take.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// How often something is looked at that cannot be waited for.
const TICK: Duration = Duration::from_millis(2);

/// A daemon that listens.
#[derive(Debug)]
pub struct Daemon(Child);

impl Daemon {
    /// Starts `program` with a socket, a share and a record in `folder`, and waits until it listens. What it logs goes
    /// to a file there.
    ///
    /// # Errors
    ///
    /// If it does not start, ends at once or does not listen in time, with what it said.
    pub fn start(program: &Path, folder: &Path, arguments: &[&str]) -> Result<Self> {
        let (share, socket) = (folder.join("share"), folder.join("socket"));
        std::fs::create_dir_all(&share)?;
        let log = std::fs::File::create(log_file(folder))?;
        let mut command = Command::new(program);
        command.arg("--socket-path").arg(&socket).arg("--shared-dir").arg(share);
        command.arg("--record").arg(folder.join("record")).args(arguments);
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        let mut daemon = Daemon(child.with_context(|| format!("{} does not start", program.display()))?);
        let begin = Instant::now();
        while !listens(&socket) {
            if daemon.0.try_wait()?.is_some() || begin.elapsed() > DEADLINE {
                bail!("the daemon does not listen: {}", log_of(folder));
            }
            std::thread::sleep(TICK);
        }
        Ok(daemon)
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Its exit status, if it has ended.
    ///
    /// # Errors
    ///
    /// What the host says.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.0.try_wait()?)
    }

    /// Waits for it to end, but not for ever.
    ///
    /// # Errors
    ///
    /// If it does not end in time.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status);
            }
            if begin.elapsed() > DEADLINE {
                bail!("the daemon does not end");
            }
            std::thread::sleep(TICK);
        }
    }

    /// Ends it as nothing can be refused.
    ///
    /// # Errors
    ///
    /// What the host says.
    pub fn kill(&mut self) -> Result<()> {
        Ok(self.0.kill()?)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself, and then both say so.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn log_file(folder: &Path) -> std::path::PathBuf {
    folder.join("log")
}

/// What a daemon that was started in `folder` has logged.
pub fn log_of(folder: &Path) -> String {
    let mut log = Vec::new();
    if let Ok(mut file) = std::fs::File::open(log_file(folder)) {
        // What can be read of it is better than nothing.
        let _ = file.read_to_end(&mut log);
    }
    String::from_utf8_lossy(&log).into_owned()
}

/// Whether somebody listens at a socket. Asked of the system: a daemon takes one connection only, and a trial would be
/// it. The flag is that of a listener, the last column the path.
fn listens(socket: &Path) -> bool {
    let path = format!(" {}", socket.display());
    let table = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
    table.lines().any(|line| {
        let flags = line.split_whitespace().nth(3).and_then(|flags| u32::from_str_radix(flags, 16).ok());
        flags.is_some_and(|flags| flags & 0x1_0000 != 0) && line.ends_with(&path)
    })
}
