//! Replies that a device should not give, and those that old servers do.

use fuse_proto::{
    Context, DecodeError, Directory, EncodeError, Entry, Errno, Extensions, ExtensionsBuilder, FileHandle, FileType,
    ForgetOne, InitFlags, IoctlFlags, IoctlVector, List, LockFlags, LockOwner, MapFlags, MappingRange, NameError,
    NodeId, Operation, Protocol, ReplyError, ReplyHeader, ReplyMessage, Request, RequestBody, SecurityContext,
    SetxattrFlags, Timestamp, Unique, ops,
};

const UNIQUE: Unique = Unique(0x1_0000_0002);

fn protocol(minor: u32) -> Protocol {
    Protocol::new(minor, InitFlags::empty())
}

/// A reply as a device writes it.
fn reply(len: u32, error: i32, unique: Unique, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&len.to_ne_bytes());
    bytes.extend_from_slice(&error.to_ne_bytes());
    bytes.extend_from_slice(&unique.0.to_ne_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// A reply that has the right header for its body.
fn good(body: &[u8]) -> Vec<u8> {
    reply(16 + body.len() as u32, 0, UNIQUE, body)
}

fn written<O: Operation>(protocol: &Protocol, op: &O, body: &O::Reply<'_>) -> Vec<u8> {
    let message = op.reply(protocol, UNIQUE, body).unwrap();
    let mut bytes = vec![0xff; message.len()];
    message.copy_to(&mut bytes).unwrap();
    bytes
}

fn sent<O: Operation>(protocol: &Protocol, op: &O) -> Vec<u8> {
    let message = op.encode(protocol, UNIQUE, Context::default()).unwrap();
    let mut bytes = vec![0xff; message.len()];
    message.copy_to(&mut bytes).unwrap();
    bytes
}

fn invalid<T>(result: Result<T, ReplyError>) -> DecodeError {
    match result {
        Err(ReplyError::Invalid(error)) => error,
        Err(ReplyError::Refused(errno)) => panic!("refused: {errno}"),
        Ok(_) => panic!("taken"),
    }
}

fn file() -> Entry {
    let mut entry = Entry { node: NodeId(5), ..Entry::default() };
    entry.attr.mode = 0o100_644;
    entry
}

#[test]
fn the_header_of_a_reply_is_checked_before_anything_else() {
    let protocol = protocol(45);
    let flush = ops::Flush::default();
    let decode = |used, bytes: &[u8]| flush.decode_whole(&protocol, UNIQUE, used, bytes);
    assert_eq!(decode(16, &good(&[])), Ok(()));
    // Nothing was written, or less than a header.
    assert!(matches!(invalid(decode(0, &good(&[]))), DecodeError::Truncated { need: 16, have: 0, .. }));
    assert!(matches!(invalid(decode(15, &good(&[]))), DecodeError::Truncated { need: 16, have: 15, .. }));
    // The header says more or less than the device says.
    assert_eq!(invalid(decode(17, &good(&[]))), DecodeError::Length { len: 16, used: 17 });
    let longer = reply(4096, 0, UNIQUE, &[]);
    assert_eq!(invalid(decode(16, &longer)), DecodeError::Length { len: 4096, used: 16 });
    // It answers somebody else.
    let other = reply(16, 0, Unique(UNIQUE.0 + 2), &[]);
    let expected = DecodeError::Unique { expected: UNIQUE, found: Unique(UNIQUE.0 + 2) };
    assert_eq!(invalid(decode(16, &other)), expected);
    // Errors are -4095 to 0, and have no body.
    assert_eq!(decode(16, &reply(16, -5, UNIQUE, &[])), Err(ReplyError::Refused(Errno::EIO)));
    assert_eq!(decode(16, &reply(16, -512, UNIQUE, &[])).unwrap_err().errno().unwrap().number(), 512);
    for error in [1, 5, -4096, i32::MIN] {
        assert_eq!(invalid(decode(16, &reply(16, error, UNIQUE, &[]))), DecodeError::ErrorRange { error });
    }
    let with_body = reply(24, -2, UNIQUE, &[0; 8]);
    assert_eq!(invalid(decode(24, &with_body)), DecodeError::ErrorWithBody { errno: Errno::ENOENT, len: 24 });
    // The device claims more than the buffer has.
    let claims = reply(64, 0, UNIQUE, &[]);
    assert!(matches!(invalid(decode(64, &claims)), DecodeError::Truncated { need: 48, have: 0, .. }));
}

#[test]
fn a_reply_has_the_size_of_its_kind() {
    let protocol = protocol(45);
    let size = |result: DecodeError| match result {
        DecodeError::Size { min, max, have, .. } => (min, max, have),
        other => panic!("{other}"),
    };
    let body = [0; 4096];
    let lookup = ops::Lookup { parent: NodeId::ROOT, name: b"name" };
    for have in [0, 8, 120, 127, 129, 144] {
        let bytes = good(&body[..have]);
        let error = invalid(lookup.decode_whole(&protocol, UNIQUE, bytes.len(), &bytes));
        assert_eq!(size(error), (128, 128, have as u64));
    }
    let read = ops::Read::new(NodeId(5), FileHandle(0), 0, 100);
    let bytes = good(&body[..100]);
    assert_eq!(read.decode_whole(&protocol, UNIQUE, 116, &bytes).map(<[u8]>::len), Ok(100));
    let bytes = good(&body[..101]);
    assert_eq!(size(invalid(read.decode_whole(&protocol, UNIQUE, 117, &bytes))), (0, 100, 101));
    let bytes = good(&body[..8]);
    let mapping = ops::Setupmapping { flags: MapFlags::READ, ..Default::default() };
    assert_eq!(size(invalid(mapping.decode_whole(&protocol, UNIQUE, 24, &bytes))), (0, 0, 8));
    let init = ops::Init { major: 7, minor: 45, max_readahead: 0, flags: InitFlags::empty() };
    for have in [0, 4, 9, 16, 23, 63, 65] {
        let bytes = good(&body[..have]);
        invalid(init.decode_whole(&protocol, UNIQUE, bytes.len(), &bytes));
    }
}

#[test]
fn requests_without_a_reply() {
    let protocol = protocol(45);
    let forget = ops::Forget { node: NodeId(5), nlookup: 1 };
    assert_eq!(forget.decode_whole(&protocol, UNIQUE, 0, &[]), Ok(()));
    assert!(matches!(
        invalid(forget.decode_whole(&protocol, UNIQUE, 16, &good(&[]))),
        DecodeError::UnexpectedReply { used: 16, .. }
    ));
    assert!(matches!(forget.reply(&protocol, UNIQUE, &()), Err(EncodeError::NoReply(_))));
    // These two may be answered or not.
    assert_eq!(ops::Destroy.decode_whole(&protocol, UNIQUE, 0, &[]), Ok(()));
    assert_eq!(ops::Destroy.decode_whole(&protocol, UNIQUE, 16, &good(&[])), Ok(()));
    let interrupt = ops::Interrupt { unique: Unique(2) };
    assert_eq!(interrupt.decode_whole(&protocol, UNIQUE, 0, &[]), Ok(()));
    let again = reply(16, -11, UNIQUE, &[]);
    assert_eq!(interrupt.decode_whole(&protocol, UNIQUE, 16, &again), Err(ReplyError::Refused(Errno::EAGAIN)));
}

// Long: one case after another, each with the field that it names.
#[test]
fn numbers_that_cannot_be() {
    let protocol = protocol(45);
    let field = |error: DecodeError| match error {
        DecodeError::Field { field, .. } => field,
        other => panic!("{other}"),
    };
    let lookup = ops::Lookup { parent: NodeId::ROOT, name: b"name" };
    let patched = |at: usize, bytes: &[u8]| {
        let mut reply = written(&protocol, &lookup, &file());
        reply[16 + at..16 + at + bytes.len()].copy_from_slice(bytes);
        reply
    };
    let look = |reply: Vec<u8>| lookup.decode_whole(&protocol, UNIQUE, reply.len(), &reply);
    let billion = 1_000_000_000_u32.to_ne_bytes();
    assert_eq!(field(invalid(look(patched(32, &billion)))), "fuse_entry_out.entry_valid_nsec");
    assert_eq!(field(invalid(look(patched(36, &billion)))), "fuse_entry_out.attr_valid_nsec");
    assert_eq!(field(invalid(look(patched(88, &billion)))), "fuse_attr.atimensec");
    assert_eq!(field(invalid(look(patched(92, &billion)))), "fuse_attr.mtimensec");
    assert_eq!(field(invalid(look(patched(96, &billion)))), "fuse_attr.ctimensec");
    assert_eq!(field(invalid(look(patched(100, &0o644_u32.to_ne_bytes())))), "fuse_attr.mode");
    assert_eq!(field(invalid(look(patched(48, &(1_u64 << 63).to_ne_bytes())))), "fuse_attr.size");
    // The longest time there is does not overflow anything.
    let entry = look(patched(16, &u64::MAX.to_ne_bytes())).unwrap();
    assert_eq!(entry.entry_valid.as_secs(), u64::MAX);
    // No such name: the attributes have no meaning.
    let mut negative = patched(0, &0_u64.to_ne_bytes());
    negative[16 + 100..16 + 104].fill(0);
    assert!(look(negative).unwrap().is_negative());

    // What was just made is there, and is not the root.
    fn refused<O: for<'a> Operation<Reply<'a> = R>, R: core::fmt::Debug + PartialEq>(op: &O, bytes: &[u8]) {
        let protocol = Protocol::new(45, InitFlags::empty());
        let error = invalid(op.decode_whole(&protocol, UNIQUE, bytes.len(), bytes));
        assert!(matches!(error, DecodeError::Field { field: "fuse_entry_out.nodeid", .. }), "{}: {error}", O::OPCODE);
    }
    for node in [NodeId::NONE, NodeId::ROOT] {
        let entry = Entry { node, ..file() };
        let bytes = written(&protocol, &ops::Mkdir::default(), &entry);
        refused(&ops::Mkdir::default(), &bytes);
        refused(&ops::Mknod::default(), &bytes);
        refused(&ops::Symlink::default(), &bytes);
        refused(&ops::Link::default(), &bytes);
        let created = ops::Created { entry, opened: ops::Opened::default() };
        let bytes = written(&protocol, &ops::Create::default(), &created);
        refused(&ops::Create::default(), &bytes);
        refused(&ops::Tmpfile::default(), &bytes);
    }
    let create = ops::Create { parent: NodeId::ROOT, name: b"name", ..Default::default() };
    let mut folder = file();
    folder.attr.mode = FileType::Directory.to_mode();
    let bytes = written(&protocol, &create, &ops::Created { entry: folder, opened: ops::Opened::default() });
    assert_eq!(field(invalid(create.decode_whole(&protocol, UNIQUE, bytes.len(), &bytes))), "fuse_attr.mode");

    // More was written, copied or found than was asked for.
    let write = ops::Write::new(NodeId(5), FileHandle(0), 0, b"12345");
    let bytes = written(&protocol, &write, &ops::Written { size: 6 });
    assert_eq!(field(invalid(write.decode_whole(&protocol, UNIQUE, bytes.len(), &bytes))), "fuse_write_out.size");
    let copy = ops::CopyFileRange64 { len: 4096, ..Default::default() };
    let bytes = written(&protocol, &copy, &ops::Copied64 { size: 4097 });
    let error = invalid(copy.decode_whole(&protocol, UNIQUE, bytes.len(), &bytes));
    assert_eq!(field(error), "fuse_copy_file_range_out.bytes_copied");
    let seek = ops::Lseek::default();
    let bytes = written(&protocol, &seek, &ops::Sought { offset: 1 << 63 });
    assert_eq!(field(invalid(seek.decode_whole(&protocol, UNIQUE, bytes.len(), &bytes))), "fuse_lseek_out.offset");
}

#[test]
fn the_second_word_of_flags_counts_only_if_the_first_says_so() {
    let asked = InitFlags::HAS_INODE_DAX | InitFlags::INIT_EXT | InitFlags::MAX_PAGES;
    let init = ops::Init { major: 7, minor: 45, max_readahead: 0, flags: asked };
    let mut body = [0; 64];
    body[..4].copy_from_slice(&7_u32.to_ne_bytes());
    body[4..8].copy_from_slice(&38_u32.to_ne_bytes());
    // Bit 33 stands in the second word, whatever an old server left there.
    body[32..36].copy_from_slice(&2_u32.to_ne_bytes());
    for (low, granted) in [(InitFlags::MAX_PAGES, InitFlags::MAX_PAGES), (asked, asked)] {
        body[12..16].copy_from_slice(&low.to_words().0.to_ne_bytes());
        let answer = init.decode_whole(&Protocol::INITIAL, UNIQUE, 80, &good(&body)).unwrap();
        assert_eq!(answer.flags, granted);
        // The same for what a client offers: its words stand 40 bytes behind the start, at 12 and 16.
        let mut request = sent(&Protocol::INITIAL, &init);
        request[52..56].copy_from_slice(&low.to_words().0.to_ne_bytes());
        let Request { body: RequestBody::Init(offer), .. } = Request::parse(&Protocol::INITIAL, &request).unwrap()
        else {
            panic!("it is no INIT");
        };
        assert_eq!(offer.flags, granted);
    }
}

#[test]
fn links_point_somewhere() {
    let protocol = protocol(45);
    let readlink = ops::Readlink { node: NodeId(5) };
    let name = |body: &[u8]| match invalid(readlink.decode_whole(&protocol, UNIQUE, 16 + body.len(), &good(body))) {
        DecodeError::Name { error, .. } => error,
        other => panic!("{other}"),
    };
    assert_eq!(name(b""), NameError::Empty);
    assert_eq!(name(b"a\0b"), NameError::Nul { at: 1 });
    assert_eq!(readlink.decode_whole(&protocol, UNIQUE, 19, &good(b"../")), Ok(&b"../"[..]));
}

#[test]
fn locks_have_an_order() {
    let protocol = protocol(45);
    let lock = ops::FileLock { start: 5, end: 9, kind: ops::LockKind::Write, pid: 0 };
    let getlk = ops::Getlk { node: NodeId(5), fh: FileHandle(0), owner: LockOwner(1), lock, flags: LockFlags::empty() };
    let decode = |lock| {
        let bytes = written(&protocol, &getlk, &lock);
        getlk.decode_whole(&protocol, UNIQUE, bytes.len(), &bytes)
    };
    assert_eq!(decode(lock), Ok(lock));
    assert!(matches!(invalid(decode(ops::FileLock { end: 4, ..lock })), DecodeError::Field { value: 4, .. }));
    assert!(matches!(invalid(decode(ops::FileLock { end: 1 << 63, ..lock })), DecodeError::Field { .. }));
    let none = ops::FileLock { start: 9, end: 0, kind: ops::LockKind::Unlock, pid: 0 };
    assert_eq!(decode(none), Ok(none));
    let mut odd = written(&protocol, &getlk, &lock);
    odd[32..36].copy_from_slice(&3_u32.to_ne_bytes());
    let error = invalid(getlk.decode_whole(&protocol, UNIQUE, odd.len(), &odd));
    assert_eq!(error, DecodeError::Field { field: "fuse_file_lock.type", value: 3 });
    let bad = ops::Setlk {
        lock: ops::FileLock { end: 4, ..lock },
        node: NodeId(5),
        fh: FileHandle(0),
        owner: LockOwner(1),
        flags: LockFlags::empty(),
    };
    assert!(matches!(bad.encode(&protocol, UNIQUE, Context::default()), Err(EncodeError::Field { .. })));
}

#[test]
fn a_command_may_ask_for_another_try_only_if_it_may() {
    let protocol = protocol(45);
    let vectors = [IoctlVector::new(0x1000, 8), IoctlVector::new(0x2000, 16)];
    let retry = ops::IoctlReply::Retry { flags: IoctlFlags::RETRY, in_iovs: 1, vectors: List::new(&vectors) };
    let free = ops::Ioctl { flags: IoctlFlags::UNRESTRICTED, ..Default::default() };
    let bytes = written(&protocol, &free, &retry);
    assert_eq!(free.decode_whole(&protocol, UNIQUE, bytes.len(), &bytes), Ok(retry));
    let bound = ops::Ioctl { out_size: 4096, ..Default::default() };
    let error = invalid(bound.decode_whole(&protocol, UNIQUE, bytes.len(), &bytes));
    assert!(matches!(error, DecodeError::Field { field: "fuse_ioctl_out.flags", .. }));
    // Counts that lie.
    let mut many = bytes.clone();
    many[24..28].copy_from_slice(&u32::MAX.to_ne_bytes());
    assert!(matches!(
        invalid(free.decode_whole(&protocol, UNIQUE, many.len(), &many)),
        DecodeError::Field { value: 0x1_0000_0000, .. }
    ));
    many[24..28].copy_from_slice(&2_u32.to_ne_bytes());
    assert!(matches!(
        invalid(free.decode_whole(&protocol, UNIQUE, many.len(), &many)),
        DecodeError::Truncated { need: 48, have: 32, .. }
    ));
}

#[test]
fn sizes_of_old_versions() {
    let entry = file();
    let attributes = fuse_proto::AttrReply { attr: entry.attr, ..Default::default() };
    let created = ops::Created { entry, opened: ops::Opened { fh: FileHandle(3), ..Default::default() } };
    let totals = ops::StatfsReply { blocks: 5, ..Default::default() };
    let lookup = ops::Lookup { parent: NodeId::ROOT, name: b"name" };
    let create = ops::Create { parent: NodeId::ROOT, name: b"name", ..Default::default() };
    for (minor, entry_len, attr_len, create_len, statfs_len) in
        [(3, 120, 96, 136, 48), (4, 120, 96, 136, 80), (8, 120, 96, 136, 80), (9, 128, 104, 144, 80)]
    {
        let protocol = protocol(minor);
        let all = [
            (written(&protocol, &lookup, &entry), entry_len),
            (written(&protocol, &ops::Getattr::default(), &attributes), attr_len),
            (written(&protocol, &create, &created), create_len),
            (written(&protocol, &ops::Statfs::default(), &totals), statfs_len),
        ];
        for (bytes, len) in &all {
            assert_eq!(bytes.len(), 16 + len, "minor {minor}");
        }
        let decoded = create.decode_whole(&protocol, UNIQUE, all[2].0.len(), &all[2].0).unwrap();
        assert_eq!(decoded, created, "minor {minor}");
        // The size of another version is refused.
        let other = self::protocol(if minor < 9 { 45 } else { 8 });
        invalid(lookup.decode_whole(&other, UNIQUE, all[0].0.len(), &all[0].0));
    }
    // Requests: their headers have 40 bytes.
    let write = ops::Write::new(NodeId(5), FileHandle(0), 0, b"12345");
    let mknod = ops::Mknod { parent: NodeId::ROOT, name: b"name", ..Default::default() };
    let setxattr = ops::Setxattr { node: NodeId(5), name: b"user.k", value: b"v", ..Default::default() };
    assert_eq!(sent(&protocol(8), &write).len(), 40 + 24 + 5);
    assert_eq!(sent(&protocol(9), &write).len(), 40 + 40 + 5);
    assert_eq!(sent(&protocol(11), &mknod).len(), 40 + 8 + 5);
    assert_eq!(sent(&protocol(12), &mknod).len(), 40 + 16 + 5);
    assert_eq!(sent(&protocol(11), &create).len(), 40 + 8 + 5);
    assert_eq!(sent(&protocol(12), &create).len(), 40 + 16 + 5);
    assert_eq!(sent(&protocol(8), &ops::Getattr::default()).len(), 40);
    assert_eq!(sent(&protocol(9), &ops::Getattr::default()).len(), 56);
    assert_eq!(sent(&protocol(45), &setxattr).len(), 40 + 8 + 7 + 1);
    assert_eq!(sent(&Protocol::new(45, InitFlags::SETXATTR_EXT), &setxattr).len(), 40 + 16 + 7 + 1);
    let flagged = ops::Setxattr { setxattr_flags: SetxattrFlags::ACL_KILL_SGID, ..setxattr };
    let refused = flagged.encode(&protocol(45), UNIQUE, Context::default());
    assert!(matches!(refused, Err(EncodeError::NotNegotiated { .. })));
}

#[test]
fn requests_of_old_versions_are_as_long_as_those_wrote_them() {
    let lock = ops::FileLock { start: 0, end: 9, kind: ops::LockKind::Write, pid: 0 };
    let setlk = ops::Setlk { node: NodeId(5), fh: FileHandle(2), owner: LockOwner(0), lock, flags: LockFlags::empty() };
    let release = ops::Release { node: NodeId(5), fh: FileHandle(2), ..Default::default() };
    let releasedir = ops::Releasedir { node: NodeId(5), fh: FileHandle(2), ..Default::default() };
    for (minor, release_len, lock_len) in [(7, 16, 40), (8, 24, 40), (9, 24, 48), (45, 24, 48)] {
        let protocol = protocol(minor);
        for (bytes, len, body) in [
            (sent(&protocol, &release), release_len, RequestBody::from(release)),
            (sent(&protocol, &releasedir), release_len, releasedir.into()),
            (sent(&protocol, &setlk), lock_len, setlk.into()),
        ] {
            assert_eq!(bytes.len(), 40 + len, "7.{minor}: {body:?}");
            assert_eq!(Request::parse(&protocol, &bytes).unwrap().body, body, "7.{minor}");
        }
    }
    // A READ without owner and flags is what clients of 7.8 send, and what a later one cannot.
    let read = ops::Read::new(NodeId(5), FileHandle(2), 4096, 512);
    let mut bytes = sent(&protocol(8), &read);
    assert_eq!(Request::parse(&protocol(8), &bytes).unwrap().body, read.into());
    bytes.truncate(64);
    bytes[..4].copy_from_slice(&64_u32.to_ne_bytes());
    assert_eq!(Request::parse(&protocol(8), &bytes).unwrap().body, read.into());
    assert!(matches!(Request::parse(&protocol(9), &bytes), Err(DecodeError::Truncated { need: 40, have: 24, .. })));
}

#[test]
fn data_is_as_long_as_its_size_says() {
    let protocol = protocol(45);
    let data = b"12345678";
    // Where each has the size of its data, behind the header.
    for (mut bytes, at) in [
        (sent(&protocol, &ops::Write::new(NodeId(5), FileHandle(0), 0, data)), 16),
        (sent(&protocol, &ops::Setxattr { name: b"user.k", value: data, ..Default::default() }), 0),
        (sent(&protocol, &ops::Ioctl { data, ..Default::default() }), 24),
        (sent(&protocol, &ops::NotifyReply { node: NodeId(5), offset: 0, data }), 16),
    ] {
        let at = 40 + at;
        assert_eq!(bytes[at..at + 4], 8_u32.to_ne_bytes());
        assert!(Request::parse(&protocol, &bytes).is_ok());
        for (size, error) in [(7_u32, "1 bytes follow"), (9, "needs 9 bytes, only 8"), (u32::MAX, "only 8 are there")] {
            bytes[at..at + 4].copy_from_slice(&size.to_ne_bytes());
            let refused = Request::parse(&protocol, &bytes).unwrap_err().to_string();
            assert!(refused.contains(error), "{refused}");
        }
    }
}

#[test]
fn names_are_checked_on_both_sides() {
    let protocol = protocol(45);
    let encode = |name: &[u8]| {
        let lookup = ops::Lookup { parent: NodeId::ROOT, name };
        lookup.encode(&protocol, UNIQUE, Context::default()).map(|_| ())
    };
    let refused = |error| Err(EncodeError::Name { field: "LOOKUP name", error });
    assert_eq!(encode(b"name"), Ok(()));
    assert_eq!(encode(b""), refused(NameError::Empty));
    assert_eq!(encode(b"."), refused(NameError::Dot));
    assert_eq!(encode(b".."), refused(NameError::Dot));
    assert_eq!(encode(b"a/b"), refused(NameError::Slash { at: 1 }));
    assert_eq!(encode(b"a\0"), refused(NameError::Nul { at: 1 }));

    // What a client that does not check would send.
    let forged = |name: &[u8]| {
        let mut bytes = sent(&protocol, &ops::Lookup { parent: NodeId::ROOT, name: b"name" });
        bytes.truncate(40);
        bytes.extend_from_slice(name);
        let len = bytes.len() as u32;
        bytes[..4].copy_from_slice(&len.to_ne_bytes());
        Request::parse(&protocol, &bytes).map(|_| ())
    };
    let field = "LOOKUP name";
    assert_eq!(forged(b"name\0"), Ok(()));
    assert_eq!(forged(b"name"), Err(DecodeError::Name { field, error: NameError::Unterminated }));
    assert_eq!(forged(b""), Err(DecodeError::Name { field, error: NameError::Unterminated }));
    assert_eq!(forged(b"\0"), Err(DecodeError::Name { field, error: NameError::Empty }));
    assert_eq!(forged(b"..\0"), Err(DecodeError::Name { field, error: NameError::Dot }));
    assert_eq!(forged(b"../x\0"), Err(DecodeError::Name { field, error: NameError::Slash { at: 2 } }));
    assert_eq!(forged(b"na\0me\0"), Err(DecodeError::Trailing { what: "LOOKUP", extra: 3 }));

    // With the right to, the places can be looked up, and only looked up.
    let export = Protocol::new(45, InitFlags::EXPORT_SUPPORT);
    let dots = sent(&export, &ops::Lookup { parent: NodeId(5), name: b".." });
    assert!(Request::parse(&export, &dots).is_ok());
    assert!(Request::parse(&protocol, &dots).is_err());
    let unlink = ops::Unlink { parent: NodeId(5), name: b".." };
    assert!(unlink.encode(&export, UNIQUE, Context::default()).is_err());
}

#[test]
fn extensions_are_where_the_version_has_them() {
    let mut buffer = [0; 128];
    let mut builder = ExtensionsBuilder::new(&mut buffer);
    builder.security_contexts(&[SecurityContext { name: b"security.selinux", value: b"ctx\0" }]).unwrap();
    let extensions = builder.finish();
    let mkdir = ops::Mkdir { parent: NodeId::ROOT, name: b"name", extensions, ..Default::default() };
    for (minor, counted) in
        [(36, 0), (37, 0), (38, extensions.as_bytes().len() / 8), (45, extensions.as_bytes().len() / 8)]
    {
        let protocol = Protocol::new(minor, InitFlags::SECURITY_CTX);
        let bytes = sent(&protocol, &mkdir);
        assert_eq!(usize::from(u16::from_ne_bytes([bytes[36], bytes[37]])), counted, "minor {minor}");
        let request = Request::parse(&protocol, &bytes).unwrap();
        assert_eq!(request.body, RequestBody::Mkdir(mkdir), "minor {minor}");
        // Who did not agree on it does not take it.
        assert!(Request::parse(&self::protocol(minor), &bytes).is_err(), "minor {minor}");
    }
    let refused = mkdir.encode(&protocol(45), UNIQUE, Context::default());
    assert!(matches!(refused, Err(EncodeError::NotNegotiated { .. })));
    let without = ops::Mkdir { extensions: Extensions::none(), ..mkdir };
    assert!(without.encode(&protocol(45), UNIQUE, Context::default()).is_ok());
}

#[test]
fn lists_are_as_long_as_they_say() {
    let protocol = protocol(45);
    let ranges = [MappingRange::new(0, 1); 257];
    let remove = |count: usize| ops::Removemapping { node: NodeId(5), ranges: List::new(&ranges[..count]) };
    assert_eq!(sent(&protocol, &remove(0)).len(), 44);
    let full = sent(&protocol, &remove(256));
    assert_eq!(full.len(), 44 + 4096);
    assert!(matches!(
        remove(257).encode(&protocol, UNIQUE, Context::default()),
        Err(EncodeError::Field { field: "fuse_removemapping_in.count", value: 257 })
    ));
    for count in [255_u32, 257, u32::MAX] {
        let mut lie = full.clone();
        lie[40..44].copy_from_slice(&count.to_ne_bytes());
        assert!(Request::parse(&protocol, &lie).is_err(), "{count}");
    }
}

#[test]
fn what_an_old_server_would_ignore_is_not_sent() {
    let items = [ForgetOne::new(NodeId(5), 1)];
    let forget = ops::BatchForget { items: List::new(&items) };
    assert!(matches!(
        forget.encode(&protocol(15), UNIQUE, Context::default()),
        Err(EncodeError::Version { minor: 16, have: 15, .. })
    ));
    assert_eq!(sent(&protocol(16), &forget).len(), 40 + 8 + 16);
}

#[test]
fn data_is_never_copied() {
    let protocol = protocol(45);
    let data = vec![7; 1 << 20];
    let write = ops::Write::new(NodeId(5), FileHandle(0), 0, &data);
    let message = write.encode(&protocol, UNIQUE, Context::default()).unwrap();
    assert!(core::ptr::eq(message.data(), data.as_slice()));
    assert_eq!(message.control_len(), 80);
    let mut control = [0; 80];
    assert_eq!(message.copy_control_to(&mut control), Ok(80));
    assert_eq!(u32::from_ne_bytes(control[..4].try_into().unwrap()) as usize, 80 + data.len());
    assert!(matches!(message.copy_control_to(&mut control[..79]), Err(EncodeError::Buffer { need: 80, have: 79 })));
    assert!(matches!(message.copy_to(&mut control), Err(EncodeError::Buffer { .. })));
    let read = ops::Read::new(NodeId(5), FileHandle(0), 0, 1 << 20);
    let body: &[u8] = &data;
    let reply = read.reply(&protocol, UNIQUE, &body).unwrap();
    assert!(core::ptr::eq(reply.data(), data.as_slice()));
}

#[test]
fn a_server_refuses_in_sixteen_bytes() {
    let protocol = protocol(45);
    let message = ReplyMessage::refusal(&protocol, UNIQUE, Errno::ENOSYS);
    let mut bytes = [0; 16];
    assert_eq!(message.copy_to(&mut bytes), Ok(16));
    let header = ReplyHeader::parse(protocol.byte_order(), 16, &bytes).unwrap();
    assert_eq!(header, ReplyHeader { unique: UNIQUE, error: Some(Errno::ENOSYS), body_len: 0 });
}

#[test]
fn an_unknown_request_keeps_its_number() {
    let protocol = protocol(45);
    let mut bytes = sent(&protocol, &ops::Destroy);
    bytes[4..8].copy_from_slice(&54_u32.to_ne_bytes());
    let error = Request::parse(&protocol, &bytes).unwrap_err();
    assert!(matches!(error, DecodeError::UnknownOpcode(opcode) if opcode.0 == 54 && opcode.name().is_none()));
    assert_eq!(error.to_string(), "unknown opcode 54");
}

#[test]
fn times_that_a_message_cannot_have() {
    let protocol = protocol(45);
    let bad = Timestamp::new(0, 1_000_000_000);
    let setattr = ops::Setattr::new(NodeId(5)).mtime(bad);
    assert!(matches!(setattr.encode(&protocol, UNIQUE, Context::default()), Err(EncodeError::Field { .. })));
    let before_1970 = ops::Setattr::new(NodeId(5)).mtime(Timestamp::new(-1, 999_999_999));
    let bytes = sent(&protocol, &before_1970);
    assert_eq!(Request::parse(&protocol, &bytes).unwrap().body, RequestBody::Setattr(before_1970));
}

#[test]
fn an_empty_directory_is_the_end() {
    let readdir = ops::Readdir::new(NodeId(1), FileHandle(0), 5, 4096);
    let bytes = good(&[]);
    let listing = readdir.decode_whole(&protocol(45), UNIQUE, 16, &bytes).unwrap();
    assert_eq!(listing, Directory::new(&[]));
    assert!(listing.is_empty());
}
