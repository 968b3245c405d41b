//! The driver over this transport against daemons as they are: virtiofsd-dax and an unmodified virtiofsd.
//!
//! They are what `cargo xtask setup` makes; without them the tests are skipped, aloud. `VIRTIOFSD_DAX` and `VIRTIOFSD` name
//! others.

mod common;

use std::sync::mpsc::channel;

use common::{DEADLINE, Daemon, daemon, mount_with};
use transport_vhost_user::{Connection, GoneReason, HostLock};
use virtio_fs::{Config, DaxStatus, OpenOptions, SetAttr, StatxMask, VirtioFs};

fn mount(connection: &Connection) -> VirtioFs<HostLock> {
    mount_with(connection, Config::default())
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

#[test]
fn what_a_mount_of_the_kernels_has_no_way_for_works_by_the_api() {
    let Some(command) = daemon(true) else { return };
    let daemon = Daemon::start(command, &["--window-size", "4M"]);
    std::fs::write(daemon.path("file"), content(5000)).expect("the host writes");
    let connection = daemon.connect();
    let fs = mount(&connection);
    // TMPFILE, SYNCFS, STATX: a server that lacks one says so.
    let options = OpenOptions::new().read(true).write(true);
    match fs.root().expect("the root").create_unnamed(options) {
        Ok(file) => {
            file.write_all_at(b"nameless", 0).expect("it writes");
            assert_eq!(std::fs::read_dir(daemon.path("")).expect("the host lists").count(), 1);
        }
        Err(error) => assert_eq!(error.errno().name(), Some("EOPNOTSUPP")),
    }
    if let Err(error) = fs.sync() {
        assert_eq!(error.errno().name(), Some("EOPNOTSUPP"));
    }
    let node = fs.lookup("file").expect("it is there");
    match node.statx(StatxMask::all()) {
        Ok(reply) => assert_eq!(reply.size, 5000),
        Err(error) => assert_eq!(error.errno().name(), Some("EOPNOTSUPP")),
    }
    let changes = SetAttr { mode: Some(0o600), ..SetAttr::default() };
    assert_eq!(node.set_attr(&changes).expect("it changes").mode & 0o7777, 0o600);
    drop(node);
    fs.unmount().expect("the unmount");
}
