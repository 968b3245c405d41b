//! Entries are what the real structures say, and contents read through our maps have the hash that was taken when they
//! were written.

use std::fmt::Write as _;

use famfs::layout::{RawMap, Record};
use famfs::{Log, Node, NodeId, check};
use fs_dax::{DeviceOffset, WindowMemory};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::image::{self, Image};

const IMAGES: [&str; 13] = [
    "v46-base",
    "v46-empty",
    "v46-files",
    "v46-full-log",
    "v46-multiext",
    "v48-dirty-device",
    "v48-empty",
    "v48-files",
    "v48-full-log",
    "v48-interleave-small",
    "v48-multiext",
    "v48-names",
    "v48-remkfs",
];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// The bytes of a path that a sidecar shows as if they were Latin-1.
fn latin1(text: &Value) -> Vec<u8> {
    text.as_str().unwrap().chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
}

fn field(path: &famfs::layout::PathField) -> Vec<u8> {
    match path.check() {
        Ok(path) => path.as_bytes().to_vec(),
        Err(flaw) => panic!("{path:?}: {flaw}"),
    }
}

fn pieces(list: &Value) -> Value {
    let piece = |piece: &Value| json!([piece["devindex"].as_u64().unwrap_or(0), piece["offset"], piece["len"]]);
    Value::Array(list.as_array().unwrap().iter().map(piece).collect())
}

fn raw_pieces(list: &[famfs::layout::Piece], count: u64) -> Value {
    let used = list.iter().take(usize::try_from(count).unwrap());
    Value::Array(used.map(|piece| json!([piece.device, piece.offset, piece.len])).collect())
}

fn assert_record(name: &str, record: &Record, expected: &Value) {
    let mode = u64::from_str_radix(expected["mode_octal"].as_str().unwrap(), 8).unwrap();
    match record {
        Record::Mkdir(dir) => {
            assert_eq!(expected["kind"], "MKDIR", "{name}");
            assert_eq!(field(&dir.path), latin1(&expected["relpath"]), "{name}");
            let found = json!([dir.uid, dir.gid, dir.mode]);
            assert_eq!(found, json!([expected["uid"], expected["gid"], mode]), "{name}");
        }
        Record::File(file) => {
            assert_eq!(expected["kind"], "FILE", "{name}");
            assert_eq!(field(&file.path), latin1(&expected["relpath"]), "{name}");
            let found = json!([file.uid, file.gid, file.mode, file.size, file.flags]);
            let numbers = json!([expected["uid"], expected["gid"], mode, expected["size"], expected["flags"]]);
            assert_eq!(found, numbers, "{name}");
            match &file.map {
                RawMap::Simple { count, extents } => {
                    assert_eq!(raw_pieces(extents, u64::from(*count)), pieces(&expected["extents"]), "{name}");
                }
                RawMap::Interleaved { maps, count, chunk, strips } => {
                    let found = json!([maps, count, chunk]);
                    let numbers = json!([expected["nextents"], expected["ie_nstrips"], expected["ie_chunk_size"]]);
                    assert_eq!(found, numbers, "{name}");
                    assert_eq!(raw_pieces(strips, *count), pieces(&expected["ie_strips"]), "{name}");
                }
                RawMap::Unknown { kind } => panic!("{name}: map of type {kind}"),
            }
        }
        Record::AddDevice(_) | Record::Access => panic!("{name}: {record:?}"),
    }
}

#[test]
#[cfg_attr(miri, ignore = "images of 10 MiB")]
fn entries_are_those_of_the_sidecars() {
    for name in IMAGES {
        let image = Image::load(name);
        let sidecar = image::json(name);
        let log = Log::open(&image).unwrap();
        assert_eq!(log.header().next_index, sidecar["log_header"]["famfs_log_next_index"].as_u64().unwrap());
        let superblock = log.superblock();
        assert_eq!(superblock.uuid.to_string(), sidecar["superblock"]["ts_uuid"].as_str().unwrap());
        assert_eq!(superblock.device_len, sidecar["superblock"]["dd_size"].as_u64().unwrap());
        for expected in sidecar["entries"].as_array().unwrap() {
            let index = expected["index"].as_u64().unwrap();
            let entry = log.entries(index).next().unwrap().unwrap();
            let record = entry.record.unwrap();
            assert_record(&format!("{name} entry {index}"), &record, expected);
            let mut theirs = vec![0; superblock.format.entry_len()];
            image.read(DeviceOffset(superblock.entry_offset(index)), &mut theirs).unwrap();
            // Long logs are shown without their bytes.
            if let Some(raw) = expected["raw_hex"].as_str() {
                assert_eq!(hex(&theirs), raw, "{name}");
            }
        }
        // What we write is what theirs wrote, to the last byte.
        for entry in log.entries(0) {
            let entry = entry.unwrap();
            let ours = entry.record.unwrap().encode(superblock.format, entry.index).unwrap();
            let mut theirs = vec![0; superblock.format.entry_len()];
            image.read(DeviceOffset(superblock.entry_offset(entry.index)), &mut theirs).unwrap();
            assert_eq!(ours[..theirs.len()], theirs, "{name} entry {}", entry.index);
        }
    }
}

fn read_through_map(image: &Image, node: &Node) -> String {
    let map = node.file().unwrap().mapped().map().unwrap();
    let (mut hash, mut offset) = (Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 20];
    while offset < map.size() {
        let segment = map.resolve(offset, buffer.len() as u64);
        let part = &mut buffer[..usize::try_from(segment.len).unwrap()];
        image.read(segment.offset, part).unwrap();
        hash.update(&*part);
        offset += segment.len;
    }
    hex(&hash.finalize())
}

#[test]
#[cfg_attr(miri, ignore = "a hundred MiB of contents")]
fn contents_have_their_hashes() {
    let mut files = 0;
    for name in IMAGES {
        let sidecar = image::json(name);
        let image = Image::load(name).on_device(sidecar["superblock"]["dd_size"].as_u64().unwrap());
        let checked = check(&image, |superblock| [superblock.device_len], &mut |_| {}).unwrap();
        for expected in sidecar["files"].as_array().unwrap() {
            let path = latin1(&expected["path"]);
            let node = checked.tree.node(checked.tree.lookup(&path).unwrap()).unwrap();
            let mode = u32::from_str_radix(expected["mode_octal"].as_str().unwrap(), 8).unwrap();
            assert_eq!(node.mode, mode & 0o777, "{name} {}", node.path);
            assert_eq!(node.file().unwrap().size(), expected["size"].as_u64().unwrap());
            if sidecar["image"]["meta_only"] != true {
                assert_eq!(read_through_map(&image, node), expected["sha256"].as_str().unwrap(), "{}", node.path);
                files += 1;
            }
        }
        for expected in sidecar["dirs"].as_array().unwrap() {
            let node = checked.tree.node(checked.tree.lookup(&latin1(&expected["path"])).unwrap()).unwrap();
            assert_eq!(json!([node.uid, node.gid]), json!([expected["uid"], expected["gid"]]));
        }
        // The two files of the medium itself.
        let [superblock, log] = [NodeId::SUPERBLOCK, NodeId::LOG].map(|id| checked.tree.node(id).unwrap());
        assert_eq!((superblock.path.as_bytes(), superblock.mode), (b".meta/.superblock".as_slice(), 0o444));
        assert_eq!((log.path.as_bytes(), log.mode), (b".meta/.log".as_slice(), 0o644));
        assert_eq!(log.file().unwrap().size(), 8 << 20);
    }
    assert_eq!(files, 33);
}
