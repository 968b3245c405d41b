//! A master may die at any moment, with any of its cache lines written back or lost: whoever reads then sees the entries
//! before the append, or one more, each whole.

use famfs::layout::{Format, Uuid};
use famfs::{FormatOptions, Interleave, NewFile, NodeId, Placement, Role, check, format};

use crate::fixture::{MIB, OWNER, TestMount, client, file, formatted, master, options};
use crate::hosts::{Host, LINE, Medium};

const LEN: u64 = 64 * MIB;
const PHYS: u64 = 1 << 40;

/// The paths that a check of the memory finds; it may find fault with nothing but the counters.
fn paths(medium: &Medium) -> Vec<Vec<u8>> {
    let host = Host::on(medium.clone(), LEN, PHYS);
    let checked = check(&host, |superblock| [superblock.device_len], &mut |event| {
        if let famfs::Event::Flaw(finding) = event {
            assert_eq!((finding.place, finding.flaw.name()), (famfs::Place::Log, "next_seqnum"));
        }
    });
    let tree = checked.unwrap().tree;
    tree.nodes().filter(|(id, _)| *id > NodeId::LOG).map(|(_, node)| node.path.as_bytes().to_vec()).collect()
}

/// Tries every subset of lines at every moment of `append`, and what a new master makes of each.
fn every_crash(version: Format, before: &[&[u8]], append: impl Fn(&TestMount)) {
    let host = formatted(version, LEN);
    let mount = master(&host);
    for path in before {
        mount.mkdir(path, &OWNER).unwrap();
    }
    let old = paths(&host.medium());
    host.record();
    append(&mount);
    let moments = host.recorded();
    let new = paths(&host.medium());
    assert_eq!(new.len(), old.len() + 1);
    let mut crashes = 0;
    for moment in &moments {
        assert!(moment.pending.len() <= 10, "{} lines pending", moment.pending.len());
        for subset in 0..1 << moment.pending.len() {
            let medium = moment.crashed(subset);
            let seen = paths(&medium);
            assert!(seen == old || seen == new, "{seen:?}");
            crashes += 1;
            settles(&medium, &seen, &old, &new);
        }
    }
    // At the last moment before the write-back every line of the entry is pending.
    let lines = (version.entry_len() as u64).div_ceil(LINE);
    assert!(crashes >= 1 << lines, "{crashes} crashes");
}

/// A master that comes after a crash goes on, and nothing that was visible goes away.
fn settles(medium: &Medium, seen: &[Vec<u8>], old: &[Vec<u8>], new: &[Vec<u8>]) {
    let host = Host::on(medium.clone(), LEN, PHYS);
    let mount = master(&host);
    assert_eq!(mount.role(), Role::Master);
    let settled = paths(&host.medium());
    assert!(settled == seen || (seen == old && settled == new));
    mount.mkdir(b"after", &OWNER).unwrap();
    assert_eq!(paths(&host.medium()).len(), settled.len() + 1);
}

#[test]
#[cfg_attr(miri, ignore = "thousands of crashes")]
fn a_first_directory_shares_its_line_with_the_counters() {
    for version in [Format::V46, Format::V48] {
        every_crash(version, &[], |mount| {
            mount.mkdir(b"first", &OWNER).unwrap();
        });
    }
}

#[test]
#[cfg_attr(miri, ignore = "thousands of crashes")]
fn a_later_file_shares_its_lines_with_its_neighbour() {
    for version in [Format::V46, Format::V48] {
        every_crash(version, &[b"a", b"a/b"], |mount| {
            mount.create(b"a/b/file", &file(3 * MIB)).unwrap();
        });
    }
}

#[test]
#[cfg_attr(miri, ignore = "thousands of crashes")]
fn a_file_in_strips() {
    every_crash(Format::V48, &[b"a"], |mount| {
        let how = Interleave { strips: 4, chunk: 2 * MIB, buckets: 8, order: &[7, 6, 5, 4] };
        mount.create(b"a/strips", &NewFile { placement: Placement::Interleaved(how), ..file(9 * MIB) }).unwrap();
    });
}

#[test]
#[cfg_attr(miri, ignore = "thousands of crashes")]
fn an_entry_left_behind_by_a_crash_is_not_published_by_the_next() {
    let host = formatted(Format::V48, LEN);
    let mount = master(&host);
    host.record();
    mount.mkdir(b"lost", &OWNER).unwrap();
    // The entry is in the memory, the counters are not.
    let moment = host.recorded().into_iter().rev().find(|moment| paths(&moment.medium).is_empty()).unwrap();
    let host = Host::on(moment.medium, LEN, PHYS);
    let mount = master(&host);
    assert_eq!(mount.lookup(b"lost"), Err(famfs::Error::NotFound));
    mount.mkdir(b"next", &OWNER).unwrap();
    assert_eq!(paths(&host.medium()), [b"next".to_vec()]);
    let reader = client(&host.other());
    let id = reader.lookup(b"next").unwrap();
    assert!(reader.stat(id).unwrap().is_dir);
    assert!(matches!(reader.open_file(id), Err(famfs::Error::IsADirectory)));
}

/// Whenever the master dies while it makes the file system anew, readers find the old one whole, none, or the new one.
#[test]
#[cfg_attr(miri, ignore = "a log of 2 MiB")]
fn a_file_system_made_anew_is_there_whole_or_not_at_all() {
    let host = formatted(Format::V48, LEN);
    let mount = master(&host);
    mount.mkdir(b"old", &OWNER).unwrap();
    let old = mount.superblock().uuid;
    host.record();
    let new = FormatOptions { uuid: Uuid([9; 16]), force: true, ..options(Format::V48, LEN) };
    format(&host, &new).unwrap();
    let moments = host.recorded();
    let mut outcomes = [0; 3];
    for moment in &moments {
        let all = (1 << moment.pending.len().min(63)) - 1;
        for subset in [0, 1, all] {
            let reader = Host::on(moment.crashed(subset), LEN, PHYS);
            let checked = check(&reader, |superblock| [superblock.device_len], &mut |_| {});
            let Ok(checked) = checked else {
                outcomes[1] += 1;
                continue;
            };
            let has_old = checked.tree.lookup(b"old").is_some();
            assert_eq!(checked.superblock.uuid, if has_old { old } else { new.uuid });
            outcomes[if has_old { 0 } else { 2 }] += 1;
        }
    }
    assert!(outcomes.iter().all(|count| *count > 0), "{outcomes:?}");
}
