//! What a scenario's host side works with: the share, the daemon, what was noted and what the kernel put out.

use crate::rig::{
    boot::{Host, Report},
    daemon::Daemon,
    record::Record,
    regular,
};
use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};
use testkernel_protocol::share::SMALL_DISK;

/// The host's side of one boot.
#[derive(Debug)]
pub(crate) struct Stage {
    /// The shared folder.
    pub(crate) share: PathBuf,
    /// Bytes of the window, if there is one.
    pub(crate) window: Option<u64>,
    /// What the kernel put out.
    pub(crate) output: Vec<u8>,
    at: fn(&mut Self, &str) -> Result<()>,
    record: Option<PathBuf>,
    daemon: Option<u32>,
    deed: Option<Deed>,
    points: Vec<String>,
    notes: BTreeMap<&'static str, usize>,
}

/// What happens to the daemon at a point.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Kill,
    Stop,
    Resume,
}

/// For scenarios that wait at no point.
pub(crate) fn no_such_point(_: &mut Stage, name: &str) -> Result<()> {
    bail!("the kernel waits for `{name}`, of which the host knows nothing")
}

impl Stage {
    /// For a boot with this share.
    pub(crate) fn new(share: &Path, window: Option<u64>, at: fn(&mut Self, &str) -> Result<()>) -> Self {
        Self {
            share: share.to_path_buf(),
            window,
            output: Vec::new(),
            at,
            record: None,
            daemon: None,
            deed: None,
            points: Vec::new(),
            notes: BTreeMap::new(),
        }
    }

    /// Asks for the daemon's end, which comes before the kernel goes on.
    pub(crate) fn kill_daemon(&mut self) {
        self.deed = Some(Deed::Kill);
    }

    /// Asks for the daemon to be stopped, as SIGSTOP does, before the kernel goes on.
    pub(crate) fn stop_daemon(&mut self) {
        self.deed = Some(Deed::Stop);
    }

    /// Asks for a stopped daemon to go on before the kernel does.
    pub(crate) fn resume_daemon(&mut self) {
        self.deed = Some(Deed::Resume);
    }

    /// The daemon's record so far.
    ///
    /// # Errors
    /// When it keeps none, or it can't be read.
    pub(crate) fn record(&self) -> Result<Record> {
        Record::read(self.record.as_deref().context("the daemon keeps no record")?)
    }

    /// The file system that only the daemon has mounted, while it runs.
    ///
    /// # Errors
    /// When there is no daemon.
    pub(crate) fn small_disk(&self) -> Result<PathBuf> {
        let root = format!("/proc/{}/root", self.daemon.context("there is no daemon")?);
        let share = fs::canonicalize(&self.share)?;
        Ok(Path::new(&root).join(share.strip_prefix("/")?).join(SMALL_DISK))
    }

    /// Keeps a number for later.
    pub(crate) fn note(&mut self, name: &'static str, value: usize) {
        self.notes.insert(name, value);
    }

    /// A number that was kept.
    ///
    /// # Errors
    /// When it was not, since the kernel never came to that point.
    pub(crate) fn noted(&self, name: &'static str) -> Result<usize> {
        self.notes
            .get(name)
            .copied()
            .with_context(|| format!("the kernel never came to the point where {name} is noted"))
    }

    /// Fails unless the kernel waited at a point.
    ///
    /// # Errors
    /// When it didn't.
    pub(crate) fn passed_by(&self, name: &str) -> Result<()> {
        ensure!(self.points.iter().any(|point| point == name), "the kernel never waited at `{name}`");
        Ok(())
    }

    /// The whole of a file of the share.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn read(&self, name: &str) -> Result<Vec<u8>> {
        regular::read(&self.share, Path::new(name))
    }

    /// Writes to a file of the share in place.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write(&self, name: &str, offset: u64, bytes: &[u8]) -> Result<()> {
        let file = File::options().write(true).open(self.share.join(name));
        file.and_then(|file| file.write_all_at(bytes, offset)).with_context(|| format!("the host cannot write {name}"))
    }

    /// Fails unless a file of the share holds exactly this.
    ///
    /// # Errors
    /// The first difference.
    pub(crate) fn holds(&self, name: &str, expected: &[u8]) -> Result<()> {
        same(name, &self.read(name)?, expected)
    }

    /// Fails unless the kernel reported the right SHA-256 of a file.
    ///
    /// # Errors
    /// When it reported none, or another.
    pub(crate) fn hash_is_the_hosts(&self, report: &Report, name: &str) -> Result<()> {
        let told = report
            .info(&format!("sha256 {name}"))
            .with_context(|| format!("the kernel reported no SHA-256 of {name}"))?;
        let ours = sha256(regular::open(&self.share, Path::new(name))?)?;
        ensure!(told == ours, "{name}: the kernel read bytes with the SHA-256 {told}, the host has {ours}");
        Ok(())
    }
}

impl Host for Stage {
    fn sync(&mut self, name: &str, daemon: Option<&mut Daemon>) -> Result<()> {
        self.record = daemon.as_ref().and_then(|daemon| daemon.record.clone());
        self.daemon = daemon.as_ref().map(|daemon| daemon.process.id());
        self.points.push(name.to_owned());
        (self.at)(self, name)?;
        let Some(deed) = self.deed.take() else { return Ok(()) };
        let process = &mut daemon.context("there is no daemon")?.process;
        match deed {
            Deed::Kill => process.kill(),
            Deed::Stop => process.stop()?,
            Deed::Resume => process.resume()?,
        }
        Ok(())
    }

    fn output(&mut self, bytes: &[u8]) -> Result<()> {
        self.output.extend_from_slice(bytes);
        Ok(())
    }

    fn log(&mut self, _: &[u8]) {}
}

/// Fails unless bytes are what they should be.
///
/// # Errors
/// The first difference.
pub(crate) fn same(name: &str, found: &[u8], expected: &[u8]) -> Result<()> {
    ensure!(found.len() == expected.len(), "{name} has {} bytes, not {}", found.len(), expected.len());
    if let Some(at) = found.iter().zip(expected).position(|(found, expected)| found != expected) {
        bail!("{name} differs at byte {at}: {:#04x}, not {:#04x}", found[at], expected[at]);
    }
    Ok(())
}

fn sha256(file: File) -> Result<String> {
    // A guest may have left a file of any size.
    let mut reader = file.take(regular::LARGEST);
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let length = reader.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        hasher.update(&buffer[..length]);
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_standard() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x");
        fs::write(&file, "abc").unwrap();
        assert_eq!(
            sha256(File::open(&file).unwrap()).unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn the_first_difference_is_told() {
        assert!(same("x", b"abc", b"abc").is_ok());
        assert!(same("x", b"abc", b"abcd").unwrap_err().to_string().contains("3 bytes"));
        assert!(same("x", b"abc", b"adc").unwrap_err().to_string().contains("byte 1"));
    }
}
