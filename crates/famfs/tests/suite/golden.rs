//! What we write for the same operations is what the real tools wrote, byte for byte.

use famfs::layout::{Format, Uuid};
use famfs::{FormatOptions, Interleave, Kind, MountOptions, NewFile, NodeId, Owner, Placement, format};
use fs_dax::{DeviceOffset, WindowMemory};
use serde_json::Value;

use crate::fixture::{TestMount, claims};
use crate::hosts::Host;
use crate::image::{Image, json};

/// The order in which the real tool took its buckets when it made the images.
const BUCKETS: [u64; 8] = [1, 4, 2, 7, 5, 3, 6, 0];
/// The first byte after the log.
const LOG_END: u64 = 10 << 20;

fn uuid(value: &Value) -> Uuid {
    value.as_str().map_or_else(Uuid::default, |text| text.parse().unwrap())
}

fn format_like(sidecar: &Value) -> Host {
    let superblock = &sidecar["superblock"];
    let len = superblock["dd_size"].as_u64().unwrap();
    let host = Host::new(len, 1 << 40);
    let mut options = FormatOptions::new(
        uuid(&superblock["ts_uuid"]),
        uuid(&superblock["ts_dev_uuid"]),
        uuid(&superblock["ts_system_uuid"]),
        len,
    );
    options.format = Format::from_version(superblock["ts_version"].as_u64().unwrap()).unwrap();
    let name = superblock["dd_daxdev"].as_str().unwrap();
    options.device_name[..name.len()].copy_from_slice(name.as_bytes());
    format(&host, &options).unwrap();
    host
}

/// Does again what made the entries of the image.
fn repeat(mount: &TestMount, sidecar: &Value, image: &Image) {
    let log = famfs::Log::open(image).unwrap();
    for entry in log.entries(0) {
        let entry = entry.unwrap();
        match entry.record.unwrap() {
            famfs::layout::Record::Mkdir(dir) => {
                let owner = Owner { uid: dir.uid, gid: dir.gid, mode: dir.mode };
                mount.mkdir(dir.path.check().unwrap().as_bytes(), &owner).unwrap();
            }
            famfs::layout::Record::File(file) => {
                // Which files were spread shows in the commands only: a small one is not, in spite of them.
                let command = sidecar["how"].as_array().unwrap().iter().find_map(|step| {
                    let command = step["cmd"].as_str()?;
                    let path = file.path.check().unwrap();
                    command.ends_with(&format!("mnt/{path}")).then_some(command)
                });
                let strips = command.and_then(|c| c.split(" -N ").nth(1)).map(|rest| rest[..1].parse().unwrap());
                let placement = strips.map_or(Placement::Simple, |strips| {
                    Placement::Interleaved(Interleave { strips, chunk: 2 << 20, buckets: 8, order: &BUCKETS })
                });
                let owner = Owner { uid: file.uid, gid: file.gid, mode: file.mode };
                let new = NewFile { size: file.size, owner, read_only: false, placement };
                mount.create(file.path.check().unwrap().as_bytes(), &new).unwrap();
            }
            record => panic!("{record:?}"),
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "images of 10 MiB")]
fn the_same_operations_give_the_same_bytes() {
    for name in
        ["v46-files", "v46-base", "v48-files", "v48-names", "v48-remkfs", "v48-dirty-device", "v48-interleave-small"]
    {
        let (image, sidecar) = (Image::load(name), json(name));
        let host = format_like(&sidecar);
        let options =
            MountOptions { system: Some(uuid(&sidecar["superblock"]["ts_system_uuid"])), ..MountOptions::default() };
        let mount = TestMount::open(host.clone(), [], &options, &claims()).unwrap();
        repeat(&mount, &sidecar, &image);
        let log_len = LOG_END - (2 << 20);
        let mut theirs = vec![0; log_len as usize];
        image.read(DeviceOffset(2 << 20), &mut theirs).unwrap();
        let ours = host.medium().bytes(2 << 20, theirs.len());
        let differ = ours.iter().zip(&theirs).position(|(a, b)| a != b);
        assert_eq!(differ, None, "{name}: the log differs");
        let superblock = mount.superblock();
        let len = superblock.format.superblock_len();
        let mut theirs = vec![0; len];
        image.read(DeviceOffset(0), &mut theirs).unwrap();
        let ours = host.medium().bytes(0, len);
        // What mkfs leaves as it was: flags, padding and the device's identity.
        let garbage = match superblock.format {
            Format::V46 => 76..80,
            Format::V47 | Format::V48 => 104..112,
        };
        let identity = garbage.end + 8..garbage.end + 24;
        theirs[garbage].fill(0);
        theirs[identity].fill(0);
        assert_eq!(ours, theirs, "{name}: the superblock differs");
    }
}

#[test]
fn a_file_in_strips_lies_in_buckets_by_their_order() {
    let host = crate::fixture::formatted(Format::V48, 256 << 20);
    let mount = crate::fixture::master(&host);
    let how = Interleave { strips: 3, chunk: 2 << 20, buckets: 8, order: &[2, 2, 0, 5] };
    let new = NewFile { placement: Placement::Interleaved(how), ..crate::fixture::file(7 << 20) };
    let id = mount.create(b"strips", &new).unwrap();
    let file = mount.open_file(id).unwrap();
    // Each bucket once; the first begins behind the log.
    let at = |offset| file.resolve(offset, 1).unwrap().offset.0;
    assert_eq!([0, 2 << 20, 4 << 20, 6 << 20].map(at), [64 << 20, 4 << 20, 160 << 20, 66 << 20]);
    assert_eq!(mount.stat(NodeId::ROOT).unwrap().links, 3);
    let checked = famfs::check(&host.other(), |superblock| [superblock.device_len], &mut |event| panic!("{event:?}"));
    let tree = checked.unwrap().tree;
    assert!(matches!(tree.node(tree.lookup(b"strips").unwrap()).unwrap().kind, Kind::File(_)));
}
