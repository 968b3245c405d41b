//! The end of a mount: by signals, by an unmount from outside, or because the other side is gone.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use fuser::SessionUnmounter;
use rustix::mount::UnmountFlags;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use crate::driver::FileSystem;
use crate::statistics;

/// How long programs may go on with files of a mount that is gone from the tree.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same when all they get is errors.
const FAILED_PATIENCE: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug)]
pub(crate) struct Ending {
    mountpoint: PathBuf,
    fs: FileSystem,
    unmounter: Mutex<SessionUnmounter>,
    begun: AtomicBool,
    failed: AtomicBool,
}

impl Ending {
    /// Catches signals from now on, for [`Ending::listen`].
    pub(crate) fn signals() -> Result<Signals> {
        Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR1]).context("signals cannot be caught")
    }

    pub(crate) fn new(mountpoint: &Path, fs: FileSystem, unmounter: SessionUnmounter) -> Self {
        let mountpoint = mountpoint.canonicalize().unwrap_or_else(|_| mountpoint.into());
        let (begun, failed) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { mountpoint, fs, unmounter: Mutex::new(unmounter), begun, failed }
    }

    /// Acts upon signals, on a thread that lives as long as the process.
    pub(crate) fn listen(self: &Arc<Self>, mut signals: Signals) -> Result<()> {
        let this = self.clone();
        let act = move || {
            for signal in signals.forever() {
                if signal == SIGUSR1 {
                    this.print_statistics();
                } else if this.begun.load(Ordering::Acquire) {
                    this.give_up();
                } else {
                    this.begin(PATIENCE);
                }
            }
        };
        std::thread::Builder::new().name("signals".into()).spawn(act).context("no thread for signals")?;
        Ok(())
    }

    /// The daemon died, or gave up.
    pub(crate) fn other_side_is_gone(self: &Arc<Self>, reason: &str) {
        if self.begun.load(Ordering::Acquire) {
            return;
        }
        self.failed.store(true, Ordering::Release);
        eprintln!("virtiofs-mount: {reason}; programs get errors, and {} is unmounted", self.mountpoint.display());
        self.fs.mark_failed();
        self.begin(FAILED_PATIENCE);
    }

    /// Whether the mount ended because the other side was gone.
    pub(crate) fn is_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    pub(crate) fn print_statistics(&self) {
        for line in statistics::lines(&self.fs.stats()) {
            eprintln!("virtiofs-mount: {line}");
        }
    }

    /// Takes the mount out of the tree. The session ends when no program uses it any more, or the time is over.
    fn begin(self: &Arc<Self>, patience: Duration) {
        if self.begun.swap(true, Ordering::AcqRel) {
            return;
        }
        self.detach();
        let this = self.clone();
        let watch = move || {
            std::thread::sleep(patience);
            this.give_up();
        };
        if let Err(error) = std::thread::Builder::new().name("patience".into()).spawn(watch) {
            eprintln!("virtiofs-mount: no thread to wait with: {error}");
        }
    }

    fn detach(&self) {
        let unmounted = self.unmounter.lock().unwrap_or_else(PoisonError::into_inner).unmount();
        let Err(error) = unmounted else { return };
        // Programs use it: it goes when they have gone.
        if rustix::mount::unmount(&self.mountpoint, UnmountFlags::DETACH).is_err() {
            eprintln!("virtiofs-mount: {} cannot be unmounted: {error}", self.mountpoint.display());
        }
    }

    /// Ends the process although programs still use the mount.
    fn give_up(&self) {
        if !self.is_failed() {
            eprintln!("virtiofs-mount: programs still use files of {}; they get errors", self.mountpoint.display());
            if let Err(error) = self.fs.unmount() {
                eprintln!("virtiofs-mount: the share was not unmounted cleanly: {error}");
            }
        }
        self.print_statistics();
        std::process::exit(1);
    }
}
