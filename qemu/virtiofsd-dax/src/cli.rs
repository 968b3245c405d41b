//! The command line, and what of it makes no sense.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::{Parser, ValueEnum};
use virtiofsd::sandbox::SandboxMode;

use crate::device::MAX_TAG;
use crate::fault::Fault;
use crate::policy::Policy;

/// Smallest window, in bytes: one range of the size that guests map.
pub const MIN_WINDOW: u64 = 2 << 20;

/// How the daemon keeps itself inside the share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SandboxKind {
    /// Not at all: a fault of the daemon, or of virtiofsd in it, could let a guest reach whatever its user may.
    None,
    /// A mount, process and network namespace of its own with the share as its root. Who is not root gets a user
    /// namespace with it, in which the files of other users show as those of nobody.
    Namespace,
    /// A changed root directory; for root only.
    Chroot,
}

impl From<SandboxKind> for SandboxMode {
    fn from(kind: SandboxKind) -> Self {
        match kind {
            SandboxKind::None => SandboxMode::None,
            SandboxKind::Namespace => SandboxMode::Namespace,
            SandboxKind::Chroot => SandboxMode::Chroot,
        }
    }
}

/// What happens when the daemon makes a system call that it never needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SeccompKind {
    /// Nothing: calls are not filtered.
    None,
    /// The daemon is killed.
    Kill,
    /// The call is logged by the kernel, and allowed.
    Log,
    /// The daemon gets SIGSYS.
    Trap,
}

/// How much is logged, on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl From<LogLevel> for log::LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Off => log::LevelFilter::Off,
            LogLevel::Error => log::LevelFilter::Error,
            LogLevel::Warn => log::LevelFilter::Warn,
            LogLevel::Info => log::LevelFilter::Info,
            LogLevel::Debug => log::LevelFilter::Debug,
            LogLevel::Trace => log::LevelFilter::Trace,
        }
    }
}

/// Serves a folder of this machine to a virtual machine, with a DAX window through which the guest maps its files.
///
/// It waits at the socket for one QEMU (11.1 or later), and ends when that goes. QEMU is started with
///
///   -object memory-backend-memfd,id=mem,size=1G,share=on
///   -machine q35,memory-backend=mem
///   -chardev socket,id=c0,path=SOCKET
///   -device vhost-user-test-device-pci,virtio-id=26,num_vqs=2,vq_size=256,config_size=40,chardev=c0
///
/// where num_vqs is the number of request queues plus 1. On the device vhost-user-fs-pci there is no window.
///
/// Files that a program on the host makes shorter while a guest has them mapped are not safe: if the guest touches
/// what is gone, QEMU dies. QEMU maps only what is open for writing, so a file that a guest maps cannot be run on the
/// host meanwhile, and one of an overlay would be copied: such files are read by READ unless --map-all says otherwise.
/// The last page of a file that it fills only in part is never mapped: guests read it by READ.
///
/// Where the daemon may have no namespaces of its own, as in many containers, it runs without a sandbox. Names, links
/// and special files of a guest are checked all the same; what is lost is the second wall: then a fault of the daemon
/// gives the guest the rights of the user who runs it. As root, that is everything: give it a user of its own.
///
/// Give a virtual machine one such share only: QEMU shows each daemon the files of the others.
#[derive(Debug, Clone, Parser)]
#[command(name = "virtiofsd-dax", version, max_term_width = 110, verbatim_doc_comment)]
pub struct Options {
    /// Where the socket for QEMU is made; nothing may be there yet
    #[arg(long, value_name = "PATH")]
    pub socket_path: PathBuf,

    /// The folder to share
    #[arg(long, value_name = "DIR")]
    pub shared_dir: PathBuf,

    /// Size of the DAX window: a power of two from 2M on, with K, M, G or T; 0 for no window
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = parse_size)]
    pub window_size: u64,

    /// The name by which the guest mounts the share, at most 36 bytes
    #[arg(long, default_value = "share")]
    pub tag: String,

    /// Request queues, 1 to 63; QEMU's num_vqs is one more
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=63))]
    pub num_request_queues: u16,

    /// How many requests are carried out at a time, 1 to 64, beside urgent ones: a slow one stops none of the others
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub thread_pool_size: u16,

    /// Most mappings at a time, 1 to 4000; QEMU gets slower with each
    #[arg(long, value_name = "N", default_value_t = 4000, value_parser = clap::value_parser!(u16).range(1..=4000))]
    pub max_mappings: u16,

    /// Let the guest change nothing; nothing is mapped then, since QEMU maps only for writing
    #[arg(long)]
    pub readonly: bool,

    /// Map files that can be run, and files on an overlay, too. The host cannot run a file that a guest has mapped
    /// ("Text file busy"), and an overlay copies it
    #[arg(long)]
    pub map_all: bool,

    /// Let the guest make setuid and setgid files, and files with capabilities. Whoever runs one on the host gets the
    /// rights it lends
    #[arg(long)]
    pub allow_setuid: bool,

    /// Let the guest make device nodes, if the daemon may. The daemon itself never opens one
    #[arg(long)]
    pub allow_devices: bool,

    /// Serve the extended attributes of files
    #[arg(long)]
    pub xattr: bool,

    /// How the daemon confines itself [default: namespace where that works, which is tried; else none, and the log
    /// says so]
    #[arg(long, value_enum)]
    pub sandbox: Option<SandboxKind>,

    /// What happens at a system call that is never needed [default: kill, none if built without seccomp]
    #[arg(long, value_enum)]
    pub seccomp: Option<SeccompKind>,

    /// Write a record of all requests and mappings to this file, one JSON object a line
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,

    /// For tests: make something go wrong. REQUEST is a request of FUSE like `fsync` or `setupmapping`, or `any`;
    /// ACTION is an error like `EIO`, answered with nothing done, or `unknown` (it is done, and EIO answered), `lie` (it is
    /// done, and noise answered, until a session ends), `delay-MS`, `lose` (no answer ever), `hang` (no answers to anything any more) or `crash`.
    /// With @N it happens to the N-th such request only, with @N-M to the N-th to M-th. May be given several times
    #[arg(long, value_name = "REQUEST:ACTION[@N[-M]]")]
    pub fault: Vec<Fault>,

    /// How much is logged to standard error
    #[arg(long, value_enum, default_value = "info")]
    pub log_level: LogLevel,
}

/// Reads a number of bytes with an optional unit.
fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| format!("\"{text}\" is no number of bytes"))?;
    let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        "T" | "TB" | "TIB" => 40,
        unit => return Err(format!("\"{unit}\" is no unit, K, M, G and T are")),
    };
    number.checked_mul(1 << shift).ok_or_else(|| format!("{text} is more than there is"))
}

/// Largest window, in bytes, for which firmware finds room in the 40-bit address space of QEMU's processors.
pub const MAX_WINDOW: u64 = 256 << 30;

impl Options {
    /// Whether a window is offered at all.
    pub fn window(&self) -> Option<u64> {
        (self.window_size > 0).then_some(self.window_size)
    }

    /// What the guest may do beyond what permissions say.
    pub fn policy(&self) -> Policy {
        Policy { map_all: self.map_all, setuid: self.allow_setuid, devices: self.allow_devices }
    }

    /// Checks what can be checked before anything is done.
    ///
    /// # Errors
    ///
    /// One sentence on the first thing that makes no sense.
    pub fn check(&self) -> anyhow::Result<()> {
        check_window(self.window_size)?;
        ensure!(
            !self.tag.is_empty() && self.tag.len() <= MAX_TAG && !self.tag.contains('\0'),
            "--tag must be 1 to {MAX_TAG} bytes long without NUL, \"{}\" has {}",
            self.tag.escape_default(),
            self.tag.len()
        );
        check_share(&self.shared_dir)
    }
}

fn check_window(bytes: u64) -> anyhow::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    if !bytes.is_power_of_two() || bytes < MIN_WINDOW {
        bail!("--window-size must be a power of two of at least 2M (or 0 for none), {bytes} bytes are not");
    }
    ensure!(
        bytes <= MAX_WINDOW,
        "--window-size is {} GiB, but a machine of QEMU has room for {} GiB at most",
        bytes >> 30,
        MAX_WINDOW >> 30
    );
    Ok(())
}

fn check_share(path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    let metadata = path.metadata().with_context(|| format!("the folder to share, {shown}, cannot be used"))?;
    ensure!(metadata.is_dir(), "{shown} is not a folder and cannot be shared");
    std::fs::read_dir(path).with_context(|| format!("the folder to share, {shown}, cannot be read"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Options::command().debug_assert();
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("256M"), Ok(256 << 20));
        assert_eq!(parse_size("1g"), Ok(1 << 30));
        assert_eq!(parse_size("2MiB"), Ok(2 << 20));
        assert_eq!(parse_size("4096"), Ok(4096));
        assert!(parse_size("M").is_err());
        assert!(parse_size("-1").is_err());
        assert!(parse_size("1X").is_err());
        assert!(parse_size("99999999999T").is_err());
    }

    #[test]
    fn only_windows_that_qemu_survives() {
        for good in [0, 2 << 20, 256 << 20, MAX_WINDOW] {
            assert!(check_window(good).is_ok(), "{good}");
        }
        for bad in [1, 4096, 1 << 20, 3 << 20, (256 << 20) + 4096, MAX_WINDOW * 2, u64::MAX] {
            assert!(check_window(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_folders_are_shared() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("file");
        std::fs::write(&file, "")?;
        assert!(check_share(folder.path()).is_ok());
        assert!(check_share(&file).is_err());
        assert!(check_share(&folder.path().join("nothing")).is_err());
        Ok(())
    }
}
