//! The driver over this transport against daemons as they are: virtiofsd-dax and an unmodified virtiofsd.
//!
//! They are what `cargo xtask setup` makes; without them the tests are skipped, aloud. `VIRTIOFSD_DAX` and `VIRTIOFSD` name
//! others.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use transport_vhost_user::{Connection, GoneReason, HostLock, Options, Unmapped};
use virtio_fs::{Config, DaxStatus, Device, Interrupts, OpenOptions, VirtioFs};

const DEADLINE: Duration = Duration::from_secs(60);

fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target")
}

/// The command for a daemon, if there is one.
fn daemon(dax: bool) -> Option<Command> {
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

struct Daemon {
    process: Child,
    folder: TempDir,
}

impl Daemon {
    fn start(mut command: Command, arguments: &[&str]) -> Self {
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

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("share").join(name)
    }

    fn connect(&self) -> Connection {
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

fn mount(connection: &Connection) -> VirtioFs<HostLock> {
    let config = Config::default().interrupts(Interrupts::Deferred);
    let device = Device::with_lock(connection.transport(), connection.memory());
    device.mount(connection.platform(), config).expect("the mount")
}

/// Bytes that differ from place to place.
fn content(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index / 251 * 7 + index % 251) as u8).collect()
}

#[test]
fn files_go_through_the_window() {
    let Some(command) = daemon(true) else { return };
    let daemon = Daemon::start(command, &["--window-size", "16M", "--tag", "files"]);
    let bytes = content(5 << 20);
    std::fs::write(daemon.path("file"), &bytes).expect("the host writes");
    let connection = daemon.connect();
    assert_eq!(connection.window_len(), Some(16 << 20));
    let fs = mount(&connection);
    assert_eq!(fs.dax_status(), DaxStatus::Active);
    let file = fs.open("file", OpenOptions::new().read(true).write(true)).expect("it opens");
    let mut read = vec![0; bytes.len()];
    file.read_exact_at(&mut read, 0).expect("it reads");
    assert!(read == bytes, "other bytes");
    file.write_all_at(b"hello", 3 << 20).expect("it writes");
    assert_eq!(std::fs::read(daemon.path("file")).expect("the host reads")[3 << 20..][..5], *b"hello");
    let stats = fs.stats();
    assert!(stats.dax_read_bytes > 4 << 20 && stats.dax_write_bytes == 5, "{stats:?}");
    let counts = connection.counts();
    assert!(counts.maps > 0 && counts.barriers > 0 && counts.refused == 0, "{counts:?}");
    assert!(!connection.mappings().is_empty());
    drop(file);
    fs.unmount().expect("the unmount");
    assert_eq!(connection.mappings(), []);
    let available = connection.memory();
    drop(fs);
    assert_eq!(available.available(), available.size(), "all memory came back");
}

#[test]
fn several_queues_serve_several_threads() {
    let Some(command) = daemon(true) else { return };
    let daemon = Daemon::start(command, &["--window-size", "16M", "--num-request-queues", "4"]);
    let connection = daemon.connect();
    assert_eq!(connection.queues(), 5);
    let fs = mount(&connection);
    assert_eq!(fs.request_queues(), 4);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let fs = &fs;
            scope.spawn(move || {
                for round in 0..20 {
                    let name = format!("{thread}-{round}");
                    fs.write(&name, name.as_bytes()).expect("it writes");
                    assert_eq!(fs.read(&name).expect("it reads"), name.as_bytes());
                }
            });
        }
    });
    assert_eq!(std::fs::read(daemon.path("7-19")).expect("the host reads"), b"7-19");
    fs.unmount().expect("the unmount");
}

#[test]
fn an_unmodified_daemon_serves_without_a_window() {
    let Some(command) = daemon(false) else { return };
    let daemon = Daemon::start(command, &[]);
    let connection = daemon.connect();
    assert_eq!(connection.window_len(), None);
    let fs = mount(&connection);
    assert_eq!(fs.dax_status(), DaxStatus::NoWindow);
    let bytes = content(300_000);
    fs.write("file", &bytes).expect("it writes");
    assert!(std::fs::read(daemon.path("file")).expect("the host reads") == bytes, "other bytes");
    assert!(fs.read("file").expect("it reads") == bytes, "other bytes");
    fs.unmount().expect("the unmount");
}

#[test]
fn a_device_is_reset_and_mounted_again_over_one_connection() {
    let Some(command) = daemon(true) else { return };
    let daemon = Daemon::start(command, &["--window-size", "4M"]);
    std::fs::write(daemon.path("file"), content(8192)).expect("the host writes");
    let connection = daemon.connect();
    for _ in 0..3 {
        let fs = mount(&connection);
        assert!(fs.read("file").expect("it reads") == content(8192), "other bytes");
        fs.unmount().expect("the unmount");
    }
}

#[test]
fn a_daemon_that_is_killed_is_an_error_of_every_request() {
    let Some(command) = daemon(true) else { return };
    let mut daemon = Daemon::start(command, &["--window-size", "4M"]);
    std::fs::write(daemon.path("file"), content(8192)).expect("the host writes");
    let connection = daemon.connect();
    let (told, tells) = channel();
    connection.on_gone(move |reason| told.send(reason).expect("the test listens"));
    let fs = mount(&connection);
    let file = fs.open("file", OpenOptions::new().read(true)).expect("it opens");
    daemon.process.kill().expect("it was there");
    assert_eq!(tells.recv_timeout(DEADLINE), Ok(GoneReason::Closed));
    for _ in 0..4 {
        assert!(fs.attr("nothing").is_err());
    }
    drop(file);
    // Nothing waits for a device that is gone; what the unmount says is of no account.
    let _ = fs.unmount();
}
