//! Damage has a place: what touches a page that is marked is EIO, its neighbours go on, and what overwrites or gives back the
//! whole page clears it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use fs_dax::{Errno, FileRange, UnmapCause, Wanted};
use fuse_proto::FallocateMode;
use virtio_fs::{Error, File, HostRules, OpenOptions};

use crate::asynchronous::run;
use crate::faults::{BOTH, base, load, store, tables};
use crate::rig::content::{assert_same, content};
use crate::rig::ledger::op;
use crate::rig::peer::{Kind, Peer, on_both};
use crate::rig::strict::Act;

on_both! {
    a_damaged_page_is_an_error_and_its_neighbours_are_not,
    whole_pages_make_it_whole,
    a_cut_and_a_punch_give_damage_back,
    a_large_page_goes_around_damage,
    an_address_leads_to_its_page,
    damage_outlives_the_inode_cache,
}

const PAGE: u64 = 4096;
const RANGE: u64 = 2 << 20;

type OneFile = File<spin::Mutex<()>>;

fn pages(from: u64, to: u64) -> FileRange {
    FileRange::between(from * PAGE, to * PAGE)
}

#[track_caller]
fn is_eio<T>(result: Result<T, Error>) {
    assert_eq!(result.err().map(|error| error.errno()), Some(fuse_proto::Errno::EIO));
}

fn punch(file: &OneFile, bytes: FileRange) -> Result<(), Error> {
    file.allocate(FallocateMode::PUNCH_HOLE | FallocateMode::KEEP_SIZE, bytes.start(), bytes.len())
}

// Long: each way of reaching bytes in turn, before and behind the page.
fn a_damaged_page_is_an_error_and_its_neighbours_are_not(peer: Peer) {
    let data = content(1, 3 * RANGE as usize + 100);
    let size = data.len() as u64;
    peer.put("file", &data);
    let fs = peer.mount();
    let tables = tables(&fs);
    let (file, other) = (fs.open("file", BOTH).unwrap(), fs.open("file", BOTH).unwrap());
    for page in 0..4 {
        tables.touch(&file, page * PAGE, true, Wanted::Base).unwrap();
    }
    file.mark_damaged(FileRange::between(PAGE + 5, PAGE + 6));
    assert_eq!(other.damaged(), [pages(1, 2)], "of the file, whoever has it open");
    assert_eq!(tables.unmapped.load(Ordering::Relaxed), 4, "what the host has in its place is mapped anew");
    assert!(tables.causes.lock().unwrap().contains(&UnmapCause::Failure));
    for (offset, write) in [(PAGE, false), (PAGE + 4095, true)] {
        assert_eq!(tables.touch(&file, offset, write, Wanted::Base), Err(Errno::EIO));
    }
    for offset in [0, 2 * PAGE, RANGE] {
        for write in [false, true] {
            tables.touch(&file, offset, write, Wanted::Base).expect("a page that is whole");
        }
    }
    let mut found = vec![0; 3 * PAGE as usize];
    assert_eq!(file.read_at(&mut found, 0).unwrap(), PAGE as usize, "what comes before it");
    assert_same(&found[..PAGE as usize], &data[..PAGE as usize], "before it");
    is_eio(file.read_at(&mut found, PAGE));
    is_eio(file.read_at(&mut found, 2 * PAGE - 1));
    is_eio(file.read_exact_at(&mut found, 0));
    file.read_exact_at(&mut found, 2 * PAGE).unwrap();
    assert_same(&found, &data[2 * PAGE as usize..][..3 * PAGE as usize], "behind it");
    assert_eq!(run(&fs, file.read_async(&mut found, 100)).unwrap(), PAGE as usize - 100);
    is_eio(run(&fs, file.read_async(&mut found, PAGE + 7)));
    is_eio(fs.read("file"));
    assert_eq!(file.map(0, 2 * PAGE as usize).unwrap().len(), PAGE as usize);
    is_eio(file.map(PAGE, 1));
    is_eio(file.map_mut(PAGE + 1, 1));
    is_eio(file.pin(PAGE, 1));
    file.map_mut(2 * PAGE, PAGE as usize).unwrap();
    // A part of the page makes nothing of it whole.
    is_eio(file.write_at(b"x", PAGE + 5));
    is_eio(file.write_at(&[0; 100], PAGE));
    is_eio(file.write_at(&[0; PAGE as usize], PAGE + 1));
    is_eio(run(&fs, file.write_async(b"x", PAGE)));
    let zeros = [0; PAGE as usize + 100];
    assert_eq!(file.write_at(&zeros, 0).unwrap(), PAGE as usize, "as far as to the page");
    assert_eq!(run(&fs, file.write_async(&zeros, 0)).unwrap(), PAGE as usize);
    is_eio(file.copy_range(PAGE, &other, RANGE, 10));
    is_eio(file.copy_range(0, &other, PAGE, 10));
    is_eio(file.allocate(FallocateMode::COLLAPSE_RANGE, 0, PAGE));
    assert_eq!(other.damaged(), [pages(1, 2)]);
    let mut wanted = data;
    wanted[..PAGE as usize].fill(0);
    assert_same(&peer.get("file"), &wanted, "nothing else has happened");
    // The end of the file is where it was.
    assert_eq!(file.read_at(&mut found, size).unwrap(), 0);
    for file in [&file, &other] {
        is_eio(file.sync_all());
        file.sync_all().expect("once for each");
    }
    drop((file, other));
    fs.set_mappings(None);
    peer.finish(fs);
}

fn whole_pages_make_it_whole(peer: Peer) {
    let mut data = content(2, RANGE as usize + 100);
    let size = data.len() as u64;
    peer.put("file", &data);
    let fs = peer.mount();
    let tables = tables(&fs);
    let memory = peer.window().unwrap().clone();
    let file = fs.open("file", BOTH).unwrap();
    let new = content(3, 2 * PAGE as usize + 200);
    let mut overwrite = |at: u64, len: u64, by_future: bool| {
        let bytes = &new[..len as usize];
        let write = || if by_future { run(&fs, file.write_async(bytes, at)) } else { file.write_at(bytes, at) };
        let count = write().unwrap();
        assert_eq!(count, bytes.len());
        data[at as usize..][..count].copy_from_slice(bytes);
    };
    for by_future in [false, true] {
        file.mark_damaged(pages(1, 2));
        file.mark_damaged(pages(4, 6));
        overwrite(PAGE, PAGE, by_future);
        assert_eq!(file.damaged(), [pages(4, 6)]);
        // With some of the pages around it.
        overwrite(4 * PAGE - 100, PAGE + 200 - 100, by_future);
        assert_eq!(file.damaged(), [pages(5, 6)], "the second page is a part");
        overwrite(5 * PAGE - 100, PAGE + 200, by_future);
        assert!(file.damaged().is_empty());
        // Up to the end of the file there is no more of the last page.
        file.mark_damaged(FileRange::between(size - 1, size));
        overwrite(RANGE, 100, by_future);
        assert!(file.damaged().is_empty());
    }
    let bypass = fs.stats().bypass.damaged;
    assert!(bypass >= 6, "{bypass}: through the window they would meet the damage");
    let page = tables.touch(&file, PAGE, true, Wanted::Base).unwrap();
    assert_same(&load(&memory, &page, PAGE, PAGE as usize), &data[PAGE as usize..][..PAGE as usize], "mapped again");
    store(&memory, &page, PAGE, b"and stored to");
    data[PAGE as usize..][..13].copy_from_slice(b"and stored to");
    assert_same(&fs.read("file").unwrap(), &data, "read");
    assert_same(&peer.get("file"), &data, "on the host");
    drop(file);
    fs.set_mappings(None);
    peer.finish(fs);
}

fn a_cut_and_a_punch_give_damage_back(peer: Peer) {
    let path = peer.put("file", &content(4, RANGE as usize));
    let fs = peer.mount();
    let file = fs.open("file", BOTH).unwrap();
    file.mark_damaged(pages(2, 3));
    file.mark_damaged(pages(6, 9));
    match punch(&file, pages(1, 7)) {
        Ok(()) => assert_eq!(file.damaged(), [pages(7, 9)]),
        // Not every server can.
        Err(error) => assert_eq!(error.errno(), fuse_proto::Errno::EOPNOTSUPP),
    }
    file.set_len(8 * PAGE).unwrap();
    let last = |file: &OneFile| file.damaged().last().map(|run| run.end());
    assert_eq!(last(&file), Some(8 * PAGE));
    file.set_len(7 * PAGE + 1).unwrap();
    assert_eq!(last(&file), Some(8 * PAGE), "a part of the page is left");
    std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(7 * PAGE).unwrap();
    file.node().refresh_attr().unwrap();
    assert!(last(&file).is_none_or(|end| end <= 7 * PAGE), "the host has cut it off: {:?}", file.damaged());
    drop(fs.open("file", BOTH.truncate(true)).unwrap());
    assert!(file.damaged().is_empty());
    drop(file);
    peer.finish(fs);
}

fn a_large_page_goes_around_damage(peer: Peer) {
    peer.put("file", &content(5, 2 * RANGE as usize));
    let fs = peer.mount();
    let tables = tables(&fs);
    let file = fs.open("file", BOTH).unwrap();
    file.mark_damaged(pages(100, 101));
    let page = tables.touch(&file, 0, true, Wanted::Largest).unwrap();
    assert_eq!(page.len, PAGE, "no page shows the damaged one");
    assert!(tables.walk(base(&file) + 100 * PAGE, false).is_none());
    assert_eq!(tables.touch(&file, 100 * PAGE, false, Wanted::Largest), Err(Errno::EIO));
    tables.touch(&file, 101 * PAGE, true, Wanted::Largest).unwrap();
    assert_eq!(tables.touch(&file, RANGE, true, Wanted::Largest).unwrap().len, RANGE, "the next one is whole");
    file.write_all_at(&[1; PAGE as usize], 100 * PAGE).unwrap();
    assert_eq!(tables.touch(&file, 100 * PAGE, true, Wanted::Largest).unwrap().len, RANGE);
    drop(file);
    fs.set_mappings(None);
    peer.finish(fs);
}

fn an_address_leads_to_its_page(peer: Peer) {
    for name in ["file", "other"] {
        peer.put(name, &content(6, 2 * RANGE as usize));
    }
    let fs = peer.mount();
    let tables = tables(&fs);
    let [file, other] = ["file", "other"].map(|name| fs.open(name, BOTH).unwrap());
    tables.touch(&other, 0, true, Wanted::Base).unwrap();
    tables.touch(&file, 0, true, Wanted::Base).unwrap();
    let page = tables.touch(&file, RANGE + 7 * PAGE, true, Wanted::Base).unwrap();
    let hit = fs.mark_memory_damaged(page.phys.0 + 64, 8);
    let [(node, bytes)] = hit.as_slice() else { panic!("{} files", hit.len()) };
    assert_eq!((node.key(), bytes.start(), bytes.len()), (file.key(), RANGE + 7 * PAGE + 64, 8));
    assert_eq!(file.damaged(), [FileRange::between(RANGE + 7 * PAGE, RANGE + 8 * PAGE)]);
    assert!(other.damaged().is_empty());
    assert_eq!(tables.touch(&file, RANGE + 7 * PAGE, false, Wanted::Base), Err(Errno::EIO));
    tables.touch(&file, RANGE + 8 * PAGE, false, Wanted::Base).unwrap();
    tables.touch(&other, 0, true, Wanted::Base).unwrap();
    // All of the window, and memory that is none of it.
    let region = fs.window_region().unwrap();
    assert!(fs.mark_memory_damaged(region.end(), 4096).is_empty());
    assert!(fs.mark_memory_damaged(0, 4096).is_empty());
    drop(hit);
    let hit = fs.mark_memory_damaged(0, u64::MAX);
    assert!(hit.iter().any(|(node, _)| node.key() == other.key()), "whatever is mapped");
    assert_eq!(other.damaged().len(), 1);
    drop((hit, file, other));
    fs.set_mappings(None);
    peer.finish(fs);
}

fn damage_outlives_the_inode_cache(peer: Peer) {
    for index in 0..20 {
        peer.put(format!("file-{index}"), &content(7, 2 * PAGE as usize));
    }
    let fs = peer.mount_with(peer.config().max_inodes(1).max_entries(1)).unwrap();
    fs.lookup("file-0").unwrap().mark_damaged(pages(1, 2));
    for index in 1..20 {
        fs.read(format!("file-{index}")).unwrap();
    }
    is_eio(fs.read("file-0"));
    fs.open("file-0", BOTH).unwrap().write_all_at(&[1; PAGE as usize], PAGE).unwrap();
    fs.read("file-0").unwrap();
    peer.finish(fs);
}

/// A page that is marked between the fault and its installation, or its FSYNC, is not installed.
#[test]
fn what_is_marked_meanwhile_is_not_installed() {
    let peer = Peer::new(Kind::Strict);
    peer.put("file", &content(8, RANGE as usize));
    let fs = peer.mount();
    let tables = tables(&fs);
    let file = fs.open("file", BOTH).unwrap();
    // Nobody's: an FSYNC that failed has what is there stored again, but not to the damaged page.
    for page in [3, 4] {
        tables.touch(&file, page * PAGE, true, Wanted::Base).unwrap();
    }
    let mut failures = 1;
    peer.strict().watch(move |request| {
        let fails = request.opcode() == op::FSYNC && std::mem::take(&mut failures) == 1;
        if fails { Act::Refuse(libc::EIO) } else { Act::Serve }
    });
    let watch = file.watch();
    is_eio(file.sync_all());
    file.mark_damaged(pages(3, 4));
    assert!(!file.unchanged_since(watch), "a fault under way starts again");
    is_eio(file.sync_all());
    assert_eq!(fs.stats().touched_pages, 1 + 511, "a page, and all of its range, but for the damaged one");
    drop(file);
    fs.set_mappings(None);
    peer.finish(fs);
}

/// A view keeps a damaged page where it is for who has it, and nothing else waits for it.
#[test]
fn a_view_of_a_damaged_page_hinders_nobody() {
    let peer = Peer::new(Kind::Strict).with_skipping_clock();
    let data = content(9, RANGE as usize);
    peer.put("file", &data);
    let config = peer.config().host(HostRules::STRICT).window_timeout(Duration::from_secs(1));
    let fs = peer.mount_with(config).unwrap();
    let (reader, file) = (fs.open("file", OpenOptions::new().read(true)).unwrap(), fs.open("file", BOTH).unwrap());
    let view = reader.map(PAGE, PAGE as usize).unwrap();
    file.mark_damaged(pages(1, 2));
    assert_eq!(view.len(), PAGE as usize);
    is_eio(reader.map(PAGE, 1));
    file.write_all_at(b"a neighbour", 0).unwrap();
    file.write_all_at(&[7; PAGE as usize], PAGE).unwrap();
    assert!(file.damaged().is_empty());
    assert_eq!(fs.read("file").unwrap()[PAGE as usize..][..PAGE as usize], [7; PAGE as usize]);
    drop(view);
    drop((reader, file));
    peer.finish(fs);
}

/// Damage without end is a file that has failed.
#[test]
fn a_file_with_too_many_damaged_runs_has_failed() {
    let peer = Peer::new(Kind::Strict);
    peer.put("file", &content(10, RANGE as usize));
    let fs = peer.mount();
    let file = fs.open("file", BOTH).unwrap();
    for run in 0..64 {
        file.mark_damaged(pages(2 * run, 2 * run + 1));
    }
    file.read_exact_at(&mut [0; 10], PAGE).expect("there is a place for each");
    file.mark_damaged(pages(200, 201));
    is_eio(file.read_at(&mut [0; 10], PAGE));
    drop(file);
    peer.finish(fs);
}
