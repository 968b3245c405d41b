//! A file system that is content with a part of the window, and what the embedder does with the rest.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use fs_dax::{AccessFlags, DeviceOffset, DirectAccess, MemoryDevice, OwnerId};
use virtio_fs::{Credentials, DaxStatus, Error, OpenOptions, PartClaim, WindowPart};
use virtio_shm::{ShmError, ShmId, ShmRegion};

use crate::faults::BOTH;
use crate::rig::content::{assert_same, content};
use crate::rig::peer::{Kind, Peer, on_both};
use crate::rig::window::Window;

on_both! {
    a_part_is_a_window_of_its_own,
    the_rest_is_the_embedders,
    a_part_has_one_owner,
    a_writable_mapping_in_a_part_takes_set_id_bits,
}

const MIB: u64 = 1 << 20;
/// Of the 64 MiB of a window, the driver has the last 16.
const DRIVERS: (u64, u64) = (48 * MIB, 16 * MIB);

fn owner(number: usize) -> OwnerId {
    OwnerId::new(number).expect("not 0")
}

fn whole(window: &Window) -> ShmRegion {
    ShmRegion::new(ShmId::FS_DAX_WINDOW, window.address, window.len).expect("a window")
}

/// What a processor loads from a device.
fn load(window: &Window, device: &impl MemoryDevice, offset: i64, len: usize) -> Vec<u8> {
    let request = DirectAccess { offset, size: len as i64, flags: AccessFlags::empty() };
    let range = device.direct_access(&request).expect("memory");
    assert_eq!(range.len, len as u64);
    // SAFETY: the test has these bytes mapped, and nobody takes them away meanwhile.
    unsafe { std::slice::from_raw_parts(window.pointer_to(range.phys.0).as_ptr(), len) }.to_vec()
}

fn errno<T>(result: Result<T, Error>) -> i32 {
    result.err().map_or(0, |error| error.errno().number())
}

fn a_part_is_a_window_of_its_own(peer: Peer) {
    let data = content(1, 40 << 20);
    peer.put("file", &data);
    let part = WindowPart::new(DRIVERS.0, DRIVERS.1);
    let fs = peer.mount_with(peer.config().window_part(Some(part.clone()))).unwrap();
    assert_eq!(fs.dax_status(), DaxStatus::Active);
    let window = peer.window().unwrap().clone();
    assert_eq!(fs.window_region(), Some(whole(&window).part(DRIVERS.0, DRIVERS.1).unwrap()));
    assert!(part.holder().is_some());
    let file = fs.open("file", BOTH).unwrap();
    let mut found = vec![0; data.len()];
    for _ in 0..2 {
        file.read_exact_at(&mut found, 0).unwrap();
        assert_same(&found, &data, "more than the part holds");
    }
    let view = file.map(5 << 20, 4096).unwrap();
    let phys = view.phys_addr();
    assert!((window.address + DRIVERS.0..window.address + DRIVERS.0 + DRIVERS.1).contains(&phys), "{phys:#x}");
    drop(view);
    let stats = fs.stats();
    assert!(stats.removed_mappings > 8, "the part holds 8 ranges, and {} were reclaimed", stats.removed_mappings);
    assert_eq!(stats.request_read_bytes, 0, "everything fits through the part");
    if let Some(strict) = peer.if_strict() {
        let ledger = strict.ledger();
        assert!(!ledger.mappings.is_empty());
        let outside = ledger.mappings.keys().find(|&&at| at < DRIVERS.0);
        assert_eq!(outside, None, "a mapping in front of the driver's part");
    }
    for offset in (0..DRIVERS.0).step_by(2 << 20) {
        assert!(!window.readable(offset), "something is mapped at {offset:#x}");
    }
    drop(file);
    peer.finish(fs);
    assert_eq!(part.holder(), None);
}

fn the_rest_is_the_embedders(peer: Peer) {
    let image = content(2, 6 << 20);
    let data = content(3, 40 << 20);
    let image_path = peer.put("image", &image);
    peer.put("file", &data);
    let drivers = WindowPart::new(DRIVERS.0, DRIVERS.1);
    let fs = peer.mount_with(peer.config().window_part(Some(drivers))).unwrap();
    let window = peer.window().unwrap().clone();
    let rest = WindowPart::new(4 * MIB, 8 * MIB);
    let claim = rest.claim(owner(7)).unwrap();
    let device = claim.device(&whole(&window)).unwrap();
    let file = fs.open("image", BOTH).unwrap();
    // Bytes 2 MiB to 6 MiB of the file, 4 MiB behind the begin of the part: up to its end.
    file.map_in_part(&claim, DeviceOffset(4 * MIB), 2 * MIB, 4 * MIB).unwrap();
    assert!(window.readable(8 * MIB) && window.readable(12 * MIB - 1), "not where the device counts it");
    assert!(!window.readable(4 * MIB) && !window.readable(12 * MIB), "a neighbour has been mapped");
    assert_same(&load(&window, &device, 4 << 20, 4 << 20), &image[2 << 20..], "through the part");
    // SAFETY: mapped above, writable, and nobody else uses it.
    unsafe { window.pointer_to(window.address + 8 * MIB + 100).write(0x5a) };
    assert_eq!(std::fs::read(&image_path).unwrap()[(2 << 20) + 100], 0x5a, "the host does not see the store");
    // The driver's own part is reclaimed again and again beside it.
    for _ in 0..2 {
        assert_same(&fs.read("file").unwrap(), &data, "the driver's part");
    }
    assert_same(&load(&window, &device, (4 << 20) + 4096, 4096), &image[(2 << 20) + 4096..][..4096], "afterwards");

    let map = |claim: &PartClaim, at, offset, len| errno(file.map_in_part(claim, DeviceOffset(at), offset, len));
    assert_eq!(map(&claim, 8 * MIB, 0, 2 * MIB), libc::ERANGE, "at the end of the part");
    assert_eq!(map(&claim, 7 * MIB, 0, 2 * MIB), libc::ERANGE, "past the end of the part");
    assert_eq!(map(&claim, u64::MAX, 0, 2 * MIB), libc::ERANGE);
    assert_eq!(map(&claim, 0, 0, 0), libc::ERANGE, "nothing");
    assert_eq!(map(&claim, 0, 4 * MIB, 4 * MIB), libc::ENXIO, "past the end of the file");
    assert_eq!(map(&claim, 0, u64::MAX, 4 * MIB), libc::ENXIO);
    let request = |offset, size| device.direct_access(&DirectAccess { offset, size, flags: AccessFlags::empty() });
    assert_eq!(request(8 << 20, 4096).unwrap_err().errno(), fs_dax::Errno::ERANGE);
    assert_eq!(request(7 << 20, 4 << 20).unwrap().len, MIB, "cut to what is there");
    assert_eq!(errno(fs.unmap_in_part(&claim, DeviceOffset(8 * MIB), 2 * MIB)), libc::ERANGE);
    // Parts that reach into the driver's, or out of the window.
    let over = WindowPart::new(DRIVERS.0 - 2 * MIB, 4 * MIB);
    let over = over.claim(owner(8)).unwrap();
    assert_eq!(map(&over, 2 * MIB, 0, 2 * MIB), libc::EPERM);
    assert_eq!(errno(fs.unmap_in_part(&over, DeviceOffset(0), 4 * MIB)), libc::EPERM);
    let outside = WindowPart::new(62 * MIB, 4 * MIB);
    let outside = outside.claim(owner(9)).unwrap();
    assert_eq!(map(&outside, 2 * MIB, 0, 2 * MIB), libc::ERANGE);
    assert!(outside.device(&whole(&window)).is_err());

    fs.unmap_in_part(&claim, DeviceOffset(4 * MIB), 4 * MIB).unwrap();
    assert!(!window.readable(8 * MIB), "still mapped");
    drop(file);
    peer.finish(fs);
}

fn a_part_has_one_owner(peer: Peer) {
    let data = content(4, 3 << 20);
    peer.put("file", &data);
    let part = WindowPart::new(0, 8 * MIB);
    let config = peer.config().window_part(Some(part.clone()));
    let claim = part.claim(owner(7)).unwrap();
    assert_eq!(part.claim(owner(8)).unwrap_err(), fs_dax::Error::Owned { holder: owner(7) });
    let fs = peer.mount_with(config.clone()).unwrap();
    assert_eq!(fs.dax_status(), DaxStatus::PartTaken { holder: owner(7) });
    assert_same(&fs.read("file").unwrap(), &data, "by requests");
    assert_eq!(fs.stats().setup_mappings, 0);
    fs.unmount().unwrap();
    assert_eq!(part.holder(), Some(owner(7)), "a mount gave up what it never had");
    drop((claim, fs));

    let fs = peer.mount_with(config.clone()).unwrap();
    assert_eq!(fs.dax_status(), DaxStatus::Active);
    assert!(matches!(part.claim(owner(8)), Err(fs_dax::Error::Owned { .. })), "a file system's part was given away");
    assert_same(&fs.read("file").unwrap(), &data, "through the part");
    fs.unmount().unwrap();
    drop(part.claim(owner(8)).expect("the part is given up by the unmount"));
    drop(fs);

    let len = peer.window().unwrap().len;
    let bad = |offset, part| ShmError::PartOutside { id: ShmId::FS_DAX_WINDOW, offset, part, len };
    for (offset, part, wrong) in [
        (0, len + MIB, bad(0, len + MIB)),
        (len, 2 * MIB, bad(len, 2 * MIB)),
        (MIB, 8 * MIB, ShmError::PartUnaligned { id: ShmId::FS_DAX_WINDOW, offset: MIB, align: 2 * MIB }),
    ] {
        let part = WindowPart::new(offset, part);
        let fs = peer.mount_with(peer.config().window_part(Some(part.clone()))).unwrap();
        assert_eq!(fs.dax_status(), DaxStatus::BadPart(wrong));
        assert_same(&fs.read("file").unwrap(), &data, "by requests");
        assert_eq!(part.holder(), None);
        fs.unmount().unwrap();
    }
    peer.end();
}

#[test]
fn without_a_window_there_are_no_parts() {
    let peer = Peer::new(Kind::Strict).with_window(None);
    peer.put("file", &content(5, 2 << 20));
    let part = WindowPart::new(0, 8 * MIB);
    let fs = peer.mount_with(peer.config().window_part(Some(part.clone()))).unwrap();
    assert_eq!(fs.dax_status(), DaxStatus::NoWindow);
    let claim = part.claim(owner(1)).unwrap();
    let file = fs.open("file", OpenOptions::new().read(true)).unwrap();
    assert_eq!(errno(file.map_in_part(&claim, DeviceOffset(0), 0, 2 * MIB)), libc::EOPNOTSUPP);
    drop(file);
    peer.finish(fs);
}

#[test]
fn all_of_the_window_leaves_nothing_to_others() {
    let peer = Peer::new(Kind::Strict);
    peer.put("file", &content(6, 2 << 20));
    let fs = peer.mount();
    let part = WindowPart::new(0, 8 * MIB);
    let claim = part.claim(owner(1)).unwrap();
    let file = fs.open("file", BOTH).unwrap();
    assert_eq!(errno(file.map_in_part(&claim, DeviceOffset(0), 0, 2 * MIB)), libc::EPERM);
    drop(file);
    peer.finish(fs);
}

fn a_writable_mapping_in_a_part_takes_set_id_bits(peer: Peer) {
    if std::fs::metadata(peer.folder()).unwrap().uid() != 0 {
        eprintln!("skipped: only root makes files that belong to others");
        return;
    }
    let path = peer.put("file", &content(4, 2 << 20));
    chown(&path, Some(1000), Some(1000)).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o6775)).unwrap();
    let mode = || std::fs::metadata(&path).unwrap().mode() & 0o7777;
    let fs = peer.mount_with(peer.config().window_part(Some(WindowPart::new(DRIVERS.0, DRIVERS.1)))).unwrap();
    let user = fs.as_user(Credentials { uid: 1000, gid: 1000, pid: 1 });
    let rest = WindowPart::new(4 * MIB, 8 * MIB);
    let claim = rest.claim(owner(7)).unwrap();
    // By a mapping that permits no stores nothing is changed, nor by root's.
    let map = |file: virtio_fs::File, at| file.map_in_part(&claim, DeviceOffset(at), 0, 2 * MIB).unwrap();
    map(user.open("file", OpenOptions::new().read(true)).unwrap(), 0);
    map(fs.open("file", BOTH).unwrap(), 2 * MIB);
    assert_eq!(mode(), 0o6775);
    map(user.open("file", BOTH).unwrap(), 4 * MIB);
    assert_eq!(mode(), 0o775);
    for at in [0, 2 * MIB, 4 * MIB] {
        fs.unmap_in_part(&claim, DeviceOffset(at), 2 * MIB).unwrap();
    }
    drop(user);
    peer.finish(fs);
}
