//! Clients that follow: nothing new costs a line, a torn tail is asked again, a file system made anew makes stale.

use std::cell::RefCell;

use famfs::layout::{Format, Uuid};
use famfs::{Error, Place, Role, format};
use fs_dax::{Errno, FileKey, FileRange, Mappings, UnmapCause, WindowMemory};

use crate::fixture::{LOG_LEN, MIB, OWNER, client, file, formatted, master, options};
use crate::hosts::LINE;

const LEN: u64 = 64 * MIB;
/// Where the log begins.
const LOG: u64 = 2 * MIB;

/// Page tables that remember what was taken out of them.
#[derive(Default)]
pub(crate) struct Pages(pub(crate) RefCell<Vec<(FileKey, UnmapCause)>>);

impl Mappings for Pages {
    fn unmap(&self, file: FileKey, range: FileRange, cause: UnmapCause) {
        assert_eq!(range, FileRange::ALL);
        self.0.borrow_mut().push((file, cause));
    }

    fn write_protect(&self, _: FileKey, _: FileRange) {}

    fn wait_for_pins(&self, _: FileKey, _: FileRange) -> Result<(), Errno> {
        Ok(())
    }
}

fn counters(host: &crate::hosts::Host, seqnum: u64, index: u64) {
    let mut medium = host.medium();
    medium.store(LOG + 32, &seqnum.to_le_bytes());
    medium.store(LOG + 40, &index.to_le_bytes());
}

#[test]
fn what_the_master_adds_a_client_sees_and_nothing_new_costs_one_line() {
    for version in [Format::V46, Format::V48] {
        let host = formatted(version, LEN);
        let mount = master(&host);
        let there = host.other();
        let follower = client(&there);
        assert_eq!(follower.role(), Role::Client);
        for round in 0..5 {
            let dir = format!("d{round}");
            mount.mkdir(dir.as_bytes(), &OWNER).unwrap();
            let id = mount.create(format!("{dir}/file").as_bytes(), &file(MIB)).unwrap();
            assert_eq!(follower.lookup(dir.as_bytes()), Err(Error::NotFound));
            let followed = follower.follow(u64::MAX, &()).unwrap();
            assert_eq!((followed.taken, followed.refused, followed.more, followed.torn), (2, 0, false, None));
            assert_eq!(follower.lookup(format!("{dir}/file").as_bytes()), Ok(id));
            there.fetched();
            for _ in 0..3 {
                assert_eq!(follower.follow(u64::MAX, &()), Ok(famfs::Followed::default()));
            }
            assert_eq!(there.fetched(), 3, "lines fetched by three follows");
        }
    }
}

#[test]
fn the_work_of_one_follow_is_limited() {
    let host = formatted(Format::V48, LEN);
    let mount = master(&host);
    let follower = client(&host.other());
    for n in 0..10 {
        mount.mkdir(format!("d{n}").as_bytes(), &OWNER).unwrap();
    }
    let taken: Vec<_> = (0..4).map(|_| follower.follow(4, &()).unwrap()).map(|f| (f.taken, f.more)).collect();
    assert_eq!(taken, [(4, true), (4, true), (2, false), (0, false)]);
    // A counter that runs wild is no more than a full log.
    counters(&host, u64::MAX, u64::MAX);
    let there = host.other();
    let late = client(&there);
    let followed = late.follow(u64::MAX, &()).unwrap();
    assert_eq!(followed.torn.unwrap().place, Place::Entry(10));
    there.fetched();
    late.follow(u64::MAX, &()).unwrap();
    assert!(there.fetched() < 20);
}

#[test]
fn a_torn_tail_is_asked_again() {
    let host = formatted(Format::V48, LEN);
    let mount = master(&host);
    mount.mkdir(b"a", &OWNER).unwrap();
    let follower = client(&host.other());
    mount.mkdir(b"b", &OWNER).unwrap();
    // The second half of the entry has not come yet.
    let (at, len) = (mount.superblock().entry_offset(1) + 272, 272);
    let half = host.medium().bytes(at, len);
    host.medium().store(at, &[0; 272]);
    for _ in 0..2 {
        let torn = follower.follow(u64::MAX, &()).unwrap().torn.unwrap();
        assert_eq!((torn.place, torn.flaw.name()), (Place::Entry(1), "crc"));
        assert_eq!(follower.lookup(b"b"), Err(Error::NotFound));
    }
    host.medium().store(at, &half);
    let followed = follower.follow(u64::MAX, &()).unwrap();
    assert_eq!((followed.taken, followed.torn), (1, None));
    assert!(follower.lookup(b"b").is_ok());
}

#[test]
fn a_wrong_entry_is_skipped_and_named_and_those_after_it_are_not() {
    use famfs::layout::{DirRecord, Path, Record};
    let host = formatted(Format::V48, LEN);
    let mount = master(&host);
    let follower = client(&host.other());
    let path = Path::new(b"missing/dir").unwrap().field();
    let bytes = Record::Mkdir(DirRecord { uid: 0, gid: 0, mode: 0o755, path }).encode(Format::V48, 0).unwrap();
    host.medium().store(mount.superblock().entry_offset(0), &bytes);
    let path = Path::new(b"after").unwrap().field();
    let bytes = Record::Mkdir(DirRecord { uid: 0, gid: 0, mode: 0o755, path }).encode(Format::V48, 1).unwrap();
    host.medium().store(mount.superblock().entry_offset(1), &bytes);
    counters(&host, 2, 2);
    let followed = follower.follow(u64::MAX, &()).unwrap();
    assert_eq!((followed.taken, followed.refused), (1, 1));
    let (count, last) = follower.refused();
    assert_eq!((count, last.unwrap().to_string().split(": ").next().unwrap()), (1, "entry 0:path_parent"));
    assert!(follower.lookup(b"after").is_ok());
}

#[test]
fn a_file_system_made_anew_makes_the_mount_stale_and_its_pages_go() {
    for (force_entries, kind) in [(0, "index falls"), (3, "superblock changes"), (2, "as many entries")] {
        let host = formatted(Format::V48, LEN);
        let mount = master(&host);
        mount.create(b"one", &file(MIB)).unwrap();
        mount.create(b"two", &file(MIB)).unwrap();
        let there = host.other();
        let follower = client(&there);
        let open = follower.open_file(follower.lookup(b"two").unwrap()).unwrap();
        let other = host.other();
        format(&other, &famfs::FormatOptions { uuid: Uuid([9; 16]), force: true, ..options(Format::V48, LEN) })
            .unwrap();
        let anew = master(&other);
        for n in 0..force_entries {
            anew.create(format!("new{n}").as_bytes(), &file(5 * MIB)).unwrap();
        }
        let pages = Pages::default();
        if kind == "as many entries" {
            // One line cannot show it; the superblock can.
            assert_eq!(follower.follow(u64::MAX, &pages), Ok(famfs::Followed::default()));
            assert_eq!(follower.verify(&pages), Err(Error::Stale));
        } else {
            assert_eq!(follower.follow(u64::MAX, &pages), Err(Error::Stale), "{kind}");
        }
        assert!(pages.0.borrow().contains(&(open.key(), UnmapCause::Failure)), "{kind}");
        assert_eq!(open.read_at(0, &mut [0; 8]), Err(Error::Stale));
        assert_eq!(Error::Stale.errno(), Errno::ESTALE);
        assert_eq!(follower.lookup(b"one"), Err(Error::Stale));
        assert_eq!(follower.follow(u64::MAX, &pages), Err(Error::Stale));
    }
}

#[test]
fn while_it_is_made_anew_the_mount_is_stale_and_a_damaged_header_alone_is_not() {
    let host = formatted(Format::V48, LEN);
    let follower = client(&host.other());
    let line = host.medium().bytes(LOG, LINE as usize);
    host.medium().store(LOG, &[0xff; 8]);
    let refused = follower.follow(u64::MAX, &()).unwrap_err();
    assert!(matches!(refused, Error::Refused(finding) if finding.flaw.name() == "magic"), "{refused}");
    host.medium().store(LOG, &line);
    assert_eq!(follower.follow(u64::MAX, &()), Ok(famfs::Followed::default()));
    host.medium().store(LOG, &[0; 64]);
    host.medium().store(0, &[0; 200]);
    assert_eq!(follower.follow(u64::MAX, &()), Err(Error::Stale));
}

#[test]
fn a_client_adds_nothing_and_a_second_master_is_found_before_it_publishes() {
    let host = formatted(Format::V48, LEN);
    let one = master(&host);
    let two_host = host.other();
    let two = master(&two_host);
    let client = client(&host.other());
    assert_eq!(client.mkdir(b"no", &OWNER), Err(Error::NotMaster));
    assert_eq!(Error::NotMaster.errno(), Errno::EPERM);
    one.mkdir(b"one", &OWNER).unwrap();
    let before = host.medium().clone();
    let refused = two.mkdir(b"two", &OWNER).unwrap_err();
    assert!(matches!(refused, Error::Append(famfs::AppendError::SecondWriter { found: 1, expected: 0 })), "{refused}");
    assert_eq!(*host.medium(), before);
    assert_eq!(two.role(), Role::FormerMaster);
    assert_eq!(two.mkdir(b"two", &OWNER), Err(Error::ReadOnly));
    // It goes on as a reader.
    assert_eq!(two.follow(u64::MAX, &()).unwrap().taken, 1);
    assert!(two.lookup(b"one").is_ok());
    one.mkdir(b"more", &OWNER).unwrap();
}

/// Another writer's entry is in the slot, or counted, or counted and just the same, when this one's would be counted.
#[test]
fn a_second_writer_in_the_middle_of_an_append_is_found() {
    for (name, published) in [("", 0), ("two", 1), ("one", 1)] {
        let host = formatted(Format::V48, LEN);
        let one = master(&host);
        let other = host.other();
        let two = master(&other);
        host.meanwhile(move || {
            if name.is_empty() {
                let at = two.superblock().entry_offset(0);
                other.medium().store(at + 64, b"the other's entry");
            } else {
                two.mkdir(name.as_bytes(), &OWNER).unwrap();
            }
        });
        let refused = one.mkdir(b"one", &OWNER).unwrap_err();
        assert!(matches!(refused, Error::Append(famfs::AppendError::SecondWriter { .. })), "{refused}");
        assert_eq!(one.role(), Role::FormerMaster);
        assert_eq!(host.medium().bytes(LOG + 40, 8), u64::to_le_bytes(published));
        assert_eq!(one.lookup(b"one"), Err(Error::NotFound));
    }
}

#[test]
fn an_index_that_falls_means_made_anew_whatever_the_superblock_says() {
    let host = formatted(Format::V48, LEN);
    let mount = master(&host);
    mount.mkdir(b"a", &OWNER).unwrap();
    mount.mkdir(b"b", &OWNER).unwrap();
    let follower = client(&host.other());
    counters(&host, 1, 1);
    assert_eq!(follower.follow(u64::MAX, &()), Err(Error::Stale));
}

#[test]
fn an_interrupted_append_is_published_if_its_entry_is_whole_and_taken_back_if_not() {
    for whole in [false, true] {
        let host = formatted(Format::V48, LEN);
        let mount = master(&host);
        mount.mkdir(b"a", &OWNER).unwrap();
        mount.mkdir(b"b", &OWNER).unwrap();
        counters(&host, 2, 1);
        if !whole {
            host.medium().store(mount.superblock().entry_offset(1) + 30, b"x");
        }
        let next = master(&host.other());
        assert_eq!(next.role(), Role::Master);
        assert_eq!(next.lookup(b"b").is_ok(), whole);
        let settled = u64::to_le_bytes(1 + u64::from(whole));
        assert_eq!(host.medium().bytes(LOG + 32, 16), [settled, settled].concat());
    }
}

#[test]
fn a_master_that_cannot_read_its_own_log_adds_nothing() {
    let host = formatted(Format::V48, LEN);
    let mount = master(&host);
    for name in ["a", "b", "c"] {
        mount.mkdir(name.as_bytes(), &OWNER).unwrap();
    }
    host.medium().store(mount.superblock().entry_offset(1) + 100, b"damage");
    let again = master(&host.other());
    assert_eq!(again.role(), Role::FormerMaster);
    assert_eq!(again.mkdir(b"d", &OWNER), Err(Error::ReadOnly));
    assert!(again.lookup(b"a").is_ok() && again.lookup(b"b").is_err());
    // Counters that no append leaves behind are not settled.
    let host = formatted(Format::V48, LEN);
    counters(&host, 7, 2);
    let before = host.medium().clone();
    assert_eq!(master(&host.other()).role(), Role::FormerMaster);
    assert_eq!(*host.medium(), before);
}

#[test]
fn a_full_log_refuses_and_stays_as_it_is() {
    let host = formatted(Format::V48, LEN);
    let mount = master(&host);
    let slots = (LOG_LEN - 48) / 544;
    for n in 0..slots {
        mount.mkdir(format!("{n}").as_bytes(), &OWNER).unwrap();
    }
    let before = host.medium().clone();
    let refused = mount.mkdir(b"one too many", &OWNER).unwrap_err();
    assert_eq!(refused.errno(), Errno::ENOSPC);
    assert_eq!(*host.medium(), before);
    assert_eq!(mount.role(), Role::Master);
    assert_eq!(mount.stat_fs().unwrap().free_entries, 0);
    let there = host.other();
    assert_eq!(client(&there).stat_fs().unwrap().entries, slots);
    assert_eq!(WindowMemory::len(&there), LEN);
}
