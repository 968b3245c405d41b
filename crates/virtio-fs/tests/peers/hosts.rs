//! Hosts that map less than one could wish for: the driver gets by with what there is, and says so.

use dax_window::HostRules;
use fuse_proto::Errno;
use virtio_fs::{Config, DaxStatus, OpenOptions, TailMapping};

use crate::rig::content::{assert_same, content, next};
use crate::rig::ledger::op;
use crate::rig::peer::{Kind, Peer};
use crate::rig::strict::{Act, Host};

const READ: OpenOptions = OpenOptions::new().read(true);
const BOTH: OpenOptions = OpenOptions::new().read(true).write(true);

fn on(host: Host) -> Peer {
    Peer::new(Kind::Strict).with_window(Some(16 << 20)).with_options(|options| options.host = host)
}

/// Reads, writes, cuts, stretches and removes, with a window smaller than the files.
fn exercise(peer: &Peer, config: Config) -> virtio_fs::Stats {
    let mut data = content(1, (24 << 20) + 777);
    peer.put("file", &data);
    peer.put("small", b"less than a page");
    let fs = peer.mount_with(config).unwrap();
    assert_same(&fs.read("file").unwrap(), &data, "the file");
    assert_eq!(fs.read("small").unwrap(), b"less than a page");
    let reader = fs.open("file", READ).unwrap();
    let file = fs.open("file", BOTH).unwrap();
    let mut state = 3;
    for index in 0..60 {
        let at = next(&mut state) as usize % (data.len() - 10_000);
        if index % 3 == 0 {
            let new = content(next(&mut state), 10_000);
            file.write_all_at(&new, at as u64).unwrap();
            data[at..at + 10_000].copy_from_slice(&new);
        } else {
            let mut found = vec![0; 10_000];
            reader.read_exact_at(&mut found, at as u64).unwrap();
            assert_same(&found, &data[at..at + 10_000], at);
        }
    }
    assert_same(&peer.get("file"), &data, "on the host");
    for size in [(13 << 20) + 5, 20 << 20, 3 << 20] {
        file.set_len(size as u64).unwrap();
        data.resize(size, 0);
        assert_same(&peer.get("file"), &data, size);
        assert_same(&fs.read("file").unwrap(), &data, size);
    }
    file.write_all_at(&content(9, 5 << 20), 2 << 20).unwrap();
    data.truncate(2 << 20);
    data.extend(content(9, 5 << 20));
    assert_same(&peer.get("file"), &data, "stretched");
    assert_same(&fs.read("file").unwrap(), &data, "stretched");
    drop((reader, file));
    fs.remove_file("file").unwrap();
    let stats = fs.stats();
    fs.unmount().unwrap();
    stats
}

#[test]
fn a_host_like_stock_qemu() {
    let peer = on(Host::Stingy);
    let stats = exercise(&peer, peer.config());
    assert_eq!(stats.setup_refused, 0, "the driver asks for nothing that this host refuses: {stats:?}");
    assert!(stats.dax_read_bytes > 24 << 20 && stats.dax_write_bytes > 0, "{stats:?}");
    peer.end();
}

#[test]
fn a_host_like_stock_qemu_that_nobody_told_of() {
    // The driver's settings promise what the host doesn't do.
    let peer = on(Host::Stingy);
    peer.strict().ledger().forgiving = true;
    let stats = exercise(&peer, peer.config().tail(TailMapping::PartialPage).host(HostRules::REPLACING));
    assert!(stats.setup_refused > 0, "{stats:?}");
    assert!(stats.dax_read_bytes > 0, "{stats:?}");
    peer.end_expecting(|mistake| mistake.contains(" over "));
}

#[test]
fn hosts_that_replace_mappings() {
    for rules in [HostRules::REPLACING, HostRules::TRANSLATING] {
        let peer = Peer::new(Kind::Strict).with_window(Some(16 << 20)).with_options(|options| options.remaps = true);
        let stats = exercise(&peer, peer.config().host(rules));
        assert_eq!(stats.setup_refused, 0, "{stats:?}");
        peer.end();
        let peer = Peer::new(Kind::Krun).with_window(Some(16 << 20));
        exercise(&peer, peer.config().host(rules).tail(TailMapping::PartialPage));
        peer.end();
    }
}

#[test]
fn a_shorter_mapping_takes_no_longer_ones_place() {
    let peer = Peer::new(Kind::Strict).with_window(Some(8 << 20)).with_options(|options| options.remaps = true);
    peer.put("long", &content(1, 16 << 20));
    for n in 0..6u64 {
        peer.put(format!("short-{n}"), &content(n, 64 << 10));
    }
    let fs = peer.mount_with(peer.config().host(HostRules::REPLACING)).unwrap();
    assert_same(&fs.read("long").unwrap(), &content(1, 16 << 20), "with nothing shorter");
    assert_eq!(peer.strict().ledger().count(op::REMOVEMAPPING), 0, "the host replaces");
    for n in (0..6).chain(0..6) {
        assert_same(&fs.read(&*format!("short-{n}")).unwrap(), &content(n, 64 << 10), n);
        // The device reports a mapping of which a rest would stay.
        assert_same(&fs.read("long").unwrap(), &content(1, 16 << 20), "beside shorter ones");
    }
    peer.finish(fs);
}

#[test]
fn a_host_that_limits_mappings() {
    let peer = on(Host::Limited(3));
    let stats = exercise(&peer, peer.config().max_mappings(Some(3)));
    assert_eq!(stats.setup_refused, 0, "{stats:?}");
    assert_eq!(peer.strict().ledger().most_mappings, 3);
    peer.end();
}

#[test]
fn a_host_that_limits_mappings_that_nobody_told_of() {
    let peer = on(Host::Limited(3));
    let stats = exercise(&peer, peer.config());
    assert!(stats.setup_refused > 0 && stats.dax_read_bytes > 0, "{stats:?}");
    assert!(peer.strict().ledger().most_mappings <= 3);
    peer.end();
}

#[test]
fn a_host_that_maps_nothing_writable() {
    let peer = on(Host::ReadOnly);
    let stats = exercise(&peer, peer.config());
    assert!(stats.dax_read_bytes > 0, "{stats:?}");
    assert_eq!(stats.dax_write_bytes, 0, "{stats:?}");
    peer.end();
}

#[test]
fn a_server_that_knows_no_mappings() {
    let peer = on(Host::Without);
    peer.put("file", &content(1, 4 << 20));
    let fs = peer.mount();
    assert_same(&fs.read("file").unwrap(), &content(1, 4 << 20), "by requests");
    assert_eq!(fs.dax_status(), DaxStatus::ServerCannotMap);
    let file = fs.open("file", READ).unwrap();
    assert_eq!(file.map(0, 1).unwrap_err().errno(), Errno::EOPNOTSUPP);
    drop(file);
    fs.unmount().unwrap();
    drop(fs);
    assert!(peer.strict().ledger().count(op::SETUPMAPPING) <= 2, "it is not asked for ever");
    exercise(&peer, peer.config());
    peer.end();
}

#[test]
fn a_file_that_the_host_will_not_map() {
    // Others are mapped all the same.
    let peer = Peer::new(Kind::Strict);
    peer.put("never", &content(1, 4 << 20));
    peer.put("always", &content(2, 4 << 20));
    let fs = peer.mount();
    let node = fs.lookup("never").unwrap().node_id();
    let number: u64 = node.into();
    peer.strict().watch(move |request| match request.opcode() {
        op::SETUPMAPPING if request.node() == number => Act::Refuse(libc::EACCES),
        _ => Act::Serve,
    });
    assert_same(&fs.read("never").unwrap(), &content(1, 4 << 20), "by requests");
    assert_same(&fs.read("always").unwrap(), &content(2, 4 << 20), "by the window");
    let stats = fs.stats();
    assert_eq!(stats.dax_read_bytes, 4 << 20, "{stats:?}");
    assert_eq!(stats.request_read_bytes, 4 << 20, "{stats:?}");
    assert!(stats.bypass.refused > 0, "{stats:?}");
    assert_eq!(fs.dax_status(), DaxStatus::Active);
    let file = fs.open("never", READ).unwrap();
    assert_eq!(file.map(0, 1).unwrap_err().errno(), Errno::EOPNOTSUPP);
    drop(file);
    peer.finish(fs);
}

#[test]
fn removals_that_fail_cost_ranges_but_no_data() {
    // An error can come after part of the work was done: such ranges are not to be given out as clean.
    for kept in [false, true] {
        let peer = Peer::new(Kind::Strict).with_window(Some(8 << 20));
        let data = content(1, 24 << 20);
        peer.put("file", &data);
        let fs = peer.mount();
        let mut failures = 0;
        peer.strict().misbehave(move |request| match request.opcode() {
            op::REMOVEMAPPING if failures < 3 => {
                failures += 1;
                if kept {
                    Act::Refuse(libc::EINVAL)
                } else {
                    Act::Alter(Box::new(|answer| {
                        answer.bytes[4..8].copy_from_slice(&(-libc::EINVAL).to_le_bytes());
                    }))
                }
            }
            _ => Act::Serve,
        });
        let file = fs.open("file", BOTH).unwrap();
        let mut found = vec![0; data.len()];
        for _ in 0..3 {
            file.read_exact_at(&mut found, 0).unwrap();
            assert_same(&found, &data, "in spite of it");
        }
        file.write_all_at(b"written", 12 << 20).unwrap();
        assert_eq!(&peer.get("file")[12 << 20..][..7], b"written");
        drop(file);
        peer.strict().behave();
        drop(fs);
        peer.end_expecting(|mistake| mistake.contains("where no such mapping is") || mistake.contains(" over "));
    }
}
