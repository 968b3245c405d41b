//! What the daemon has given up before it reads anything of a guest's, thread by thread, as the host's kernel says.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::guest::{Guest, becomes_the_daemon, succeeds};
use crate::{OPEN, PAGE, set_up};

/// `CAP_CHOWN`, `DAC_OVERRIDE`, `DAC_READ_SEARCH`, `FOWNER`, `FSETID`, `SETGID`, `SETUID`, `MKNOD` and `SETFCAP`.
const KEPT: u64 = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 6 | 1 << 7 | 1 << 27 | 1 << 31;

/// The process that serves: with namespaces, the last child of the one that was started.
fn server(pid: u32) -> u32 {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    match children.split_whitespace().next().and_then(|child| child.parse().ok()) {
        Some(child) => server(child),
        None => pid,
    }
}

fn threads(pid: u32) -> Vec<PathBuf> {
    fs::read_dir(format!("/proc/{pid}/task")).expect("a process").flatten().map(|entry| entry.path()).collect()
}

fn field(thread: &std::path::Path, name: &str) -> String {
    let status = fs::read_to_string(thread.join("status")).expect("a thread");
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.expect(name).trim().to_owned()
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").expect("proc").uid() == 0
}

fn capabilities(thread: &Path, set: &str) -> u64 {
    u64::from_str_radix(&field(thread, set), 16).expect("a number")
}

/// Checks that no thread of the process that serves has more than some capabilities, nor can get any.
fn threads_keep(pid: u32, kept: u64, sandbox: &str) {
    let threads = threads(pid);
    // The main one, signals, kicks, the front end's messages, urgent requests, eight for the others.
    assert!(threads.len() >= 13, "{threads:?}");
    for thread in &threads {
        let name = field(thread, "Name");
        assert_eq!(capabilities(thread, "CapEff") & !kept, 0, "{sandbox}: {name}");
        assert_eq!(capabilities(thread, "CapPrm") & !kept, 0, "{sandbox}: {name}");
        assert_eq!(capabilities(thread, "CapInh"), 0, "{sandbox}: {name}");
        assert_eq!(capabilities(thread, "CapAmb"), 0, "{sandbox}: {name}");
        assert_eq!(field(thread, "NoNewPrivs"), "1", "{sandbox}: {name}");
        let filtered = if cfg!(feature = "seccomp") { "2" } else { "0" };
        assert_eq!(field(thread, "Seccomp"), filtered, "{sandbox}: {name}");
    }
}

/// A daemon that root starts as nobody, in a folder where nobody may make the socket. `None` where that cannot be.
fn as_nobody(arguments: &[&str]) -> Option<Guest> {
    let become_nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups";
    if !is_root() || !succeeds(&format!("{become_nobody} true")) {
        println!("skipped: only root can start it as somebody else, by setpriv");
        return None;
    }
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).expect("it is ours");
    let start = becomes_the_daemon(folder.path(), &format!("exec {become_nobody} \"$daemon\" \"$@\""));
    let mut guest = Guest::started_by(folder, &start, arguments);
    guest.show_window();
    assert_eq!(guest.init().error, 0);
    Some(guest)
}

#[test]
fn a_daemon_of_a_user_without_rights_keeps_none() {
    let arguments = ["--sandbox", "none", "--num-request-queues", "1", "--thread-pool-size", "8"];
    let Some(mut guest) = as_nobody(&arguments) else { return };
    let pid = server(guest.daemon.pid());
    threads_keep(pid, 0, "none");
    for thread in threads(pid) {
        assert_eq!(field(&thread, "Uid"), "65534\t65534\t65534\t65534");
    }
    // The host's own file, which only root may read.
    guest.file("roots", 4096, 0o600);
    let (node, _) = guest.lookup("roots");
    assert_eq!(guest.request(OPEN, node, &[0; 8]).error, -libc::EACCES);
    assert_eq!(guest.end().0, Some(0));
}

#[test]
fn a_user_without_rights_gets_a_sandbox_where_there_are_user_namespaces() {
    let Some(guest) = as_nobody(&[]) else { return };
    let pid = server(guest.daemon.pid());
    let of = |pid: &str, namespace: &str| fs::read_link(format!("/proc/{pid}/ns/{namespace}")).expect("a namespace");
    let differs = |namespace| of(&pid.to_string(), namespace) != of("self", namespace);
    let confined = differs("mnt");
    let said = guest.log();
    assert_eq!(said.contains("no sandbox"), !confined, "{said}");
    threads_keep(pid, 0, if confined { "namespace" } else { "none" });
    if confined {
        assert!(differs("user") && differs("pid") && differs("net"), "all of them");
    }
    assert_eq!(guest.end().0, Some(0));
}

#[test]
fn every_thread_is_confined() {
    for sandbox in ["none", "namespace"] {
        let mut guest = Guest::confined(4, &["--sandbox", sandbox, "--num-request-queues", "3"]);
        guest.show_window();
        assert_eq!(guest.init().error, 0);
        let pid = server(guest.daemon.pid());
        threads_keep(pid, if is_root() { KEPT } else { 0 }, sandbox);
        if is_root() {
            for thread in threads(pid) {
                assert_eq!(capabilities(&thread, "CapBnd"), 0, "{sandbox}: {thread:?}");
            }
        }
        if sandbox == "namespace" {
            for namespace in ["mnt", "pid", "net"] {
                let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/{namespace}")).expect("a namespace");
                assert_ne!(of(&pid.to_string()), of("self"), "{namespace}");
            }
            let root = fs::read_dir(format!("/proc/{pid}/root")).expect("a root").count();
            assert_eq!(root, 0, "the share is its root, and empty");
        }
    }
}

#[test]
fn the_sandbox_is_tried_and_the_log_says_which_it_is() {
    let guest = Guest::confined(2, &[]);
    let own = fs::read_link(format!("/proc/{}/ns/mnt", server(guest.daemon.pid()))).expect("a namespace");
    let confined = own != fs::read_link("/proc/self/ns/mnt").expect("a namespace");
    let said = guest.log();
    assert_eq!(said.contains("sandbox: namespaces of its own"), confined, "{said}");
    assert_eq!(said.contains("no sandbox"), !confined, "{said}");
}

#[test]
fn a_confined_daemon_serves_and_maps_as_any() {
    let mut guest = Guest::confined(2, &["--sandbox", "namespace"]);
    guest.show_window();
    assert_eq!(guest.init().error, 0);
    let path = guest.file("file", 8192, 0o666);
    let (node, _) = guest.lookup("file");
    assert_eq!(set_up(&mut guest, node, 0, PAGE, 0), 0);
    let link = path.with_file_name("second");
    assert_eq!(guest.request(13, 1, &[&node.to_ne_bytes()[..], b"second\0"].concat()).error, 0);
    assert!(link.exists());
    let (status, log, summary) = guest.end();
    assert_eq!(status, Some(0), "{log}");
    assert_eq!(summary["event"], "summary");
}

#[test]
fn a_daemon_of_which_the_parent_is_killed_ends() {
    let mut guest = Guest::confined(2, &["--sandbox", "namespace"]);
    let pid = server(guest.daemon.pid());
    assert_ne!(pid, guest.daemon.pid());
    guest.daemon.kill().expect("it can be killed");
    let begin = Instant::now();
    let gone = || match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Err(_) => true,
        Ok(stat) => stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z')),
    };
    while !gone() {
        assert!(begin.elapsed() < Duration::from_secs(20), "it outlives whoever started it");
        std::thread::sleep(Duration::from_millis(2));
    }
}
