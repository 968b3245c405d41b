//! Daemons as `cargo xtask setup` makes them, and mounts over them.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use transport_vhost_user::{Connection, HostLock, Options, Unmapped};
use virtio_fs::{Config, Device, Interrupts, VirtioFs};

pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target")
}

/// The command for a daemon, if there is one.
pub(crate) fn daemon(dax: bool) -> Option<Command> {
    let variable = if dax { "VIRTIOFSD_DAX" } else { "VIRTIOFSD" };
    let root = target().join("rig/qemu");
    let libraries = root.join("usr/lib/x86_64-linux-gnu");
    let command = match std::env::var_os(variable) {
        Some(path) => Some(Command::new(path)),
        None if dax => Some(target().join("release/virtiofsd-dax")).filter(|path| path.is_file()).map(Command::new),
        None => Some(root.join("usr/libexec/virtiofsd")).filter(|path| path.is_file()).map(|path| {
            let mut command = Command::new(libraries.join("ld-linux-x86-64.so.2"));
            command.arg("--library-path").arg(&libraries).arg(path);
            command
        }),
    };
    if command.is_none() {
        eprintln!("skipped: there is no {variable}; `cargo xtask setup` gets it");
    }
    command
}

pub(crate) struct Daemon {
    pub(crate) process: Child,
    folder: TempDir,
}

impl Daemon {
    pub(crate) fn start(mut command: Command, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("share")).expect("a folder");
        command.arg("--socket-path").arg(folder.path().join("socket"));
        command.arg("--shared-dir").arg(folder.path().join("share"));
        command.args(["--sandbox", "none", "--log-level", "error"]).args(arguments);
        let process = command.stdin(Stdio::null()).spawn().expect("the daemon starts");
        let daemon = Self { process, folder };
        let begin = Instant::now();
        while !daemon.socket().exists() {
            assert!(begin.elapsed() < DEADLINE, "no socket");
            std::thread::sleep(Duration::from_millis(5));
        }
        daemon
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("share").join(name)
    }

    pub(crate) fn connect(&self) -> Connection {
        let mut options = Options::default();
        options.record = true;
        options.unmapped = Unmapped::Fault;
        let begin = Instant::now();
        loop {
            // The socket is there before the daemon listens.
            match Connection::open(self.socket(), &options) {
                Ok(connection) => return connection,
                Err(error) => assert!(begin.elapsed() < DEADLINE, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn mount_with(connection: &Connection, config: Config) -> VirtioFs<HostLock> {
    let config = config.interrupts(Interrupts::Deferred);
    let device = Device::with_lock(connection.transport(), connection.memory());
    device.mount(connection.platform(), config).expect("the mount")
}
