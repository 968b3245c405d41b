//! The command line, and what of it makes no sense.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Parser, ValueEnum};

/// Smallest window, in bytes: one range.
const MIN_WINDOW: u64 = 2 << 20;

/// Who serves the share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// A daemon of its own process, over a vhost-user socket
    Daemon,
    /// libkrun's device, in this process
    Libkrun,
    /// fuse-backend-rs's server, in this process
    FuseBackendRs,
}

/// Mounts the share of a virtiofsd on this machine.
///
/// SOURCE is the socket at which a virtiofsd listens, or a folder: then a daemon is started for it, which ends with the
/// mount. Files go through a DAX window in this process's memory where the daemon has one (virtiofsd-dax), and by READ and
/// WRITE where it has none; the statistics say which.
///
/// SIGINT, SIGTERM and SIGHUP unmount. SIGUSR1 prints statistics; so does the end.
#[derive(Clone, Debug, Parser)]
#[command(name = "virtiofs-mount", version, max_term_width = 110)]
pub(crate) struct Args {
    /// The socket of a virtiofsd, or a folder to share
    #[arg(value_name = "SOCKET-or-DIR")]
    pub(crate) source: PathBuf,

    /// The folder to mount it on
    pub(crate) mountpoint: PathBuf,

    /// Who serves a folder
    #[arg(long, value_enum, default_value = "daemon")]
    pub(crate) peer: Peer,

    /// The daemon for a folder [default: virtiofsd-dax beside this program or in PATH, else virtiofsd]
    #[arg(long, value_name = "PATH")]
    pub(crate) daemon: Option<PathBuf>,

    /// One more argument for the daemon. May be given several times
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub(crate) daemon_arg: Vec<String>,

    /// Size of the DAX window of a folder: a power of two from 2M on, with K, M or G; 0 for no window
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = parse_size)]
    pub(crate) window: u64,

    /// Do not use the window that the other side has
    #[arg(long)]
    pub(crate) no_dax: bool,

    /// End this process at an access to the window where nothing is mapped, for tests of the driver
    #[arg(long)]
    pub(crate) strict_window: bool,

    /// Store into holes of files through the window too: faster, for hosts with disks that never run full
    #[arg(long)]
    pub(crate) trust_holes: bool,

    /// Request queues of a daemon that is started, and most of any that are used
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) queues: u16,

    /// Threads that serve the kernel's requests
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) threads: u16,

    /// For how many seconds the kernel may keep names and attributes without asking
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = parse_seconds)]
    pub(crate) timeout: Duration,

    /// Read and write past the kernel's page cache
    #[arg(long)]
    pub(crate) direct_io: bool,

    /// How many seconds a request may take before a program gets an error
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = parse_seconds)]
    pub(crate) request_timeout: Duration,

    /// Stay in the foreground: do not return before the unmount
    #[arg(long, short)]
    pub(crate) foreground: bool,

    /// Write a line to standard output once the share is mounted
    #[arg(long, hide = true)]
    pub(crate) announce: bool,
}

impl Args {
    /// Checks what can be checked before anything is done.
    pub(crate) fn check(&self) -> Result<()> {
        let Self { source, mountpoint, window, .. } = self;
        ensure!(
            *window == 0 || (window.is_power_of_two() && *window >= MIN_WINDOW),
            "--window must be a power of two of at least 2M (or 0 for none), {window} bytes are not"
        );
        if self.peer != Peer::Daemon {
            ensure!(source.is_dir(), "{} is no folder, and --peer needs one", source.display());
        }
        check_mountpoint(mountpoint)
    }
}

fn check_mountpoint(path: &Path) -> Result<()> {
    let shown = path.display();
    let metadata = path.metadata().with_context(|| format!("the mount point {shown} cannot be used"))?;
    ensure!(metadata.is_dir(), "the mount point {shown} is no folder");
    let whole = path.canonicalize().with_context(|| format!("the mount point {shown} cannot be used"))?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").context("/proc/self/mountinfo cannot be read")?;
    if is_mounted(&mounts, &whole) {
        bail!("the mount point {shown} is in use: something is mounted there");
    }
    Ok(())
}

/// Whether the table of mounts has this place: its fifth column, with blanks and backslashes in octal.
fn is_mounted(mounts: &str, path: &Path) -> bool {
    let wanted: String = path
        .to_string_lossy()
        .chars()
        .map(|letter| match letter {
            ' ' | '\t' | '\n' | '\\' => format!("\\{:03o}", u32::from(letter)),
            letter => letter.to_string(),
        })
        .collect();
    mounts.lines().any(|line| line.split(' ').nth(4) == Some(&wanted))
}

/// Reads a number of bytes with an optional unit.
fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| format!("\"{text}\" is no number of bytes"))?;
    let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        unit => return Err(format!("\"{unit}\" is no unit, K, M and G are")),
    };
    number.checked_mul(1 << shift).ok_or_else(|| format!("{text} is more than there is"))
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("\"{text}\" is no number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|_| format!("{text} seconds are no time"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    fn check(words: &[&str]) -> Result<()> {
        Args::try_parse_from([&["virtiofs-mount"], words].concat()).context("the command line")?.check()
    }

    #[test]
    fn what_makes_no_sense_is_one_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let file = file.to_str().unwrap();
        assert!(check(&[path, path]).is_ok());
        assert!(check(&[path, path, "--window", "0"]).is_ok());
        for window in ["1M", "3M", "1"] {
            assert!(check(&[path, path, "--window", window]).unwrap_err().to_string().contains("power of two"));
        }
        assert!(check(&[path, file]).unwrap_err().to_string().contains("is no folder"));
        assert!(check(&[path, "/proc"]).unwrap_err().to_string().contains("in use"));
        assert!(check(&[file, path, "--peer", "libkrun"]).unwrap_err().to_string().contains("is no folder"));
        for words in [&["--window", "2X"][..], &["--timeout", "-1"], &["--threads", "0"], &["--peer", "me"]] {
            assert!(check(&[&[path, path], words].concat()).is_err(), "{words:?}");
        }
    }

    #[test]
    fn mounts_are_found_by_their_place() {
        let table = "36 35 98:0 /mnt1 /mnt\\040two rw - ext3 /dev/root rw\n";
        assert!(is_mounted(table, Path::new("/mnt two")));
        assert!(!is_mounted(table, Path::new("/mnt1")));
    }
}
