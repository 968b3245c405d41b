//! Damaged pages: EIO for what touches one, and for nothing else, until the whole page is written.

use std::cell::RefCell;

use famfs::layout::Format;
use famfs::{File, Interleave, NewFile, Placement};
use fs_dax::{
    Area, DeviceIndex, Errno, Fault, FaultAccess, FaultOutcome, FileKey, FileRange, Mappings, PageSize, PageSizes,
    Sharing, SyncMode, UnmapCause, VirtAddr, Wanted,
};

use crate::fixture::{Lock, MIB, OWNER, TestMount, file, formatted, master};
use crate::hosts::Host;

const LEN: u64 = 64 * MIB;
const PAGE: u64 = 4096;
const DEVICE: DeviceIndex = DeviceIndex(0);

/// Page tables that remember which bytes were taken out of them.
#[derive(Default)]
struct Unmapped(RefCell<Vec<(FileKey, FileRange)>>);

impl Mappings for Unmapped {
    fn unmap(&self, file: FileKey, range: FileRange, cause: UnmapCause) {
        assert_eq!(cause, UnmapCause::Failure);
        self.0.borrow_mut().push((file, range));
    }

    fn write_protect(&self, _: FileKey, _: FileRange) {}

    fn wait_for_pins(&self, _: FileKey, _: FileRange) -> Result<(), Errno> {
        Ok(())
    }
}

fn made(mount: &TestMount, path: &[u8], new: &NewFile<'_>) -> File<Host, Lock> {
    mount.open_file(mount.create(path, new).unwrap()).unwrap()
}

/// Damages the page in which a file's byte lies; returns how many files have some of it.
fn damage(mount: &TestMount, file: &File<Host, Lock>, offset: u64, pages: &Unmapped) -> usize {
    let place = file.resolve(offset, 1).unwrap();
    mount.notify_damage(place.device, place.offset.0, 1, pages)
}

/// The size of the page that a load finds, and where it starts in the file; or the bus error.
fn load(file: &File<Host, Lock>, at: u64) -> Result<(u64, PageSize), Errno> {
    let len = file.size().next_multiple_of(PAGE);
    let fault = Fault {
        area: Area::new(VirtAddr(0x7f00_0000_0000), len, 0).unwrap(),
        at: VirtAddr(0x7f00_0000_0000 + at),
        access: FaultAccess::Read,
        sharing: Sharing::Shared,
        sync: SyncMode::None,
        wanted: Wanted::Largest,
    };
    match file.fault(&fault, true, PageSizes::SMALL_4K) {
        FaultOutcome::Map(mapping) => {
            let place = file.resolve(mapping.page.file_offset, 1).unwrap();
            assert_eq!(mapping.page.phys.0, 0x10_0000_0000 + place.offset.0);
            Ok((mapping.page.file_offset, mapping.page.size))
        }
        FaultOutcome::BusError(errno) => Err(errno),
        outcome => panic!("{outcome:?}"),
    }
}

#[test]
fn a_damaged_page_is_an_error_and_nothing_else_is() {
    let host = formatted(Format::V48, LEN);
    let mount = master(&host);
    let before = made(&mount, b"before", &file(2 * MIB));
    let hit = made(&mount, b"hit", &file(4 * MIB));
    let after = made(&mount, b"after", &file(2 * MIB));
    let bad = 2 * MIB + 5 * PAGE;
    let pages = Unmapped::default();
    assert_eq!(mount.notify_damage(DEVICE, hit.resolve(bad, 1).unwrap().offset.0, 0, &pages), 0);
    assert_eq!(damage(&mount, &hit, bad + 77, &pages), 1);
    assert_eq!(*pages.0.borrow(), [(hit.key(), FileRange::new(bad, PAGE).unwrap())]);

    // Whatever touches it is refused, or ends before it.
    let mut found = [0; 3 * PAGE as usize];
    let errno = |result: Result<usize, famfs::Error>| result.unwrap_err().errno();
    assert_eq!(hit.read_at(bad - PAGE, &mut found), Ok(PAGE as usize));
    assert_eq!(errno(hit.read_at(bad, &mut found)), Errno::EIO);
    assert_eq!(errno(hit.read_at(bad + PAGE - 1, &mut found)), Errno::EIO);
    assert_eq!(hit.read_at(bad + PAGE, &mut found), Ok(found.len()));
    assert_eq!(hit.resolve(bad - 10, 20).unwrap().len, 10);
    assert_eq!(hit.resolve(bad, 1).unwrap_err().errno(), Errno::EIO);
    assert_eq!(load(&hit, bad), Err(Errno::EIO));
    assert_eq!(load(&hit, bad + PAGE - 1), Err(Errno::EIO));
    // No large page shows it, and small ones show all the others.
    assert_eq!(load(&hit, bad - 1), Ok((bad - PAGE, PageSize::Base)));
    assert_eq!(load(&hit, bad + PAGE), Ok((bad + PAGE, PageSize::Base)));
    assert_eq!(load(&hit, 4 * MIB - 1), Ok((4 * MIB - PAGE, PageSize::Base)));
    assert_eq!(load(&hit, 0), Ok((0, PageSize::Huge)));
    for whole in [&before, &after] {
        assert_eq!(whole.read_at(0, &mut found), Ok(found.len()));
        assert_eq!(load(whole, 0), Ok((0, PageSize::Huge)));
    }

    // A part of it cannot be written; the whole of it can, and is whole again.
    assert_eq!(hit.write_at(bad - 10, &[1; 100]), Ok(10));
    assert_eq!(errno(hit.write_at(bad, &[1; PAGE as usize - 1])), Errno::EIO);
    assert_eq!(errno(hit.write_at(bad + 1, &[1; PAGE as usize])), Errno::EIO);
    assert_eq!(load(&hit, bad), Err(Errno::EIO));
    assert_eq!(hit.write_at(bad - 10, &[2; PAGE as usize + 20]), Ok(PAGE as usize + 20));
    assert_eq!(hit.read_at(bad, &mut found[..PAGE as usize]), Ok(PAGE as usize));
    assert_eq!(found[..PAGE as usize], [2; PAGE as usize]);
    assert_eq!(load(&hit, bad), Ok((2 * MIB, PageSize::Huge)));
    assert!(mount.mkdir(b"dir", &OWNER).is_ok() && mount.follow(1, &pages).is_ok());
}

#[test]
fn the_last_page_is_whole_again_when_it_is_written_to_the_end() {
    let host = formatted(Format::V48, LEN);
    let mount = master(&host);
    let short = made(&mount, b"short", &file(5000));
    assert_eq!(damage(&mount, &short, 4999, &Unmapped::default()), 1);
    assert_eq!(load(&short, 4096), Err(Errno::EIO));
    assert_eq!(short.write_at(4096, &[1; 903]).unwrap_err().errno(), Errno::EIO);
    assert_eq!(short.write_at(0, &[1; 4500]), Ok(4096));
    assert_eq!(short.write_at(0, &[1; 6000]), Ok(5000));
    assert_eq!(short.read_at(4096, &mut [0; 1000]), Ok(904));
    assert_eq!(load(&short, 4096), Ok((4096, PageSize::Base)));
}

#[test]
fn strips_are_damaged_where_their_chunks_are() {
    let host = formatted(Format::V48, LEN);
    let mount = master(&host);
    let how = Interleave { strips: 2, chunk: 2 * MIB, buckets: 4, order: &[1, 2] };
    let striped = made(&mount, b"striped", &NewFile { placement: Placement::Interleaved(how), ..file(8 * MIB) });
    let pages = Unmapped::default();
    // In the second strip's second chunk.
    let bad = 6 * MIB + 3 * PAGE;
    let place = striped.resolve(bad, 1).unwrap();
    // Together with the strip's chunk before, which is elsewhere in the file.
    let start = striped.resolve(4 * MIB - PAGE, 1).unwrap();
    assert_eq!(place.offset.0 - start.offset.0, 4 * PAGE);
    assert_eq!(mount.notify_damage(DEVICE, start.offset.0, 5 * PAGE, &pages), 1);
    let ranges: Vec<FileRange> = pages.0.borrow().iter().map(|(_, range)| *range).collect();
    assert_eq!(ranges, [FileRange::between(4 * MIB - PAGE, 4 * MIB), FileRange::between(6 * MIB, bad + PAGE)]);
    assert_eq!(striped.read_at(4 * MIB, &mut [0; 100]), Ok(100));
    assert_eq!(load(&striped, bad), Err(Errno::EIO));
    assert_eq!(load(&striped, bad + PAGE), Ok((bad + PAGE, PageSize::Base)));
}

#[test]
fn damaged_metadata_and_too_much_damage_are_failures() {
    let host = formatted(Format::V48, LEN);
    let mount = master(&host);
    let (many, other) = (made(&mount, b"many", &file(2 * MIB)), made(&mount, b"other", &file(2 * MIB)));
    let pages = Unmapped::default();
    for run in 0..64 {
        assert_eq!(damage(&mount, &many, run * 2 * PAGE, &pages), 1);
    }
    assert_eq!(many.read_at(PAGE, &mut [0; 2 * PAGE as usize]), Ok(PAGE as usize));
    assert_eq!(damage(&mount, &many, 200 * PAGE, &pages), 1);
    assert_eq!(pages.0.borrow().last(), Some(&(many.key(), FileRange::ALL)), "no place for one more");
    assert_eq!(many.read_at(PAGE, &mut [0; 1]).unwrap_err().errno(), Errno::EIO);
    assert_eq!(other.read_at(0, &mut [0; 1]), Ok(1));
    // The log: nothing is added or followed any more.
    let mount = master(&host.other());
    let other = mount.open_file(mount.lookup(b"other").unwrap()).unwrap();
    assert!(mount.mkdir(b"dir", &OWNER).is_ok());
    assert_eq!(mount.notify_damage(DEVICE, mount.superblock().log_offset, 1, &pages), 1, "the file that shows it");
    assert_eq!(mount.mkdir(b"another", &OWNER).unwrap_err().errno(), Errno::EIO);
    assert_eq!(mount.follow(1, &pages).unwrap_err().errno(), Errno::EIO);
    assert_eq!(other.read_at(0, &mut [0; 1]), Ok(1));
}
