//! The stand-in for QEMU and its guest, as the tests use it: whatever goes wrong ends the test.

use std::fs::File;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use vhost_user_guest::{Daemon, Reply, Start};

pub(crate) use vhost_user_guest::Asked;

/// The daemon of this package.
pub(crate) fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_virtiofsd-dax"))
}

/// A programme in a folder that runs some words of the shell before it becomes the daemon: that is `$daemon`, and its
/// arguments are `"$@"`.
pub(crate) fn becomes_the_daemon(folder: &Path, words: &str) -> PathBuf {
    // Whoever it becomes may read and run it there.
    let copy = folder.join("daemon");
    std::fs::copy(program(), &copy).expect("a copy");
    let script = folder.join("start");
    std::fs::write(&script, format!("#!/bin/sh\ndaemon={}\nexport daemon\n{words}\n", copy.display()))
        .expect("a script");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    script
}

/// Whether a command of the shell succeeds.
pub(crate) fn succeeds(words: &str) -> bool {
    let mut command = std::process::Command::new("sh");
    command.args(["-c", words]).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// A daemon that listens, before anybody connected.
pub(crate) fn start_daemon(folder: &Path, arguments: &[&str]) -> Daemon {
    let arguments = [&["--sandbox", "none"], arguments].concat();
    Daemon::start(program(), folder, &arguments).expect("the daemon starts")
}

/// The whole arrangement. QEMU must have survived it when it goes.
pub(crate) struct Guest(Option<vhost_user_guest::Guest>);

impl Deref for Guest {
    type Target = vhost_user_guest::Guest;

    fn deref(&self) -> &Self::Target {
        self.0.as_ref().expect("it ends by value only")
    }
}

impl DerefMut for Guest {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.0.as_mut().expect("it ends by value only")
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if let (Some(guest), false) = (&self.0, std::thread::panicking()) {
            assert_eq!(guest.qemu().violations, [""; 0], "QEMU's rules");
        }
    }
}

impl Guest {
    pub(crate) fn new(arguments: &[&str]) -> Self {
        Self::with_queues(2, arguments)
    }

    pub(crate) fn with_queues(queues: usize, arguments: &[&str]) -> Self {
        Self::confined(queues, &[&["--sandbox", "none"], arguments].concat())
    }

    /// In a folder that may have a share, with a programme that becomes the daemon.
    pub(crate) fn started_by(folder: TempDir, program: &Path, arguments: &[&str]) -> Self {
        let start = Start { program, queues: 2, arguments };
        Guest(Some(vhost_user_guest::Guest::start_in(folder, &start).expect("it starts")))
    }

    /// With the daemon's own choice of a sandbox, or that of the arguments.
    pub(crate) fn confined(queues: usize, arguments: &[&str]) -> Self {
        let start = Start { program: program(), queues, arguments };
        Guest(Some(vhost_user_guest::Guest::start(&start).expect("it starts")))
    }

    pub(crate) fn show_window(&mut self) -> u64 {
        self.deref_mut().show_window().expect("GET_SHMEM_CONFIG")
    }

    pub(crate) fn raw(&mut self, queue: usize, requests: &[Vec<u8>], room: usize) -> Vec<(usize, Vec<u8>)> {
        self.deref_mut().raw(queue, requests, room).expect("they come back")
    }

    pub(crate) fn together(&mut self, queue: usize, requests: &[(u32, u64, Vec<u8>)]) -> Vec<Reply> {
        self.deref_mut().together(queue, requests).expect("replies")
    }

    pub(crate) fn request(&mut self, opcode: u32, node: u64, body: &[u8]) -> Reply {
        self.deref_mut().request(opcode, node, body).expect("a reply")
    }

    /// Begins a session as Linux 7.2 does.
    pub(crate) fn init(&mut self) -> Reply {
        self.deref_mut().init().expect("a reply")
    }

    /// Looks a name up in the share's root; returns node and attribute flags.
    pub(crate) fn lookup(&mut self, name: &str) -> (u64, u32) {
        let reply = self.request(1, 1, format!("{name}\0").as_bytes());
        assert_eq!(reply.error, 0, "{name}");
        (reply.u64(0), reply.u32(124))
    }

    /// A file in the share.
    pub(crate) fn file(&self, name: &str, len: usize, mode: u32) -> PathBuf {
        let path = self.share().join(name);
        std::fs::write(&path, vec![b'x'; len]).expect("a new file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("its permissions");
        path
    }

    /// Closes the connection, as QEMU does when it goes; returns the exit status, the log and the record's last line.
    pub(crate) fn end(mut self) -> (Option<i32>, String, serde_json::Value) {
        assert_eq!(self.qemu().violations, [""; 0], "QEMU's rules");
        let (folder, status, log) = self.0.take().expect("it ends once").end().expect("it ends");
        assert!(!folder.path().join("socket").exists(), "the socket is left behind");
        let record = std::fs::read_to_string(folder.path().join("record")).expect("a record");
        for line in record.lines() {
            serde_json::from_str::<serde_json::Value>(line).expect("each line is JSON");
        }
        let last = record.lines().last().and_then(|line| serde_json::from_str(line).ok()).expect("a summary");
        (status.code(), log, last)
    }
}

/// The body of SETUPMAPPING, everything in bytes.
pub(crate) fn setup(file_offset: u64, len: u64, window_offset: u64) -> Vec<u8> {
    [u64::MAX, file_offset, len, 3, window_offset].iter().flat_map(|number| number.to_ne_bytes()).collect()
}

/// The body of REMOVEMAPPING.
pub(crate) fn removal(ranges: &[(u64, u64)]) -> Vec<u8> {
    let mut body = (ranges.len() as u32).to_ne_bytes().to_vec();
    for &(offset, len) in ranges {
        body.extend_from_slice(&offset.to_ne_bytes());
        body.extend_from_slice(&len.to_ne_bytes());
    }
    body
}

/// The inode number of a file.
pub(crate) fn inode(path: &Path) -> u64 {
    File::open(path).and_then(|file| file.metadata()).expect("it exists").ino()
}
