//! What set-up works with, and its lock.

use super::qemu_args::QemuArgs;
use crate::{paths::Paths, process::interrupt};
use anyhow::{Context as _, Result};
use std::{
    fs::{self, File, TryLockError},
    path::PathBuf,
    thread,
    time::Duration,
};

/// How often a wait for the lock looks again.
const TICK: Duration = Duration::from_millis(50);

/// How folders begin that hold what isn't finished.
pub(crate) const SCRATCH: &str = ".unfinished-";

/// What set-up needs to know.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// Where things are.
    pub(crate) paths: Paths,
    /// The user's choice of a QEMU.
    pub(crate) qemu: QemuArgs,
    /// The folder of the system's configuration, `/etc`.
    pub(crate) etc: PathBuf,
}

impl Context {
    /// For this repository on this machine.
    pub(crate) fn new(qemu: &QemuArgs) -> Result<Self> {
        Ok(Self { paths: Paths::find()?, qemu: qemu.clone(), etc: "/etc".into() })
    }

    /// Keeps other runs of these commands from setting up at the same time, and clears away what one that was killed
    /// had begun.
    pub(crate) fn lock(&self) -> Result<File> {
        let rig = self.paths.rig();
        fs::create_dir_all(&rig).with_context(|| format!("cannot create {}", rig.display()))?;
        let lock = File::create(rig.join(".lock")).with_context(|| format!("cannot write to {}", rig.display()))?;
        take(&lock)?;
        for entry in fs::read_dir(&rig)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(SCRATCH) {
                fs::remove_dir_all(entry.path())
                    .with_context(|| format!("cannot remove {}", entry.path().display()))?;
            }
        }
        Ok(lock)
    }
}

/// Takes a lock; says so when somebody else has it, and waits until they let go or this program is asked to stop.
fn take(lock: &File) -> Result<()> {
    let mut said = false;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if !said => {
                eprintln!("Another of these commands is setting up in this clone; waiting for it ...");
                said = true;
            }
            Err(TryLockError::WouldBlock) => thread::sleep(TICK),
            Err(TryLockError::Error(error)) => return Err(error).context("the lock of the rig's folder cannot be had"),
        }
        interrupt::check()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_lock_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = File::create(&path).unwrap();
        take(&first).unwrap();
        let second = File::create(&path).unwrap();
        let (done, waits) = mpsc::channel();
        let waiter = thread::spawn(move || {
            take(&second).unwrap();
            done.send(()).unwrap();
        });
        assert_eq!(waits.recv_timeout(2 * TICK), Err(mpsc::RecvTimeoutError::Timeout));
        drop(first);
        waits.recv_timeout(Duration::from_secs(60)).unwrap();
        waiter.join().unwrap();
    }

    #[test]
    fn what_a_killed_run_left_is_cleared_away() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths { root: dir.path().into(), target: dir.path().join("target") };
        let context = Context { paths, qemu: QemuArgs::default(), etc: "/etc".into() };
        let left = context.paths.rig().join(format!("{SCRATCH}x"));
        fs::create_dir_all(left.join("half")).unwrap();
        drop(context.lock().unwrap());
        assert!(!left.exists());
    }
}
