//! Children that cannot outlive this program, however it ends.

use super::{interrupt, shown};
use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group, set_parent_process_death_signal};
use std::{
    io::Read,
    os::unix::process::CommandExt,
    process::{Child, ChildStdout, Command, ExitStatus},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How often a wait looks again.
const TICK: Duration = Duration::from_millis(5);

/// A child in a process group of its own. The group is killed when this is dropped; the child itself also when the
/// thread that started it dies.
#[derive(Debug)]
pub(crate) struct Guarded {
    child: Child,
    group: Pid,
    status: Option<ExitStatus>,
}

impl Guarded {
    /// Starts a child.
    ///
    /// # Errors
    /// When the programme cannot be started.
    pub(crate) fn spawn(command: &mut Command) -> Result<Self> {
        command.process_group(0);
        // SAFETY: the closure runs in the forked child before exec and does one system call that is safe after a fork;
        // it allocates nothing and takes no lock.
        unsafe {
            command.pre_exec(|| set_parent_process_death_signal(Some(Signal::KILL)).map_err(Into::into));
        }
        let child = command.spawn().with_context(|| format!("cannot start `{}`", shown(command)))?;
        let group = Pid::from_child(&child);
        Ok(Self { child, group, status: None })
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its status, if it has ended.
    ///
    /// # Errors
    /// When the system refuses to say.
    pub(crate) fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self.child.try_wait()?;
        }
        Ok(self.status)
    }

    /// Waits for its end; `None` if it runs on after `patience`.
    ///
    /// # Errors
    /// When this program is interrupted.
    pub(crate) fn wait(&mut self, patience: Duration) -> Result<Option<ExitStatus>> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(Some(status));
            }
            interrupt::check()?;
            if Instant::now() >= deadline {
                return Ok(None);
            }
            thread::sleep(TICK);
        }
    }

    /// Kills it and what it started, and waits for its end.
    pub(crate) fn kill(&mut self) {
        if self.status.is_some() {
            return;
        }
        // Neither can fail in a way that matters: the group may have ended by itself just now.
        let _ = kill_process_group(self.group, Signal::KILL);
        self.status = self.child.wait().ok();
    }

    /// Stops it and what it started, until [`Guarded::resume`].
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn stop(&self) -> Result<()> {
        kill_process_group(self.group, Signal::STOP).context("a process cannot be stopped")
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn resume(&self) -> Result<()> {
        kill_process_group(self.group, Signal::CONT).context("a stopped process cannot go on")
    }

    /// Its standard output, if that is a pipe which nobody took yet.
    pub(crate) fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Collects what it writes to its standard output, in a thread of its own. Nothing if that isn't a pipe.
    pub(crate) fn read_stdout(&mut self) -> JoinHandle<Vec<u8>> {
        collect(self.child.stdout.take())
    }

    /// The same for its standard error.
    pub(crate) fn read_stderr(&mut self) -> JoinHandle<Vec<u8>> {
        collect(self.child.stderr.take())
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.kill();
    }
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // A broken pipe ends the output; what came before is kept.
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Stdio;

    #[test]
    fn a_dropped_child_and_its_own_children_end() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & echo $!; wait"]).stdout(Stdio::piped());
        let mut child = Guarded::spawn(&mut command).unwrap();
        let mut pipe = child.take_stdout().unwrap();
        let mut line = Vec::new();
        let mut byte = [0];
        while pipe.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        let grandchild = String::from_utf8(line).unwrap();
        drop(child);
        let gone = || match std::fs::read_to_string(format!("/proc/{grandchild}/stat")) {
            Err(_) => true,
            Ok(stat) => stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')),
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while !gone() {
            assert!(Instant::now() < deadline, "process {grandchild} lives on");
            thread::sleep(TICK);
        }
    }

    #[test]
    fn a_stopped_child_goes_on_when_it_may() {
        let mut command = Command::new("sh");
        command.args(["-c", "read line; echo $line"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = Guarded::spawn(&mut command).unwrap();
        child.stop().unwrap();
        std::io::Write::write_all(&mut child.child.stdin.take().unwrap(), b"word\n").unwrap();
        assert_eq!(child.wait(Duration::from_millis(100)).unwrap(), None);
        child.resume().unwrap();
        assert!(child.wait(Duration::from_secs(20)).unwrap().unwrap().success());
        assert_eq!(child.read_stdout().join().unwrap(), b"word\n");
    }

    #[test]
    fn a_programme_that_is_not_there_is_named() {
        let error = Guarded::spawn(&mut Command::new("no-such-programme-anywhere")).unwrap_err();
        assert!(format!("{error:#}").contains("no-such-programme-anywhere"));
    }
}
