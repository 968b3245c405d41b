//! Messages of famfs over FUSE: both ways, and what a server must not get away with.
#![cfg(feature = "experimental-famfs")]

use fuse_proto::famfs::{
    Device, Extent, ExtentList, FileType, Fmap, FmapAnswer, GetDaxdev, GetFmap, GetFmapSized, MAX_FMAP, Placement,
    SizedReply,
};
use fuse_proto::{ByteOrder, Context, DecodeError, NodeId, Operation, Protocol, ReplyError, RequestHeader, Unique};

const PROTOCOL: Protocol = Protocol::INITIAL;
const UNIQUE: Unique = Unique(8);
const HEADER: usize = 16;

const EXTENTS: [Extent; 2] =
    [Extent { device: 0, offset: 10 << 20, len: 2 << 20 }, Extent { device: 63, offset: 0, len: 4 << 20 }];

fn wire() -> Vec<u8> {
    EXTENTS.iter().flat_map(|extent| extent.wire(ByteOrder::NATIVE)).collect()
}

fn fmap<'a>(wire: &'a [u8], interleaved: bool) -> Fmap<'a> {
    let list = ExtentList::new(ByteOrder::NATIVE, wire).unwrap();
    let placement = match interleaved {
        true => Placement::Interleaved { chunk: 2 << 20, bytes: 6 << 20, strips: list },
        false => Placement::Simple(list),
    };
    Fmap { file_type: FileType::Regular, file_size: (5 << 20) + 1, placement }
}

/// The bytes of a reply.
fn reply<O: Operation>(operation: &O, body: &O::Reply<'_>) -> Vec<u8> {
    let mut bytes = vec![0; 8192];
    let len = operation.reply(&PROTOCOL, UNIQUE, body).unwrap().copy_to(&mut bytes).unwrap();
    bytes.truncate(len);
    bytes
}

fn read<'r, O: Operation>(operation: &O, bytes: &'r [u8]) -> Result<O::Reply<'r>, DecodeError> {
    match operation.decode_whole(&PROTOCOL, UNIQUE, bytes.len(), bytes) {
        Ok(reply) => Ok(reply),
        Err(ReplyError::Invalid(error)) => Err(error),
        Err(refused) => panic!("{refused}"),
    }
}

/// The field that is found wrong after `change` was made to the body.
fn wrong<O: Operation>(operation: &O, bytes: &[u8], change: impl FnOnce(&mut [u8])) -> String
where
    for<'r> O::Reply<'r>: core::fmt::Debug,
{
    let mut bytes = bytes.to_vec();
    change(&mut bytes[HEADER..]);
    match read(operation, &bytes) {
        Err(DecodeError::Field { field, value }) => format!("{field} {value}"),
        Err(other) => format!("{other}"),
        Ok(reply) => format!("nothing: {reply:?}"),
    }
}

fn put(body: &mut [u8], at: usize, value: u32) {
    body[at..at + 4].copy_from_slice(&value.to_ne_bytes());
}

#[test]
fn numbers_are_the_posted_ones_unless_others_are_wanted() {
    let header = |message: fuse_proto::Message<'_>| {
        let mut bytes = [0; 64];
        let len = message.copy_to(&mut bytes).unwrap();
        let header = RequestHeader::parse(ByteOrder::NATIVE, &bytes[..len]).unwrap();
        (header.opcode.0, header.node.0, len)
    };
    let context = Context::default();
    let node = NodeId(7);
    assert_eq!(header(<GetFmap>::default().encode(&PROTOCOL, UNIQUE, context).unwrap()), (54, 0, 40));
    assert_eq!(header(GetFmap::<53> { node }.encode(&PROTOCOL, UNIQUE, context).unwrap()), (53, 7, 40));
    assert_eq!(header(<GetFmapSized>::new(node, 4096).encode(&PROTOCOL, UNIQUE, context).unwrap()), (54, 7, 48));
    assert_eq!(header(<GetDaxdev>::default().encode(&PROTOCOL, UNIQUE, context).unwrap()), (55, 0, 40));
    assert_eq!(header(GetDaxdev::<99> { index: 3 }.encode(&PROTOCOL, UNIQUE, context).unwrap()), (99, 3, 40));
}

#[test]
fn maps_of_the_first_generation_come_back() {
    let wire = wire();
    for interleaved in [false, true] {
        let fmap = fmap(&wire, interleaved);
        let bytes = reply(&<GetFmap>::default(), &fmap);
        assert_eq!(bytes.len(), HEADER + 32 + 48 + if interleaved { 24 } else { 0 });
        let found = read(&<GetFmap>::default(), &bytes).unwrap();
        assert_eq!((found, found.size()), (fmap, bytes.len() - HEADER));
        let (Placement::Simple(list) | Placement::Interleaved { strips: list, .. }) = found.placement;
        assert_eq!((list.iter().collect::<Vec<_>>(), list.len(), list.is_empty()), (EXTENTS.to_vec(), 2, false));
    }
}

#[test]
fn a_map_that_lies_is_refused_by_name() {
    let wire = wire();
    let ask = <GetFmap>::default();
    let simple = reply(&ask, &fmap(&wire, false));
    let strips = reply(&ask, &fmap(&wire, true));
    let check = |bytes: &[u8], change: &dyn Fn(&mut [u8]), expected: &str| {
        let found = wrong(&ask, bytes, |body| change(body));
        assert!(found.contains(expected), "{found}, not {expected}");
    };
    check(&simple, &|body| body[0] = 3, "file_type 3");
    check(&simple, &|body| body[2] = 2, "fmap_version 2");
    check(&simple, &|body| put(body, 4, 2), "ext_type 2");
    check(&simple, &|body| put(body, 8, 0), "nextents 0");
    // More extents than there are bytes, up to a product that would wrap.
    for count in [3, 1 << 29, u32::MAX] {
        check(&simple, &|body| put(body, 8, count), "extents of a map needs");
    }
    check(&simple, &|body| put(body, 8, 1), "24 bytes follow a map");
    check(&simple, &|body| put(body, 32, 64), "se_devindex 64");
    check(&simple, &|body| put(body, 32, u32::MAX), "se_devindex 4294967295");
    check(&simple, &|body| body[48..56].fill(0), "se_len 0");
    check(&simple, &|body| body[40..48].fill(0xff), "se_len");
    check(&strips, &|body| put(body, 8, 2), "nextents 2");
    check(&strips, &|body| put(body, 36, 0), "ie_chunk_size 0");
    check(&strips, &|body| put(body, 36, 3), "ie_chunk_size 3");
    check(&strips, &|body| put(body, 32, 0), "ie_nstrips 0");
    check(&strips, &|body| put(body, 32, u32::MAX), "extents of a map needs");
    check(&strips, &|body| put(body, 56 + 24, 64), "se_devindex 64");
    // Cut anywhere it is an error, and never a panic.
    for bytes in [&simple, &strips] {
        for len in HEADER..bytes.len() {
            let mut cut = bytes[..len].to_vec();
            cut[..4].copy_from_slice(&(len as u32).to_ne_bytes());
            assert!(read(&ask, &cut).is_err(), "{len} bytes");
        }
    }
}

#[test]
fn a_map_too_large_is_asked_for_once_more() {
    let wire = wire();
    let first = <GetFmapSized>::new(NodeId(7), 40);
    let answer = |ask: &GetFmapSized| SizedReply { answer: FmapAnswer::Whole(fmap(&wire, false)), room: ask.size };
    let bytes = reply(&first, &answer(&first));
    assert_eq!(bytes.len(), HEADER + 32, "the header only");
    let FmapAnswer::TooLarge(size) = read(&first, &bytes).unwrap().answer else { panic!() };
    assert_eq!(size, 80);
    let second = first.again(size).unwrap();
    let bytes = reply(&second, &answer(&second));
    assert_eq!(read(&second, &bytes).unwrap().answer, FmapAnswer::Whole(fmap(&wire, false)));
    // It grows between the two.
    let grown = wrong(&second, &bytes[..HEADER + 32], |_| ());
    assert!(grown.contains("the header says"), "{grown}");
    let mut header = bytes[..HEADER + 32].to_vec();
    header[..4].copy_from_slice(&(HEADER as u32 + 32).to_ne_bytes());
    assert_eq!(wrong(&second, &header, |body| put(body, 12, 104)), "fuse_famfs_fmap_header.fmap_size 104");
    // It says less than it has, or that it could never be had.
    assert_eq!(wrong(&second, &bytes, |body| put(body, 12, 56)), "fuse_famfs_fmap_header.fmap_size 56");
    let huge = MAX_FMAP + 1;
    assert_eq!(wrong(&first, &header, |body| put(body, 12, huge)), format!("fuse_famfs_fmap_header.fmap_size {huge}"));
    assert!(first.again(MAX_FMAP).is_ok() && first.again(huge).is_err());
    // No interleaved maps here; a server writes none either way round.
    assert_eq!(wrong(&second, &bytes, |body| put(body, 4, 1)), "fuse_famfs_fmap_header.ext_type 1");
    assert!(first.reply(&PROTOCOL, UNIQUE, &SizedReply { answer: FmapAnswer::TooLarge(9), room: 40 }).is_err());
}

#[test]
fn devices_come_back_by_their_index() {
    let ask = GetDaxdev::<55> { index: 3 };
    let device = Device::new(3, b"/dev/dax0.0").unwrap();
    let bytes = reply(&ask, &device);
    assert_eq!(bytes.len(), HEADER + 280);
    let found = read(&ask, &bytes).unwrap();
    assert_eq!((found, found.name()), (device, b"/dev/dax0.0".as_slice()));
    assert_eq!(wrong(&ask, &bytes, |body| body[0] = 4), "fuse_daxdev_out.index 4");
    assert_eq!(wrong(&ask, &bytes, |body| body[24] = 0), "fuse_daxdev_out.name 0");
    assert_eq!(wrong(&ask, &bytes, |body| body[24..].fill(b'x')), "fuse_daxdev_out.name 256");
    for name in [b"".as_slice(), b"a\0b", &[b'x'; 256]] {
        assert_eq!(Device::new(0, name), None);
    }
}
