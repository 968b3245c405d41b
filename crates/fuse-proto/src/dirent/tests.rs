//! Listings that a server should not send.

use std::{vec, vec::Vec};

use super::*;
use crate::{InitFlags, NameError, NodeId};

const PROTOCOL: Protocol = Protocol::new(45, InitFlags::empty());

fn entry(name: &[u8], offset: u64) -> DirEntry<'_> {
    DirEntry { ino: 9, offset, file_type: Some(FileType::Regular), name }
}

/// One record as it is on the wire, good or bad.
fn record(off: u64, namelen: u32, name: &[u8]) -> Vec<u8> {
    let raw = raw::Dirent { ino: 1, off, namelen, kind: 8 };
    let mut bytes = raw.as_bytes().to_vec();
    bytes.extend_from_slice(name);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

fn read(bytes: &[u8]) -> Vec<Result<DirEntry<'_>, DecodeError>> {
    // A bound, so that an iterator that never ends fails rather than hangs.
    Directory::new(bytes).entries(&PROTOCOL).take(100).collect()
}

#[test]
fn what_is_written_is_read() {
    let mut buffer = vec![0xff; 4096];
    let mut writer = DirectoryWriter::new(&PROTOCOL, &mut buffer);
    let names: [&[u8]; 5] = [b".", b"..", b"a", b"12345678", "n\u{e9}".as_bytes()];
    for (index, name) in names.iter().enumerate() {
        assert_eq!(writer.push(&entry(name, index as u64 + 1)), Ok(true));
    }
    let directory = writer.finish();
    let read: Vec<_> = directory.entries(&PROTOCOL).map(Result::unwrap).collect();
    assert!(read.iter().map(|entry| entry.name).eq(names));
    assert_eq!(read.iter().filter(|entry| entry.is_dot()).count(), 2);
    assert_eq!(read[4].offset, 5);
}

#[test]
fn with_entries_and_without() {
    let mut buffer = vec![0xff; 4096];
    let mut writer = DirectoryWriter::new(&PROTOCOL, &mut buffer);
    let mut found = Entry { node: NodeId(5), ..Entry::default() };
    found.attr.mode = 0o100_644;
    let plus = |name, offset, entry_| DirEntryPlus { dirent: entry(name, offset), entry: entry_ };
    assert_eq!(writer.push_plus(&plus(b".", 3, None)), Ok(true));
    assert_eq!(writer.push_plus(&plus(b"file", 4, Some(found))), Ok(true));
    let directory = writer.finish();
    let read: Vec<_> = directory.entries_plus(&PROTOCOL).map(Result::unwrap).collect();
    assert_eq!(read, [plus(b".", 3, None), plus(b"file", 4, Some(found))]);
}

#[test]
fn a_full_buffer_keeps_whole_entries() {
    let mut buffer = [0; 70];
    let mut writer = DirectoryWriter::new(&PROTOCOL, &mut buffer);
    assert_eq!(writer.push(&entry(b"a", 1)), Ok(true));
    assert_eq!(writer.push(&entry(b"12345678", 2)), Ok(true));
    assert_eq!(writer.push(&entry(b"b", 3)), Ok(false));
    assert_eq!(writer.finish().entries(&PROTOCOL).count(), 2);
}

#[test]
fn entries_that_overrun() {
    let good = record(1, 3, b"abc");
    for len in 1..good.len() {
        let read = read(&good[..len]);
        assert!(matches!(read[..], [Err(DecodeError::Truncated { .. })]), "{len}: {read:?}");
    }
    let long = record(1, 100, b"abc");
    assert!(matches!(read(&long)[..], [Err(DecodeError::Truncated { need: 128, have: 32, .. })]));
    for namelen in [4096, u32::MAX, u32::MAX - 7, 1 << 31] {
        let record = record(1, namelen, b"abc");
        let read = read(&record).pop().unwrap();
        assert_eq!(read, Err(DecodeError::Field { field: "fuse_dirent.namelen", value: namelen.into() }));
    }
}

#[test]
fn names_that_are_none() {
    let name = |name: &[u8]| match read(&record(1, name.len() as u32, name)).pop().unwrap() {
        Err(DecodeError::Name { error, .. }) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(name(b""), NameError::Empty);
    assert_eq!(name(b"a\0b"), NameError::Nul { at: 1 });
    assert_eq!(name(b"../../etc"), NameError::Slash { at: 2 });
    assert_eq!(name(b"/"), NameError::Slash { at: 0 });
}

#[test]
fn offsets_are_cookies() {
    let offsets =
        |bytes: &[u8]| read(bytes).into_iter().map(|entry| entry.map(|entry| entry.offset)).collect::<Vec<_>>();
    // Names that collide in a hash have one offset.
    let twice = [record(10, 1, b"a"), record(10, 1, b"b"), record(11, 1, b"c")].concat();
    assert_eq!(offsets(&twice), [Ok(10), Ok(10), Ok(11)]);
    // They come in no order: file systems with falling offsets are real.
    let falling = [record(9, 1, b"a"), record(4, 1, b"b"), record(u64::MAX, 1, b"c")].concat();
    assert_eq!(offsets(&falling), [Ok(9), Ok(4), Ok(u64::MAX)]);
    // Zero would begin the listing again.
    assert_eq!(offsets(&record(0, 1, b"a")), [Err(DecodeError::Field { field: "fuse_dirent.off", value: 0 })]);
}

#[test]
fn after_an_error_there_is_nothing() {
    let bytes = [record(1, 1, b"a"), record(2, 1, b"/"), record(3, 1, b"c")].concat();
    let mut entries = Directory::new(&bytes).entries(&PROTOCOL);
    assert!(entries.next().unwrap().is_ok());
    assert!(entries.next().unwrap().is_err());
    assert_eq!(entries.next(), None);
    assert_eq!(entries.next(), None);
}

#[test]
fn attributes_that_cannot_be_end_the_listing_too() {
    let mut buffer = vec![0; 4096];
    let mut writer = DirectoryWriter::new(&PROTOCOL, &mut buffer);
    // A mode without a type.
    let odd = Entry { node: NodeId(5), ..Entry::default() };
    for offset in 1..3 {
        let plus = DirEntryPlus { dirent: entry(b"file", offset), entry: Some(odd) };
        assert_eq!(writer.push_plus(&plus), Ok(true));
    }
    let directory = writer.finish();
    let mut entries = directory.entries_plus(&PROTOCOL);
    assert_eq!(entries.next(), Some(Err(DecodeError::Field { field: "fuse_attr.mode", value: 0 })));
    assert_eq!(entries.next(), None);
}

#[test]
fn a_writer_refuses_what_a_reader_would() {
    let mut buffer = [0; 256];
    let mut writer = DirectoryWriter::new(&PROTOCOL, &mut buffer);
    assert_eq!(writer.push(&entry(b"a", 0)), Err(EncodeError::Field { field: "fuse_dirent.off", value: 0 }));
    assert!(matches!(writer.push(&entry(b"a/b", 1)), Err(EncodeError::Name { .. })));
    assert!(matches!(writer.push(&entry(b"", 1)), Err(EncodeError::Name { .. })));
}
