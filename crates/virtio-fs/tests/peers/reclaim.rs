//! A window smaller than the files: ranges are taken away, in batches, and set up anew.

use fuse_proto::Errno;
use virtio_fs::OpenOptions;

use crate::rig::content::{assert_same, content, next};
use crate::rig::ledger::op;
use crate::rig::peer::{Kind, Peer, on_both};

on_both! {
    a_file_larger_than_the_window_is_read,
    a_file_larger_than_the_window_is_written,
    random_places_of_a_large_file,
    many_files_through_a_small_window,
    a_window_of_one_range,
    views_keep_their_ranges,
    reclaim_in_the_background,
    a_file_that_is_gone_leaves_the_window,
}

const READ: OpenOptions = OpenOptions::new().read(true);
const BOTH: OpenOptions = OpenOptions::new().read(true).write(true);
const RANGE: usize = 2 << 20;

fn a_file_larger_than_the_window_is_read(peer: Peer) {
    let peer = peer.with_window(Some(8 << 20));
    let data = content(1, 40 << 20);
    peer.put("file", &data);
    let fs = peer.mount();
    for round in 0..2 {
        assert_same(&fs.read("file").unwrap(), &data, round);
    }
    let stats = fs.stats();
    assert!(stats.removed_mappings > 0 || stats.setup_mappings > 4, "{stats:?}");
    if let Some(strict) = peer.if_strict() {
        assert!(strict.ledger().most_mappings <= 4, "{}", strict.ledger().most_mappings);
    }
    peer.finish(fs);
}

fn a_file_larger_than_the_window_is_written(peer: Peer) {
    let peer = peer.with_window(Some(8 << 20));
    peer.put("file", &vec![0; 24 << 20]);
    let data = content(2, 24 << 20);
    let fs = peer.mount();
    let file = fs.open("file", BOTH).unwrap();
    for (index, piece) in data.chunks(300_007).enumerate() {
        file.write_all_at(piece, (index * 300_007) as u64).unwrap();
    }
    assert_same(&peer.get("file"), &data, "on the host");
    assert_same(&fs.read("file").unwrap(), &data, "by the driver");
    let stats = fs.stats();
    assert!(stats.dax_write_bytes > 12 << 20, "{stats:?}");
    drop(file);
    peer.finish(fs);
}

fn random_places_of_a_large_file(peer: Peer) {
    let peer = peer.with_window(Some(8 << 20));
    let mut data = content(3, 32 << 20);
    peer.put("file", &data);
    // Without the guard each access goes through the window, whatever it costs.
    for thrash_guard in [false, true] {
        let fs = peer.mount_with(peer.config().thrash_guard(thrash_guard)).unwrap();
        let file = fs.open("file", BOTH).unwrap();
        let mut state = 7;
        for index in 0..400 {
            let at = next(&mut state) as usize % (data.len() - 4096);
            if index % 5 == 0 {
                let new = content(next(&mut state), 4096);
                file.write_all_at(&new, at as u64).unwrap();
                data[at..at + 4096].copy_from_slice(&new);
            } else {
                let mut found = [0; 4096];
                file.read_exact_at(&mut found, at as u64).unwrap();
                assert_same(&found, &data[at..at + 4096], at);
            }
        }
        assert_same(&peer.get("file"), &data, "in the end");
        let stats = fs.stats();
        if !thrash_guard {
            assert_eq!((stats.request_read_bytes, stats.request_write_bytes), (0, 0), "{stats:?}");
        }
        drop(file);
        fs.unmount().unwrap();
    }
    peer.end();
}

fn many_files_through_a_small_window(peer: Peer) {
    let peer = peer.with_window(Some(8 << 20));
    for index in 0..40 {
        peer.put(format!("file-{index}"), &content(index, 1 << 20));
    }
    let fs = peer.mount();
    for round in 0..2 {
        for index in 0..40 {
            let name = format!("file-{index}");
            assert_same(&fs.read(&name).unwrap(), &content(index, 1 << 20), format_args!("{name}, round {round}"));
        }
    }
    assert_eq!(fs.stats().request_read_bytes, 0, "{:?}", fs.stats());
    if let Some(strict) = peer.if_strict() {
        let removals = strict.ledger().count(op::REMOVEMAPPING);
        assert!(removals <= 80, "{removals} requests for 80 files");
    }
    peer.finish(fs);
}

fn a_window_of_one_range(peer: Peer) {
    let peer = peer.with_window(Some(2 << 20));
    let data = content(4, 9 << 20);
    peer.put("file", &data);
    let fs = peer.mount();
    assert_same(&fs.read("file").unwrap(), &data, "range by range");
    let file = fs.open("file", BOTH).unwrap();
    file.write_all_at(&data[..6 << 20], 3 << 20).unwrap();
    assert_same(&peer.get("file")[3 << 20..], &data[..6 << 20], "written");
    drop(file);
    peer.finish(fs);
}

fn views_keep_their_ranges(peer: Peer) {
    let peer = peer.with_window(Some(8 << 20));
    let data = content(5, 24 << 20);
    peer.put("file", &data);
    let fs = peer.mount_with(peer.config().window_timeout(std::time::Duration::from_millis(100))).unwrap();
    let file = fs.open("file", READ).unwrap();
    let views: Vec<_> = (0..4).map(|index| file.map((index * RANGE) as u64, RANGE).unwrap()).collect();
    let error = file.map(5 * RANGE as u64, 1).unwrap_err();
    assert!(matches!(error.errno(), Errno::EAGAIN | Errno::EBUSY), "{error}");
    let mut found = vec![0; data.len()];
    file.read_exact_at(&mut found, 0).unwrap();
    assert_same(&found, &data, "round the window");
    assert!(fs.stats().bypass.busy > 0, "{:?}", fs.stats());
    for (index, view) in views.iter().enumerate() {
        let mut found = vec![0; RANGE];
        assert_eq!(view.copy_to(0, &mut found), RANGE);
        assert_same(&found, &data[index * RANGE..][..RANGE], index);
    }
    drop(views);
    file.map(5 * RANGE as u64, 1).expect("ranges are free again");
    drop(file);
    peer.finish(fs);
}

fn reclaim_in_the_background(peer: Peer) {
    let peer = peer.with_window(Some(64 << 20));
    let data = content(6, 96 << 20);
    peer.put("file", &data);
    let fs = peer.mount();
    assert_same(&fs.read("file").unwrap(), &data, "more than fills the window");
    let mut steps = 0;
    while fs.reclaim_step().unwrap() {
        steps += 1;
        assert!(steps < 100, "there is no end to it");
    }
    let stats = fs.stats();
    assert!(steps > 0 && stats.removed_mappings > 0, "{stats:?}");
    if let Some(strict) = peer.if_strict() {
        assert!(strict.ledger().largest_removal > 1, "ranges are removed in batches");
    }
    let before = fs.stats();
    assert!(!fs.reclaim_step().unwrap(), "nothing more to do");
    assert_eq!(fs.stats().requests, before.requests);
    assert_same(&fs.read("file").unwrap(), &data, "afterwards");
    peer.finish(fs);
}

fn a_file_that_is_gone_leaves_the_window(peer: Peer) {
    let peer = peer.with_window(Some(8 << 20));
    peer.put("file", &content(7, 8 << 20));
    let fs = peer.mount();
    fs.read("file").unwrap();
    let window = peer.window().unwrap().clone();
    let live = || (0..4).filter(|range| window.readable(range << 21)).count();
    assert!(live() > 0);
    fs.remove_file("file").unwrap();
    assert_eq!(live(), 0, "its space on the host is free");
    peer.finish(fs);
}

#[test]
fn ranges_are_removed_in_batches_at_unmount() {
    let peer = Peer::new(Kind::Strict).with_window(Some(1 << 30));
    let file = std::fs::File::create(peer.path("file")).unwrap();
    file.set_len(700 << 20).unwrap();
    let fs = peer.mount();
    let file = fs.open("file", READ).unwrap();
    for at in (0..700 << 20).step_by(2 << 20) {
        file.read_exact_at(&mut [0; 1], at).unwrap();
    }
    drop(file);
    let before = peer.strict().ledger().count(op::REMOVEMAPPING);
    assert!(peer.strict().ledger().mappings.len() >= 350);
    fs.unmount().unwrap();
    let ledger = peer.strict().ledger();
    let (requests, largest) = (ledger.count(op::REMOVEMAPPING) - before, ledger.largest_removal);
    drop(ledger);
    assert!(requests <= 20 && (16..=256).contains(&largest), "{requests} requests, of {largest} at most");
    drop(fs);
    peer.end();
}

#[test]
fn sequential_reads_map_ahead() {
    let peer = Peer::new(Kind::Strict);
    let data = content(8, 32 << 20);
    peer.put("file", &data);
    for (read_ahead, most) in [(false, 16), (true, 16)] {
        let fs = peer.mount_with(peer.config().read_ahead(read_ahead)).unwrap();
        let file = fs.open("file", READ).unwrap();
        let before = peer.strict().ledger().count(op::SETUPMAPPING);
        let mut found = vec![0; 1 << 20];
        for at in (0..32).map(|index| index << 20) {
            file.read_exact_at(&mut found, at as u64).unwrap();
            assert_same(&found, &data[at..][..1 << 20], at);
        }
        let requests = peer.strict().ledger().count(op::SETUPMAPPING) - before;
        assert!(requests <= most, "{requests} set-ups for 16 ranges, mapping ahead: {read_ahead}");
        drop(file);
        fs.unmount().unwrap();
    }
    peer.end();
}
