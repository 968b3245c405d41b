//! Answers that come after their requests were given up: what was out of use is usable again, what was unknown is known.

use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;
use virtio_fs::{Config, Error, OpenOptions};

use crate::faults::{BOTH, retries};
use crate::rig::content::{assert_same, content};
use crate::rig::ledger::{Request, op};
use crate::rig::peer::{Kind, Peer};
use crate::rig::strict::Act;

const RANGE: usize = 2 << 20;

/// A device of which the test says when it answers, and a clock that goes on when it does not.
fn peer(window: usize) -> Peer {
    Peer::new(Kind::Strict).with_skipping_clock().with_window(Some(window as u64))
}

fn config(peer: &Peer) -> Config {
    peer.config().max_timeouts(u32::MAX).read_ahead(false)
}

/// Keeps the first `count` requests with this opcode.
fn keep(opcode: u32, mut count: usize) -> impl FnMut(&Request) -> Act + Send {
    move |request| {
        if request.opcode() == opcode && count > 0 {
            count -= 1;
            return Act::Hold;
        }
        Act::Serve
    }
}

/// Maps each of the window's ranges at once.
fn fill(file: &virtio_fs::File, ranges: usize) -> Result<(), Error> {
    let views: Result<Vec<_>, Error> = (0..ranges).map(|index| file.map((index * RANGE) as u64, RANGE)).collect();
    views.map(drop)
}

#[test]
fn ranges_of_a_removal_answered_late_are_usable_again() {
    const RANGES: usize = 8;
    let peer = peer(RANGES * RANGE);
    let data = content(1, 2 * RANGES * RANGE);
    peer.put("file", &data);
    let fs = peer.mount_with(config(&peer)).unwrap();
    let file = fs.open("file", BOTH).unwrap();
    fill(&file, RANGES).unwrap();
    peer.strict().watch(keep(op::REMOVEMAPPING, 1));
    // All that is mapped goes by one removal, which is not answered in time.
    file.set_len(0).unwrap();
    assert_eq!(peer.strict().held(), 1);
    file.set_len(data.len() as u64).unwrap();
    file.write_all_at(&data, 0).unwrap();
    assert!(file.map(0, 1).is_err(), "every range may lose its mapping at any time");
    peer.strict().release(0);
    fill(&file, RANGES).expect("every range is usable");
    let mut found = vec![0; data.len()];
    file.read_exact_at(&mut found, 0).unwrap();
    assert_same(&found, &data, "afterwards");
    drop(file);
    peer.finish(fs);
}

#[test]
fn the_range_of_a_set_up_answered_late_is_usable_again() {
    const RANGES: usize = 4;
    for refused in [false, true] {
        let peer = peer(RANGES * RANGE);
        let data = content(2, 2 * RANGES * RANGE);
        peer.put("file", &data);
        let fs = peer.mount_with(config(&peer)).unwrap();
        let file = fs.open("file", BOTH).unwrap();
        peer.strict().watch(keep(op::SETUPMAPPING, 1));
        let error = file.map(0, 1).unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
        assert!(fill(&file, RANGES).is_err(), "one range may get a mapping at any time");
        if refused {
            peer.strict().refuse(0, libc::ENOMEM);
        } else {
            peer.strict().release(0);
        }
        fill(&file, RANGES).expect("every range is usable");
        let mut found = vec![0; data.len()];
        file.read_exact_at(&mut found, 0).unwrap();
        assert_same(&found, &data, "afterwards");
        drop(file);
        peer.finish(fs);
    }
}

/// What cuts a file to nothing.
type Cut = fn(&virtio_fs::VirtioFs, &virtio_fs::File) -> Result<(), Error>;

#[test]
fn a_cut_that_is_given_up_keeps_its_bytes_frozen() {
    let by_size: Cut = |_, file| file.set_len(0);
    let by_open: Cut = |fs, _| fs.open("file", BOTH.truncate(true)).map(drop);
    for (opcode, cut) in [(op::SETATTR, by_size), (op::OPEN, by_open)] {
        let peer = peer(4 * RANGE);
        let data = content(3, RANGE);
        peer.put("file", &data);
        // The server cuts a file that is opened so.
        peer.strict().watch(|request| match request.opcode() {
            op::INIT => Act::Alter(Box::new(|answer| answer.bytes[16 + 12] |= 1 << 3)),
            _ => Act::Serve,
        });
        let fs = peer.mount_with(config(&peer).window_timeout(Duration::from_secs(1))).unwrap();
        let file = fs.open("file", BOTH).unwrap();
        drop(file.map(0, 4096).unwrap());
        peer.strict().watch(keep(opcode, 1));
        let error = cut(&fs, &file).unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
        // Whatever is mapped now is past the end at any moment.
        assert!(file.map(0, 4096).is_err(), "a view of bytes that are about to go");
        assert!(retries(&file, 0), "a page of bytes that are about to go");
        let mut found = [0; 4096];
        file.read_exact_at(&mut found, 0).expect("requests see the file as it is");
        assert_same(&found, &data[..4096], "before the cut");
        peer.strict().release(0);
        assert_eq!(file.read_at(&mut found, 0).unwrap(), 0, "the cut is known");
        assert_eq!(file.len().unwrap(), 0);
        file.write_all_at(&data, 0).unwrap();
        let view = file.map(0, RANGE).expect("nothing is frozen any more");
        let mut found = vec![0; RANGE];
        view.copy_to(0, &mut found);
        assert_same(&found, &data, "afterwards");
        drop(view);
        drop(file);
        peer.finish(fs);
    }
}

#[test]
fn a_cut_that_is_refused_late_thaws_its_bytes() {
    let peer = peer(4 * RANGE);
    let data = content(4, RANGE);
    peer.put("file", &data);
    let fs = peer.mount_with(config(&peer).window_timeout(Duration::from_secs(1))).unwrap();
    let file = fs.open("file", BOTH).unwrap();
    peer.strict().watch(keep(op::SETATTR, 1));
    file.set_len(0).unwrap_err();
    assert!(file.map(0, 4096).is_err());
    peer.strict().refuse(0, libc::EPERM);
    let view = file.map(0, RANGE).expect("nothing is frozen any more");
    let mut found = vec![0; RANGE];
    view.copy_to(0, &mut found);
    assert_same(&found, &data, "as it was");
    drop(view);
    drop(file);
    peer.finish(fs);
}

/// Something that changes names, and what they are after it.
type Names = (u32, fn(&virtio_fs::VirtioFs) -> Result<(), Error>, [(&'static str, bool); 3]);

#[test]
fn names_that_change_late_are_looked_up_again() {
    const UNLINK: u32 = 10;
    const RMDIR: u32 = 11;
    let changes: [Names; 4] = [
        (UNLINK, |fs| fs.remove_file("a"), [("a", false), ("b", false), ("folder", true)]),
        (op::RENAME, |fs| fs.rename("a", "b"), [("a", false), ("b", true), ("folder", true)]),
        (op::MKDIR, |fs| fs.create_dir("b", 0o755).map(drop), [("a", true), ("b", true), ("folder", true)]),
        (RMDIR, |fs| fs.remove_dir("folder"), [("a", true), ("b", false), ("folder", false)]),
    ];
    for (opcode, change, names) in changes {
        let peer = peer(4 * RANGE).with_options(|options| {
            // The server vouches for all names, and for those that there are not, for longer than anything here takes.
            let hour = Duration::from_secs(3600 * 24);
            (options.server.entry_timeout, options.server.attr_timeout) = (hour, hour);
        });
        peer.put("a", b"contents");
        std::fs::create_dir(peer.path("folder")).unwrap();
        let fs = peer.mount_with(config(&peer)).unwrap();
        peer.strict().watch(keep(opcode, 1));
        let error = change(&fs).unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{opcode}: {error:?}");
        // As they are now, and remembered.
        let there = |name: &str| fs.attr(name).is_ok();
        assert_eq!([there("a"), there("b"), there("folder")], [true, false, true], "{opcode}");
        peer.strict().release(0);
        fs.poll();
        for (name, expected) in names {
            assert_eq!(there(name), expected, "{opcode}: {name}");
            assert_eq!(peer.path(name).exists(), expected, "{opcode}: {name} on the host");
        }
        peer.finish(fs);
    }
}

#[test]
fn a_file_that_grows_late_is_seen_to_grow() {
    let peer = peer(4 * RANGE).with_options(|options| options.server.attr_timeout = Duration::from_secs(3600 * 24));
    peer.put("file", b"short");
    let fs = peer.mount_with(config(&peer)).unwrap();
    let file = fs.open("file", BOTH).unwrap();
    peer.strict().watch(keep(op::WRITE, 1));
    let error = file.write_at(b" and longer", 5).unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
    assert_eq!(file.attr().unwrap().size, 5);
    peer.strict().release(0);
    fs.poll();
    assert_eq!(file.attr().unwrap().size, 16);
    assert_eq!(fs.read("file").unwrap(), b"short and longer");
    drop(file);
    peer.finish(fs);
}

/// A step of a history.
#[derive(Clone, Copy, Debug)]
enum Step {
    Map(u8),
    Read(u8),
    Cut(u8),
    LookUp(u8),
    Open(u8),
    /// The device answers the one that it has kept longest, or last.
    Answer(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..6_u8).prop_map(Step::Map),
        (0..6_u8).prop_map(Step::Read),
        (0..6_u8).prop_map(Step::Cut),
        (0..4_u8).prop_map(Step::LookUp),
        (0..4_u8).prop_map(Step::Open),
        any::<bool>().prop_map(Step::Answer),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any requests are answered late, in any order: once they are, nothing is lost and nothing is owed.
    #[test]
    fn after_any_history_of_late_answers_nothing_is_lost(
        steps in prop::collection::vec(step(), 1..40),
        mut kept in prop::collection::vec(any::<bool>(), 400).prop_map(VecDeque::from),
    ) {
        const RANGES: usize = 4;
        let peer = peer(RANGES * RANGE);
        let data = content(5, 6 * RANGE);
        peer.put("file", &data);
        for index in 0..4 {
            peer.put(format!("small-{index}"), b"contents");
        }
        let config = config(&peer).window_timeout(Duration::from_secs(1)).max_inodes(1).max_entries(1);
        let fs = peer.mount_with(config).unwrap();
        let file = fs.open("file", BOTH).unwrap();
        peer.strict().watch(move |request| {
            let may_wait = matches!(
                request.opcode(),
                op::SETUPMAPPING | op::REMOVEMAPPING | op::SETATTR | op::LOOKUP | op::OPEN | op::CREATE
            );
            if may_wait && kept.pop_front() == Some(true) { Act::Hold } else { Act::Serve }
        });
        for step in steps {
            let at = |chunk: u8| u64::from(chunk) * RANGE as u64;
            match step {
                Step::Map(chunk) => drop(file.map(at(chunk), 4096)),
                Step::Read(chunk) => drop(file.read_at(&mut [0; 4096], at(chunk))),
                Step::Cut(chunk) => drop(file.set_len(at(chunk))),
                Step::LookUp(index) => drop(fs.attr(format!("small-{index}"))),
                Step::Open(index) => {
                    drop(fs.open(format!("small-{index}"), OpenOptions::new().read(true).write(true).truncate(true)));
                }
                Step::Answer(first) => {
                    let held = peer.strict().held();
                    if held > 0 {
                        peer.strict().release(if first { 0 } else { held - 1 });
                    }
                }
            }
        }
        peer.strict().behave();
        while peer.strict().held() > 0 {
            peer.strict().release(0);
            fs.poll();
        }
        file.set_len(data.len() as u64).unwrap();
        file.write_all_at(&data[..RANGE], 0).unwrap();
        prop_assert!(fill(&file, RANGES).is_ok(), "a range is lost: {:?}", fill(&file, RANGES));
        let view = file.map(0, RANGE).unwrap();
        let mut found = vec![0; RANGE];
        view.copy_to(0, &mut found);
        assert_same(&found, &data[..RANGE], "afterwards");
        drop(view);
        drop(file);
        // Look-ups and handles that are owed are found at the end.
        peer.finish(fs);
    }
}
