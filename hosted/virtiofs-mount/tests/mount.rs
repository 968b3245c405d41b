//! The programme as people start it: over a daemon that `cargo xtask setup` makes, as root, with /dev/fuse.
//!
//! Without one of these, the tests that mount are skipped, aloud. `VIRTIOFSD_DAX` names another daemon.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(60);

fn programme() -> Command {
    Command::new(env!("CARGO_BIN_EXE_virtiofs-mount"))
}

/// The daemon, if everything is there that it takes to mount its share.
fn daemon() -> Option<PathBuf> {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/release/virtiofsd-dax");
    let path = std::env::var_os("VIRTIOFSD_DAX").map_or(ours, PathBuf::from);
    let reason = if !rustix::process::geteuid().is_root() {
        "it takes root to mount"
    } else if File::options().read(true).write(true).open("/dev/fuse").is_err() {
        "there is no /dev/fuse"
    } else if !path.is_file() {
        "there is no virtiofsd-dax; `cargo xtask setup` builds it"
    } else {
        return Some(path);
    };
    eprintln!("skipped: {reason}");
    None
}

/// A folder, mounted.
struct Mounted {
    folder: TempDir,
    process: Child,
    ended: bool,
}

impl Mounted {
    fn new(arguments: &[&str]) -> Option<Self> {
        let daemon = daemon()?;
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["share", "mnt"] {
            fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        let mut process = programme()
            .args(["--foreground", "--announce", "--strict-window", "--window", "16M", "--daemon-arg=--sandbox=none"])
            .arg("--daemon")
            .arg(daemon)
            .args(arguments)
            .arg(folder.path().join("share"))
            .arg(folder.path().join("mnt"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(folder.path().join("log")).expect("a file"))
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        let output = process.stdout.take().expect("it is piped");
        BufReader::new(output).read_line(&mut line).expect("a line");
        let mounted = Self { folder, process, ended: false };
        assert_eq!(line, "mounted\n", "{}", mounted.log());
        Some(mounted)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).expect("a log")
    }

    /// A file as a program sees it.
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("mnt").join(name)
    }

    /// The same file on the host.
    fn host(&self, name: &str) -> PathBuf {
        self.folder.path().join("share").join(name)
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.process.id().cast_signed()).expect("a number");
        kill_process(pid, signal).expect("it is there");
    }

    /// Waits for the end of the process; nothing is left then.
    fn wait(&mut self) -> ExitStatus {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().expect("it can be asked") {
                self.ended = true;
                let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
                let point = self.folder.path().join("mnt");
                assert!(!mounts.contains(point.to_str().expect("UTF-8")), "it is still mounted");
                return status;
            }
            assert!(begin.elapsed() < DEADLINE, "it does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it as people do.
    fn end(mut self) -> String {
        self.signal(Signal::TERM);
        let status = self.wait();
        assert!(status.success(), "{status}: {}", self.log());
        self.log()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.process.kill();
            let _ = self.process.wait();
            let _ = rustix::mount::unmount(self.folder.path().join("mnt"), rustix::mount::UnmountFlags::DETACH);
        }
    }
}

#[test]
fn programs_and_the_host_see_the_same_files() {
    let Some(mounted) = Mounted::new(&[]) else { return };
    let bytes: Vec<u8> = (0..3_000_000u32).map(|index| (index / 7) as u8).collect();
    fs::write(mounted.host("theirs"), &bytes).expect("the host writes");
    assert!(fs::read(mounted.path("theirs")).expect("it reads") == bytes, "other bytes");
    fs::write(mounted.path("ours"), &bytes).expect("it writes");
    assert!(fs::read(mounted.host("ours")).expect("the host reads") == bytes, "other bytes");

    fs::create_dir(mounted.path("folder")).expect("it makes a folder");
    fs::rename(mounted.path("ours"), mounted.path("folder/moved")).expect("it renames");
    fs::hard_link(mounted.path("folder/moved"), mounted.path("linked")).expect("it links");
    std::os::unix::fs::symlink("folder/moved", mounted.path("pointer")).expect("it links");
    assert_eq!(fs::read_link(mounted.host("pointer")).expect("a link"), Path::new("folder/moved"));
    assert_eq!(fs::metadata(mounted.path("pointer")).expect("it follows").nlink(), 2);
    fs::set_permissions(mounted.path("linked"), fs::Permissions::from_mode(0o640)).expect("it changes the mode");
    assert_eq!(fs::metadata(mounted.host("linked")).expect("it is there").mode() & 0o7777, 0o640);
    let host = fs::metadata(mounted.host("linked")).expect("it is there");
    let seen = fs::metadata(mounted.path("linked")).expect("it is there");
    assert_eq!((seen.ino(), seen.size(), seen.mtime()), (host.ino(), host.size(), host.mtime()));
    let mut names: Vec<_> = fs::read_dir(mounted.path(""))
        .expect("it lists")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    assert_eq!(names, ["folder", "linked", "pointer", "theirs"]);
    fs::remove_dir_all(mounted.path("folder")).expect("it removes");
    assert!(!mounted.host("folder").exists());
    let log = mounted.end();
    assert!(log.contains("DAX active") && log.contains("mappings set up"), "{log}");
}

#[test]
fn appending_truncating_and_direct_access() {
    let Some(mounted) = Mounted::new(&[]) else { return };
    let path = mounted.path("file");
    let mut appending = File::options().append(true).create(true).open(&path).expect("it opens");
    appending.write_all(b"one").expect("it appends");
    fs::OpenOptions::new()
        .append(true)
        .open(mounted.host("file"))
        .and_then(|mut file| file.write_all(b"two"))
        .expect("the host appends");
    appending.write_all(b"three").expect("it appends");
    assert_eq!(fs::read(mounted.host("file")).expect("the host reads"), b"onetwothree");
    let file = File::options().read(true).write(true).open(&path).expect("it opens");
    file.set_len(4096 * 3 + 5).expect("it grows");
    file.write_all_at(b"end", 4096 * 3).expect("it writes");
    file.set_len(4096 * 3 + 2).expect("it shrinks");
    let bytes = fs::read(mounted.host("file")).expect("the host reads");
    assert_eq!((bytes.len(), &bytes[4096 * 3..], &bytes[..3]), (4096 * 3 + 2, &b"en"[..], &b"one"[..]));

    let mut direct = File::options()
        .read(true)
        .custom_flags(rustix::fs::OFlags::DIRECT.bits().cast_signed())
        .open(&path)
        .expect("it opens");
    direct.seek(SeekFrom::Start(4096)).expect("it seeks");
    let mut page = vec![1; 4096];
    direct.read_exact(&mut page).expect("it reads");
    assert!(page.iter().all(|&byte| byte == 0));
    drop((appending, file, direct));
    mounted.end();
}

#[test]
fn extended_attributes_and_large_listings() {
    let Some(mounted) = Mounted::new(&["--timeout", "0"]) else { return };
    fs::write(mounted.path("file"), "").expect("it writes");
    let path = mounted.path("file");
    rustix::fs::setxattr(&path, "user.colour", b"blue", rustix::fs::XattrFlags::CREATE).expect("it sets");
    let mut value = [0; 16];
    let len = rustix::fs::getxattr(mounted.host("file"), "user.colour", &mut value).expect("the host has it");
    assert_eq!(&value[..len], b"blue");
    assert_eq!(rustix::fs::getxattr(&path, "user.colour", &mut [0; 2]), Err(rustix::io::Errno::RANGE));
    rustix::fs::removexattr(&path, "user.colour").expect("it removes");
    assert_eq!(rustix::fs::getxattr(&path, "user.colour", &mut value), Err(rustix::io::Errno::NODATA));

    for number in 0..1500 {
        fs::write(mounted.host(&format!("a-rather-long-name-{number:05}")), "").expect("the host writes");
    }
    for _ in 0..2 {
        assert_eq!(fs::read_dir(mounted.path("")).expect("it lists").count(), 1501);
    }
    mounted.end();
}

#[test]
fn locks_keep_others_out() {
    let Some(mounted) = Mounted::new(&[]) else { return };
    let open = || File::options().read(true).write(true).create(true).truncate(false).open(mounted.path("file"));
    let (first, second) = (open().expect("it opens"), open().expect("it opens"));
    let exclusive = rustix::fs::FlockOperation::NonBlockingLockExclusive;
    rustix::fs::flock(&first, exclusive).expect("nobody has it");
    assert_eq!(rustix::fs::flock(&second, exclusive), Err(rustix::io::Errno::AGAIN));
    rustix::fs::flock(&first, rustix::fs::FlockOperation::Unlock).expect("it has it");
    rustix::fs::flock(&second, exclusive).expect("nobody has it any more");
    drop(second);

    // Record locks are a process's.
    rustix::fs::fcntl_lock(&first, exclusive).expect("nobody has it");
    assert_eq!(lock_in_another_process(&mounted), Some(1), "another process gets the lock");
    drop(first);
    assert_eq!(lock_in_another_process(&mounted), Some(0), "nobody has it any more");
    mounted.end();
}

/// Names the file that [`a_lock_is_tried_by_another_process`] tries.
const TRIED: &str = "VIRTIOFS_MOUNT_TRIED_LOCK";

/// What a process ends with that tries a record lock: 0 if it gets it, 1 if somebody has it.
fn lock_in_another_process(mounted: &Mounted) -> Option<i32> {
    let mut command = Command::new(std::env::current_exe().expect("it has a name"));
    command.args(["--exact", "a_lock_is_tried_by_another_process"]).env(TRIED, mounted.path("file"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).status().expect("it runs").code()
}

/// That process. Started as a test, it has nothing to do.
#[test]
fn a_lock_is_tried_by_another_process() {
    let Some(path) = std::env::var_os(TRIED) else { return };
    let file = File::options().read(true).write(true).open(path).expect("it opens");
    let result = rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive);
    std::process::exit(match result {
        Ok(()) => 0,
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => 1,
        Err(_) => 2,
    });
}

#[test]
fn programs_run_from_the_mount() {
    // The kernel maps what it runs.
    for arguments in [&[][..], &["--direct-io"]] {
        let Some(mounted) = Mounted::new(arguments) else { return };
        fs::copy("/bin/echo", mounted.path("echo")).expect("it copies");
        let output = Command::new(mounted.path("echo")).arg("word").output().expect("it runs");
        assert_eq!(output.stdout, b"word\n", "{arguments:?}");
        mounted.end();
    }
}

#[test]
fn nothing_is_kept_by_the_kernel_with_direct_access() {
    let Some(mounted) = Mounted::new(&["--direct-io", "--timeout", "60"]) else { return };
    fs::write(mounted.path("file"), [1; 8192]).expect("it writes");
    let file = File::options().read(true).write(true).open(mounted.path("file")).expect("it opens");
    let host = File::options().read(true).write(true).open(mounted.host("file")).expect("the host opens");
    let mut found = [0; 100];
    for round in 2..10 {
        host.write_all_at(&[round; 100], 4000).expect("the host writes");
        file.read_exact_at(&mut found, 4000).expect("it reads");
        assert_eq!(found, [round; 100], "of before");
        file.write_all_at(&[round + 100; 100], 4000).expect("it writes");
        host.read_exact_at(&mut found, 4000).expect("the host reads");
        assert_eq!(found, [round + 100; 100], "not yet there");
    }
    drop(file);
    mounted.end();
}

#[test]
fn statistics_are_printed_on_demand() {
    let Some(mounted) = Mounted::new(&[]) else { return };
    mounted.signal(Signal::USR1);
    let begin = Instant::now();
    while !mounted.log().contains("requests") {
        assert!(begin.elapsed() < DEADLINE, "no statistics: {}", mounted.log());
        std::thread::sleep(Duration::from_millis(5));
    }
    mounted.end();
}

#[test]
fn an_unmount_from_outside_is_an_end_too() {
    let Some(mut mounted) = Mounted::new(&[]) else { return };
    rustix::mount::unmount(mounted.path(""), rustix::mount::UnmountFlags::empty()).expect("the unmount");
    assert!(mounted.wait().success(), "{}", mounted.log());
}

#[test]
fn a_daemon_that_dies_is_an_error_and_leaves_nothing() {
    let Some(mut mounted) = Mounted::new(&["--daemon-arg=--fault=statfs:crash"]) else { return };
    fs::write(mounted.path("file"), "contents").expect("it writes");
    let open = File::open(mounted.path("file")).expect("it opens");
    // Which the daemon does not survive.
    assert!(rustix::fs::statfs(mounted.path("")).is_err());
    assert_eq!(mounted.wait().code(), Some(1));
    assert!(mounted.log().contains("the back end is gone"), "{}", mounted.log());
    let error = (&open).read(&mut [0; 8]).expect_err("nobody serves it any more");
    let errno = rustix::io::Errno::from_io_error(&error).expect("the system says so");
    assert!([rustix::io::Errno::NOTCONN, rustix::io::Errno::IO].contains(&errno), "{error}");
}

/// Runs it to its end, which must be an error of one sentence that has `says` in it, with nothing mounted below `folder`.
fn refused(command: &mut Command, folder: &Path, says: &str) {
    let output = command.stdin(Stdio::null()).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(says) && said.trim().lines().count() == 1, "{says}: {said}");
    assert!(said.starts_with("virtiofs-mount: "), "{said}");
    assert_eq!(output.status.code(), Some(1), "{said}");
    let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
    assert!(!mounts.contains(folder.to_str().expect("UTF-8")), "{says}: something is mounted");
}

/// A folder with a folder `share`, a folder `mnt` and a file `file` in it.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["share", "mnt"] {
        fs::create_dir(folder.path().join(name)).expect("a folder");
    }
    fs::write(folder.path().join("file"), "").expect("written");
    folder
}

#[test]
fn bad_input_is_one_sentence() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    // Somebody listened there once.
    drop(UnixListener::bind(path("stale")).expect("a socket"));
    let usable = File::options().read(true).write(true).open("/dev/fuse").is_ok();
    for (source, point, says) in [
        ("nothing", "mnt", "there is no socket"),
        ("file", "mnt", "cannot connect to"),
        ("stale", "mnt", "cannot connect to"),
        ("share", "nothing", "cannot be used"),
        ("share", "file", "is no folder"),
    ] {
        // Who cannot mount at all gets an error before anybody connects.
        let says = if usable || point != "mnt" { says } else { "/dev/fuse" };
        refused(programme().arg("-f").arg(path(source)).arg(path(point)), folder.path(), says);
        refused(programme().arg(path(source)).arg(path(point)), folder.path(), says);
    }
    refused(programme().arg(path("share")).arg(path("mnt")).args(["--window", "3M"]), folder.path(), "power of two");
}

#[test]
fn a_back_end_that_hangs_up_is_one_sentence() {
    if daemon().is_none() {
        return;
    }
    let folder = folder();
    let socket = folder.path().join("socket");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let hang_up = std::thread::spawn(move || drop(listener.accept().expect("a connection")));
    refused(programme().arg("-f").arg(&socket).arg(folder.path().join("mnt")), folder.path(), "GET_PROTOCOL_FEATURES");
    hang_up.join().expect("it was asked");
}

#[test]
fn a_daemon_that_does_not_start_is_one_sentence() {
    if daemon().is_none() {
        return;
    }
    let folder = folder();
    for (daemon, says) in [("/bin/false", "ended at once"), ("/no/such/daemon", "cannot be started")] {
        let mut command = programme();
        command.args(["-f", "--daemon", daemon]).arg(folder.path().join("share")).arg(folder.path().join("mnt"));
        refused(&mut command, folder.path(), says);
    }
}

#[test]
fn a_mount_point_in_use_stays_as_it_is() {
    let Some(mounted) = Mounted::new(&[]) else { return };
    let folder = folder();
    fs::write(mounted.path("file"), "contents").expect("it writes");
    let mut command = programme();
    command.arg("-f").arg(folder.path().join("share")).arg(mounted.path(""));
    refused(&mut command, folder.path(), "is in use");
    assert_eq!(fs::read(mounted.path("file")).expect("it reads"), b"contents");
    mounted.end();
}

#[test]
fn without_the_device_or_the_right_to_it_nothing_begins() {
    if daemon().is_none() {
        return;
    }
    let folder = folder();
    // A namespace of mounts in which nothing is in /dev.
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", "mount -t tmpfs none /dev && exec \"$@\"", "sh"]);
    command.arg(env!("CARGO_BIN_EXE_virtiofs-mount")).arg("-f");
    refused(
        command.arg(folder.path().join("share")).arg(folder.path().join("mnt")),
        folder.path(),
        "there is no /dev/fuse",
    );

    // Nobody may not, but has to reach the programme and the folders.
    let copy = folder.path().join("virtiofs-mount");
    fs::copy(env!("CARGO_BIN_EXE_virtiofs-mount"), &copy).expect("a copy");
    for path in [folder.path(), copy.as_path()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("permissions");
    }
    let mut command = Command::new(copy);
    command.uid(65534).gid(65534).arg("-f").arg(folder.path().join("share")).arg(folder.path().join("mnt"));
    refused(&mut command, folder.path(), "no right to use /dev/fuse");
}
