//! Real exchanges between Linux 7.2 and virtiofsd 1.14 with a DAX window: every one decodes on both sides and re-encodes to
//! the same bytes, and the client's own encoders produce what Linux sent for the same call.
//!
//! The capture is little-endian and is decoded as such on every machine: on a big-endian one these tests go through the
//! code that reverses bytes.

use std::{collections::BTreeSet, io::Read as _, sync::LazyLock, time::Duration};

use fuse_proto::{
    ByteOrder, Context, DirEntry, EncodeError, Errno, FallocateMode, FileHandle, FileType, ForgetOne, FsyncFlags,
    InitFlags, List, LockOwner, MapFlags, MappingRange, Message, Negotiation, NodeId, Offer, OpenFlags, Operation,
    Protocol, RenameFlags, ReplyError, ReplyMessage, Request, RequestBody, RequestHeader, Timestamp, Unique,
    WriteFlags, XattrFlags, ops,
};

#[path = "../examples/capture/trace.rs"]
#[expect(dead_code, reason = "only its reading of files is of use here")]
mod trace;

#[path = "fixture/extract.rs"]
mod extract;

const CAPTURE: &[u8] = include_bytes!("../testdata/fuse-wire-linux-7.2-dax.jsonl.gz");

/// The exchanges, read once.
fn capture() -> &'static [trace::Exchange] {
    static EXCHANGES: LazyLock<Vec<trace::Exchange>> = LazyLock::new(|| {
        // Miri would take a quarter of an hour to unpack and read the text.
        if cfg!(miri) {
            return extract::read(extract::EXTRACT);
        }
        let mut text = String::new();
        flate2::read::GzDecoder::new(CAPTURE).read_to_string(&mut text).unwrap();
        text.lines().map(|line| trace::Exchange::parse(line).unwrap()).collect()
    });
    &EXCHANGES
}

/// The exchanges by line. Miri, being slow, gets the first of each kind only: 50 that differ in their opcode, in the length
/// of the reply or in its error.
fn exchanges() -> impl Iterator<Item = (usize, &'static trace::Exchange)> {
    let mut seen = BTreeSet::new();
    let all = capture().iter().enumerate();
    all.filter(move |(_, exchange)| {
        let fresh = seen.insert((exchange.opcode, exchange.rep_len, exchange.rep.get(4..8)));
        fresh || cfg!(not(miri))
    })
}

/// What was agreed on in the capture's first exchange.
fn negotiated(init: &trace::Exchange) -> Protocol {
    let request = init.request();
    let order = ByteOrder::detect(&request).unwrap();
    assert_eq!(order, ByteOrder::Little);
    let initial = Protocol::INITIAL.with_byte_order(order);
    let Request { header, body: RequestBody::Init(init_op) } = Request::parse(&initial, &request).unwrap() else {
        panic!("the first request is INIT");
    };
    let reply = init_op.decode_whole(&initial, header.unique, init.rep_len, &init.reply());
    let offer = Offer { minor: init_op.minor, max_readahead: init_op.max_readahead, ..Offer::new(init_op.flags) };
    Negotiation::new(offer).answer(reply).unwrap().with_byte_order(order)
}

fn bytes(message: &Message<'_>) -> Vec<u8> {
    let mut buffer = vec![0xaa; message.len()];
    assert_eq!(message.copy_to(&mut buffer), Ok(message.len()));
    assert_eq!(message.pieces().collect::<Vec<_>>().concat(), buffer);
    buffer
}

fn reply_bytes(message: &ReplyMessage<'_>) -> Vec<u8> {
    let mut buffer = vec![0xaa; message.len()];
    assert_eq!(message.copy_to(&mut buffer), Ok(message.len()));
    buffer
}

/// Lists are sent as the caller has them, which is in native order.
fn borrows_a_native_list(body: &RequestBody<'_>, protocol: &Protocol) -> bool {
    matches!(body, RequestBody::Removemapping(_) | RequestBody::BatchForget(_)) && !protocol.byte_order().is_native()
}

#[test]
fn the_capture_is_what_it_is_said_to_be() {
    let capture = capture();
    assert_eq!(capture.len(), 341);
    assert_eq!(capture.iter().map(|exchange| exchange.opcode).collect::<BTreeSet<_>>().len(), 39);
}

#[test]
fn every_request_decodes_and_re_encodes_to_the_same_bytes() {
    let capture = capture();
    let protocol = negotiated(&capture[0]);
    let mut opcodes = BTreeSet::new();
    for (line, exchange) in exchanges() {
        let sent = exchange.request();
        let request = Request::parse(&protocol, &sent).unwrap_or_else(|error| panic!("line {line}: {error}"));
        assert_eq!(u64::from(request.body.opcode().0), exchange.opcode, "line {line}");
        let encoded = request.body.encode(&protocol, request.header.unique, request.header.context).unwrap();
        assert_eq!(bytes(&encoded), sent.as_ref(), "line {line}");
        opcodes.insert(exchange.opcode);
    }
    assert_eq!(opcodes.len(), 39);
}

#[test]
fn every_reply_decodes_and_re_encodes_to_the_same_bytes() {
    let capture = capture();
    let protocol = negotiated(&capture[0]);
    let mut refused = 0;
    for (line, exchange) in exchanges() {
        let (sent, got) = (exchange.request(), exchange.reply());
        let request = Request::parse(&protocol, &sent).unwrap();
        let unique = request.header.unique;
        macro_rules! round {
            ($($name:ident)*) => {
                match &request.body {
                    $(RequestBody::$name(op) => {
                        let size = op.reply_size(&protocol);
                        assert!(exchange.rep_len <= size.buffer_len(), "line {line}: no room for the reply");
                        match op.decode_whole(&protocol, unique, exchange.rep_len, &got) {
                            Ok(_) if exchange.rep_len == 0 => Vec::new(),
                            Ok(reply) => reply_bytes(&op.reply(&protocol, unique, &reply).unwrap()),
                            Err(ReplyError::Refused(errno)) => {
                                refused += 1;
                                reply_bytes(&ReplyMessage::refusal(&protocol, unique, errno))
                            }
                            Err(error) => panic!("line {line}: {error}"),
                        }
                    })*
                    other => panic!("line {line}: {other:?}"),
                }
            };
        }
        let encoded = round! {
            Lookup Forget Getattr Setattr Readlink Symlink Mknod Mkdir Unlink Rmdir Rename Link Open Write Statfs Release
            Fsync Setxattr Getxattr Listxattr Removexattr Flush Init Opendir Readdir Releasedir Fsyncdir Create Destroy
            Ioctl Fallocate Rename2 Lseek CopyFileRange Setupmapping Removemapping Syncfs Tmpfile CopyFileRange64
        };
        assert_eq!(encoded, got.as_ref(), "line {line}");
    }
    let least = if cfg!(miri) { 8 } else { 50 };
    assert!(refused >= least, "only {refused} refusals");
}

/// A caller with ids that do not matter to the request.
const ANYBODY: Context = Context { uid: u32::MAX, gid: u32::MAX, pid: 103 };
/// A caller that makes a file.
const ROOT: Context = Context { uid: 0, gid: 0, pid: 103 };
/// The kernel itself.
const KERNEL: Context = Context { uid: 0, gid: 0, pid: 0 };
const OWNER: LockOwner = LockOwner(0xd79e_96bc_81bf_0e3a);
const FILE: NodeId = NodeId(7);
const DIR: NodeId = NodeId(2);
const FH: FileHandle = FileHandle(0);

// `O_RDWR`, `O_LARGEFILE` and so on, as they are on x86, where the capture is from.
const RDWR_LARGE: u32 = 0o100_002;
const DIRECTORY_LARGE: u32 = 0o300_000;

fn o(bits: u32) -> OpenFlags {
    OpenFlags::from_bits_retain(bits)
}

/// The calls that were made in the guest, written down by hand from what it ran: line of the capture, caller, request.
// Long: a table, one row a call.
fn calls<'a>(big: &'a [u8], name255: &'a [u8], ranges: &'a [MappingRange]) -> Vec<(usize, Context, RequestBody<'a>)> {
    vec![
        (1, ANYBODY, ops::Getattr { node: NodeId::ROOT, fh: None }.into()),
        (2, ANYBODY, ops::Lookup { parent: NodeId::ROOT, name: b"d1" }.into()),
        (
            3,
            ROOT,
            ops::Mkdir { parent: NodeId::ROOT, name: b"d1", mode: 0o755, umask: 0o22, ..Default::default() }.into(),
        ),
        (5, ROOT, ops::Mkdir { parent: DIR, name: b"d2", mode: 0o700, umask: 0o22, ..Default::default() }.into()),
        (
            7,
            ROOT,
            ops::Mknod { parent: NodeId::ROOT, name: b"fifo", mode: 0o10_644, umask: 0o22, ..Default::default() }
                .into(),
        ),
        (
            9,
            ROOT,
            ops::Mknod { parent: NodeId::ROOT, name: b"reg", mode: 0o100_600, umask: 0o22, ..Default::default() }
                .into(),
        ),
        (
            11,
            ROOT,
            ops::Symlink { parent: DIR, name: b"sym", target: b"../target/of/link", ..Default::default() }.into(),
        ),
        (12, ANYBODY, ops::Readlink { node: NodeId(6) }.into()),
        (
            14,
            ROOT,
            ops::Create {
                parent: DIR,
                name: b"file1",
                flags: o(RDWR_LARGE | 0o300),
                mode: 0o100_640,
                umask: 0o22,
                ..Default::default()
            }
            .into(),
        ),
        (15, ANYBODY, ops::Getxattr { node: FILE, name: b"security.capability", size: 0 }.into()),
        (
            16,
            ANYBODY,
            ops::Write {
                write_flags: WriteFlags::LOCKOWNER,
                lock_owner: OWNER,
                flags: o(RDWR_LARGE),
                ..ops::Write::new(FILE, FH, 0, big)
            }
            .into(),
        ),
        (
            17,
            ANYBODY,
            ops::Setupmapping {
                node: FILE,
                fh: FileHandle::NONE,
                foffset: 0,
                len: 2 << 20,
                flags: MapFlags::READ,
                moffset: 0,
            }
            .into(),
        ),
        (19, ANYBODY, ops::Link { target: FILE, new_parent: DIR, new_name: b"hard" }.into()),
        (21, ANYBODY, ops::Fsync { node: FILE, fh: FH, ..Default::default() }.into()),
        (22, ANYBODY, ops::Fsync { node: FILE, fh: FH, flags: FsyncFlags::FDATASYNC }.into()),
        (24, ANYBODY, ops::Setattr::new(FILE).size(10_000).fh(FH).lock_owner(OWNER).into()),
        (26, ANYBODY, ops::Fallocate { node: FILE, fh: FH, length: 8 << 20, ..Default::default() }.into()),
        (
            30,
            ANYBODY,
            ops::Fallocate {
                node: FILE,
                fh: FH,
                offset: 4096,
                length: 8192,
                mode: FallocateMode::KEEP_SIZE | FallocateMode::PUNCH_HOLE,
            }
            .into(),
        ),
        (33, ANYBODY, ops::Lseek { node: FILE, fh: FH, offset: 0, whence: ops::Whence::DATA }.into()),
        (34, ANYBODY, ops::Lseek { node: FILE, fh: FH, offset: 0, whence: ops::Whence::HOLE }.into()),
        (
            39,
            ANYBODY,
            ops::CopyFileRange64 {
                node_in: FILE,
                fh_in: FH,
                node_out: NodeId(8),
                fh_out: FileHandle(2),
                len: 4096,
                ..Default::default()
            }
            .into(),
        ),
        (
            40,
            ANYBODY,
            ops::CopyFileRange {
                node_in: FILE,
                fh_in: FH,
                node_out: NodeId(8),
                fh_out: FileHandle(2),
                len: 4096,
                ..Default::default()
            }
            .into(),
        ),
        (41, ANYBODY, ops::Setattr::new(FILE).mode(0o100_600).into()),
        (44, ANYBODY, ops::Setattr::new(FILE).uid(0).gid(0).into()),
        (
            45,
            ANYBODY,
            ops::Setattr::new(FILE)
                .atime(Timestamp::new(1_000_000_000, 5000))
                .mtime(Timestamp::new(1_100_000_000, 7000))
                .into(),
        ),
        (
            46,
            ANYBODY,
            // Linux sends its own present along with the wish for the server's.
            ops::Setattr::new(FILE).atime_now().atime(Timestamp::new(1_795_233_842, 938_721_905)).into(),
        ),
        (
            47,
            ANYBODY,
            ops::Setxattr {
                node: FILE,
                name: b"user.k",
                value: b"value",
                flags: XattrFlags::empty(),
                ..Default::default()
            }
            .into(),
        ),
        (51, ANYBODY, ops::Listxattr { node: FILE, size: 256 }.into()),
        (53, ANYBODY, ops::Removexattr { node: FILE, name: b"user.k" }.into()),
        (55, ANYBODY, ops::Rename { parent: DIR, name: b"hard", new_parent: DIR, new_name: b"hard2" }.into()),
        (
            57,
            ANYBODY,
            ops::Rename2 {
                parent: DIR,
                name: b"hard2",
                new_parent: DIR,
                new_name: b"copy",
                flags: RenameFlags::EXCHANGE,
            }
            .into(),
        ),
        (58, ANYBODY, ops::Statfs { node: NodeId::ROOT }.into()),
        (59, ANYBODY, ops::Opendir { node: DIR, flags: o(DIRECTORY_LARGE), ..Default::default() }.into()),
        (60, ANYBODY, ops::Fsyncdir { node: DIR, fh: FileHandle(3), ..Default::default() }.into()),
        (
            62,
            ANYBODY,
            ops::Readdir { flags: o(DIRECTORY_LARGE), ..ops::Readdir::new(DIR, FileHandle(3), 0, 32 << 10) }.into(),
        ),
        (
            64,
            ROOT,
            ops::Releasedir { node: DIR, fh: FileHandle(3), flags: o(DIRECTORY_LARGE), ..Default::default() }.into(),
        ),
        (65, ANYBODY, ops::Open { node: FILE, ..Default::default() }.into()),
        (
            66,
            ANYBODY,
            ops::Ioctl { node: FILE, fh: FileHandle(4), cmd: 0x8008_6601, out_size: 4, ..Default::default() }.into(),
        ),
        (67, ROOT, ops::Release { node: FILE, fh: FileHandle(4), ..Default::default() }.into()),
        (
            68,
            ROOT,
            ops::Tmpfile {
                parent: NodeId::ROOT,
                flags: o(RDWR_LARGE | DIRECTORY_LARGE | 0o20_000_000),
                mode: 0o100_600,
                umask: 0o22,
                ..Default::default()
            }
            .into(),
        ),
        (69, ANYBODY, ops::Syncfs { node: NodeId::ROOT }.into()),
        (
            74,
            ANYBODY,
            ops::Setupmapping {
                node: FILE,
                fh: FileHandle::NONE,
                foffset: 4 << 20,
                len: 2 << 20,
                flags: MapFlags::READ | MapFlags::WRITE,
                moffset: 4 << 20,
            }
            .into(),
        ),
        (79, ANYBODY, ops::Open { node: FILE, flags: o(RDWR_LARGE | 0o1000), ..Default::default() }.into()),
        (81, ANYBODY, ops::Flush { node: FILE, fh: FileHandle(8), lock_owner: OWNER }.into()),
        (87, ANYBODY, ops::Unlink { parent: DIR, name: b"copy" }.into()),
        (89, KERNEL, ops::Forget { node: NodeId(8), nlookup: 2 }.into()),
        (91, ANYBODY, ops::Rmdir { parent: NodeId::ROOT, name: b"d1" }.into()),
        (
            97,
            ROOT,
            ops::Create {
                parent: NodeId::ROOT,
                name: "name\u{e9} with space".as_bytes(),
                flags: o(RDWR_LARGE | 0o100),
                mode: 0o100_644,
                umask: 0o22,
                ..Default::default()
            }
            .into(),
        ),
        (98, ANYBODY, ops::Lookup { parent: NodeId::ROOT, name: name255 }.into()),
        (294, Context { pid: 1, ..ANYBODY }, ops::Removemapping { node: FILE, ranges: List::new(ranges) }.into()),
        (340, Context { pid: 105, ..ROOT }, ops::Destroy.into()),
    ]
}

#[test]
fn the_client_sends_what_linux_sent_for_the_same_call() {
    let capture = capture();
    let protocol = negotiated(&capture[0]);
    // The capture keeps 4096 bytes of a message: the rest of this one is not known.
    let mut big = vec![0; 65536];
    big[..4096 - 80].copy_from_slice(&capture[16].req[80..]);
    let ranges = [4 << 20, 2 << 20, 0].map(|moffset| MappingRange::new(moffset, 2 << 20));
    let mut opcodes = BTreeSet::from([26]);
    for (line, context, call) in calls(&big, &[b'x'; 255], &ranges) {
        let sent = capture[line].request();
        opcodes.insert(capture[line].opcode);
        let unique = Unique(u64::from_le_bytes(sent[8..16].try_into().unwrap()));
        match call.encode(&protocol, unique, context) {
            Ok(message) => {
                // A message can be long: the first byte that differs is enough to see.
                let encoded = bytes(&message);
                let differs = (encoded != *sent)
                    .then(|| encoded.iter().zip(sent.iter()).position(|(ours, theirs)| ours != theirs));
                assert!(encoded.len() == sent.len() && differs.is_none(), "line {line}, byte {differs:?}: {call:?}");
            }
            Err(EncodeError::ByteOrder) => assert!(borrows_a_native_list(&call, &protocol), "line {line}"),
            Err(error) => panic!("line {line}: {error}"),
        }
    }
    assert_eq!(opcodes, capture.iter().map(|exchange| exchange.opcode).collect());
}

#[test]
fn the_client_offers_what_linux_offered() {
    let capture = capture();
    let sent = capture[0].request();
    let flags = InitFlags::from_bits_retain(0x05fd_7fff_fffb);
    let init = Negotiation::new(Offer::new(flags)).init();
    let initial = Protocol::INITIAL.with_byte_order(ByteOrder::Little);
    let context = Context { uid: 0, gid: 0, pid: 0x66 };
    assert_eq!(bytes(&init.encode(&initial, Unique(2), context).unwrap()), sent.as_ref());
}

#[test]
fn the_server_granted_this() {
    let protocol = negotiated(&capture()[0]);
    assert_eq!(protocol.minor(), 38);
    assert_eq!((protocol.max_write(), protocol.max_pages()), (1 << 20, 256));
    assert_eq!((protocol.time_gran(), protocol.max_readahead()), (1, 128 << 10));
    assert_eq!(protocol.map_alignment(), None);
    assert_eq!(protocol.unoffered(), InitFlags::empty());
    assert!(protocol.has(InitFlags::SUBMOUNTS | InitFlags::INIT_EXT | InitFlags::CREATE_SUPP_GROUP));
}

#[test]
fn replies_mean_what_they_should() {
    let capture = capture();
    let protocol = negotiated(&capture[0]);
    let reply = |line: usize| (capture[line].rep_len, capture[line].reply());
    let unique = |line: usize| RequestHeader::parse(ByteOrder::Little, &capture[line].request()).unwrap().unique;

    let (used, bytes) = reply(2);
    let lookup = ops::Lookup { parent: NodeId::ROOT, name: b"d1" };
    let answer = lookup.decode_whole(&protocol, unique(2), used, &bytes);
    assert_eq!(answer, Err(ReplyError::Refused(Errno::ENOENT)));

    let (used, bytes) = reply(3);
    let mkdir = ops::Mkdir { parent: NodeId::ROOT, name: b"d1", ..Default::default() };
    let entry = mkdir.decode_whole(&protocol, unique(3), used, &bytes).unwrap();
    assert_eq!((entry.node, entry.generation), (DIR, 0));
    assert_eq!((entry.entry_valid, entry.attr_valid), (Duration::from_secs(5), Duration::from_secs(5)));
    assert_eq!((entry.attr.file_type(), entry.attr.permissions()), (Some(FileType::Directory), 0o755));
    assert_eq!(entry.attr.mtime, Timestamp::new(0x6b01_1833, 0x190e_5053));

    // Header and body in buffers of their own.
    let (used, bytes) = reply(14);
    let create = ops::Create { parent: DIR, name: b"file1", ..Default::default() };
    let created = create.decode(&protocol, unique(14), used, &bytes[..16], &bytes[16..]).unwrap();
    assert_eq!((created.entry.node, created.opened.fh), (FILE, FH));

    let (used, bytes) = reply(62);
    let readdir = ops::Readdir::new(DIR, FileHandle(3), 0, 32 << 10);
    let listing = readdir.decode_whole(&protocol, unique(62), used, &bytes).unwrap();
    let entries: Vec<DirEntry<'_>> = listing.entries(&protocol).collect::<Result<_, _>>().unwrap();
    let mut names: Vec<_> = entries.iter().filter(|entry| !entry.is_dot()).map(|entry| entry.name).collect();
    names.sort_unstable();
    assert_eq!(names, [&b"copy"[..], b"d2", b"file1", b"hard2", b"sym"]);
    assert_eq!(entries.iter().filter(|entry| entry.is_dot()).count(), 2);
    assert_eq!(entries.last().unwrap().offset, i64::MAX as u64);

    let (used, bytes) = reply(63);
    let readdir = ops::Readdir::new(DIR, FileHandle(3), i64::MAX as u64, 32 << 10);
    assert!(readdir.decode_whole(&protocol, unique(63), used, &bytes).unwrap().is_empty());

    let (used, bytes) = reply(58);
    let totals = ops::Statfs { node: NodeId::ROOT }.decode_whole(&protocol, unique(58), used, &bytes).unwrap();
    assert_eq!((totals.namelen, totals.frsize), (255, 4096));

    let (used, bytes) = reply(340);
    assert_eq!(ops::Destroy.decode_whole(&protocol, unique(340), used, &bytes), Ok(()));
}

#[test]
fn a_message_of_the_other_order_is_read_as_such() {
    let native = Protocol::new(38, InitFlags::SETXATTR_EXT);
    let other = native.with_byte_order(ByteOrder::NATIVE.reversed());
    let setattr = ops::Setattr::new(FILE).size(0x0102_0304).mtime(Timestamp::new(-2, 5)).uid(7);
    let setxattr = ops::Setxattr { node: FILE, name: b"user.k", value: b"value", ..Default::default() };
    for body in [RequestBody::from(setattr), RequestBody::from(setxattr)] {
        let there = bytes(&body.encode(&other, Unique(2), ROOT).unwrap());
        assert_ne!(there, bytes(&body.encode(&native, Unique(2), ROOT).unwrap()));
        assert_eq!(Request::parse(&other, &there).unwrap().body, body);
        assert!(Request::parse(&native, &there).is_err());
    }
    let items = [ForgetOne::new(FILE, 3), ForgetOne::new(DIR, 1)];
    let list = ops::BatchForget { items: List::new(&items) };
    assert_eq!(list.encode(&other, Unique(2), KERNEL).unwrap_err(), EncodeError::ByteOrder);
}

/// With `UPDATE_EXTRACT` in the environment, writes it anew instead.
#[test]
#[cfg_attr(miri, ignore = "there, the extract stands for the capture")]
fn the_extract_is_the_capture() {
    if std::env::var_os("UPDATE_EXTRACT").is_some() {
        let place = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/fuse-wire-linux-7.2-dax.bin");
        std::fs::write(place, extract::write(capture())).unwrap();
        return;
    }
    let same = extract::write(capture()) == extract::EXTRACT && extract::read(extract::EXTRACT) == capture();
    assert!(same, "`UPDATE_EXTRACT=1 cargo test -p fuse-proto --test fixture` writes the file anew");
}
