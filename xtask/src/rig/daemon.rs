//! The daemon that serves the share: ours with a window, or an unmodified one without.

use super::{
    machine::{Device, TAG},
    plan::Plan,
};
use crate::{
    process::{child::Guarded, interrupt, shown},
    setup::private::Programme,
};
use anyhow::{Context, Result, bail};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};
use testkernel_protocol::share::SMALL_DISK;

const TICK: Duration = Duration::from_millis(2);

/// The daemons that a rig has.
#[derive(Clone, Debug)]
pub(crate) struct Daemons {
    /// Ours.
    pub(crate) dax: Programme,
    /// The unmodified one.
    pub(crate) plain: Option<Programme>,
}

/// A daemon that runs.
#[derive(Debug)]
pub(crate) struct Daemon {
    /// The process.
    pub(crate) process: Guarded,
    /// Its record, if it keeps one.
    pub(crate) record: Option<PathBuf>,
}

/// Starts the daemon that a machine needs and waits until it listens at the socket.
///
/// # Errors
/// When it doesn't start, ends at once, or doesn't listen in time; with what it said.
pub(crate) fn start(daemons: &Daemons, plan: &Plan<'_>, socket: &Path) -> Result<Option<Daemon>> {
    let (machine, folder, patience) = (&plan.machine, plan.folder, plan.deadlines.boot);
    if !machine.has_share() {
        return Ok(None);
    }
    let log_file = folder.join("daemon.log");
    let log = File::create(&log_file).with_context(|| format!("cannot write to {}", folder.display()))?;
    let (mut command, record) = match machine.device {
        Device::None | Device::Gpu { .. } | Device::Ivshmem | Device::Pmem => return Ok(None),
        Device::Dax { window } => {
            let record = plan.record.then(|| folder.join("daemon.jsonl"));
            let mut command = daemons.dax.command();
            command.arg("--window-size").arg(window.to_string()).args(["--tag", TAG]);
            if let Some(record) = &record {
                command.arg("--record").arg(record);
            }
            for fault in plan.faults {
                command.arg("--fault").arg(fault);
            }
            command.args(plan.our_daemon);
            (command, record)
        }
        Device::Plain => {
            let plain = daemons.plain.as_ref().context("this machine needs an unmodified virtiofsd")?;
            (plain.command(), None)
        }
    };
    command.arg("--socket-path").arg(socket).arg("--shared-dir").arg(plan.share);
    match plan.small_disk {
        // It has a mount namespace of its own as it is, and the rig looks into that.
        Some(_) => _ = command.args(["--sandbox", "none"]),
        // Ours tries by itself what it may.
        None if matches!(machine.device, Device::Plain) => _ = command.args(["--sandbox", plain_sandbox()]),
        None => {}
    }
    command.args(["--log-level", "info"]).args(plan.daemon);
    if let Some(len) = plan.small_disk {
        command = with_small_disk(&command, &plan.share.join(SMALL_DISK), len)?;
    }
    command.stdin(std::process::Stdio::null()).stdout(log.try_clone()?).stderr(log);
    fs::write(folder.join("daemon.command"), format!("{}\n", shown(&command)))?;
    let mut process = Guarded::spawn(&mut command)?;
    let deadline = Instant::now() + patience;
    while !listens(socket) {
        if let Some(status) = process.try_wait()? {
            let said = fs::read_to_string(&log_file).unwrap_or_default();
            bail!("the daemon ended at once ({status}): {}", said.trim().lines().last().unwrap_or("it said nothing"));
        }
        interrupt::check()?;
        if Instant::now() >= deadline {
            bail!("the daemon did not listen within {} s", patience.as_secs());
        }
        thread::sleep(TICK);
    }
    Ok(Some(Daemon { process, record }))
}

/// Has a daemon begin with a tmpfs of `len` bytes over `folder`, which nobody sees but it: in namespaces of its own, so that
/// nobody needs to be root. The daemon as it is where the host lets nobody do that.
fn with_small_disk(daemon: &Command, folder: &Path, len: u64) -> Result<Command> {
    const NAMESPACES: [&str; 3] = ["--user", "--map-root-user", "--mount"];
    const SCRIPT: &str = r#"mount -t tmpfs -o size="$0" none "$1" && shift && exec "$@""#;
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let trial = Command::new("unshare").args(NAMESPACES).args(["mount", "-t", "tmpfs", "none"]).arg(folder).output();
    let possible = trial.is_ok_and(|output| output.status.success());
    let mut command = if possible { Command::new("unshare") } else { Command::new(daemon.get_program()) };
    if possible {
        command.args(NAMESPACES).args(["sh", "-c", SCRIPT, &len.to_string()]).arg(folder).arg(daemon.get_program());
    }
    command.args(daemon.get_args());
    for (name, value) in daemon.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Ok(command)
}

/// The sandbox that an unmodified daemon can have: it does not try by itself. Some systems allow the namespaces and refuse
/// the mount, so that is what is tried.
fn plain_sandbox() -> &'static str {
    const NAMESPACES: [&str; 4] = ["--mount", "--pid", "--net", "--fork"];
    const USER: [&str; 2] = ["--user", "--map-root-user"];
    let user = if rustix::process::geteuid().is_root() { &[][..] } else { &USER[..] };
    let mut trial = Command::new("unshare");
    trial.args(user).args(NAMESPACES).args(["mount", "-t", "proc", "proc", "/proc"]);
    if trial.output().is_ok_and(|output| output.status.success()) { "namespace" } else { "none" }
}

/// Whether somebody listens at a socket. Asked of the system, since a daemon of this kind takes one connection only and
/// a trial would be it.
fn listens(socket: &Path) -> bool {
    fs::read_to_string("/proc/net/unix").is_ok_and(|table| is_listening(&table, &socket.to_string_lossy()))
}

/// Columns: number, references, protocol, flags, type, state, inode, path; flag 0x10000 is that of a listener.
fn is_listening(table: &str, socket: &str) -> bool {
    table.lines().any(|line| {
        let mut columns = line.split_whitespace();
        let flags = columns.nth(3).and_then(|flags| u32::from_str_radix(flags, 16).ok());
        flags.is_some_and(|flags| flags & 0x1_0000 != 0) && line.ends_with(&format!(" {socket}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_seen_and_a_mere_socket_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        assert!(!listens(&path));
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(listens(&path));
        let bound = "ffff: 00000002 00000000 00000000 0001 01 1234 /a/s\n";
        assert!(!is_listening(bound, "/a/s"));
        assert!(is_listening(&bound.replacen("00000000 0001", "00010000 0001", 1), "/a/s"));
        assert!(!is_listening(&bound.replacen("00000000 0001", "00010000 0001", 1), "/s"));
    }
}
