//! What must hold for any bytes at all, for the fuzz targets and for the property tests.

use fuse_proto::{
    AccessMask, Attr, AttrFlags, AttrReply, ByteOrder, Context, DecodeError, Directory, EncodeError, Entry, Errno,
    Extension, Extensions, ExtensionsBuilder, FallocateMode, FileHandle, FileType, FopenFlags, ForgetOne, FsyncFlags,
    InitFlags, IoctlFlags, Limits, List, LockFlags, LockOwner, MapFlags, MappingRange, Negotiation, NegotiationError,
    NodeId, Notification, Offer, OpenExtraFlags, OpenFlags, Operation, PollEvents, PollFlags, Protocol, ReadFlags,
    ReleaseFlags, RenameFlags, ReplyError, ReplyHeader, Request, RequestBody, RequestHeader, SecurityContext,
    ServerAnswer, ServerNegotiation, ServerOffer, SetattrValid, StatxMask, Timestamp, Unique, WriteFlags, XattrFlags,
    ops,
};

/// Takes numbers off a string of bytes; zeros follow its end.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut taken = [0; N];
        let len = self.0.len().min(N);
        taken[..len].copy_from_slice(&self.0[..len]);
        self.0 = &self.0[len..];
        taken
    }

    fn u8(&mut self) -> u8 {
        self.take::<1>()[0]
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    fn protocol(&mut self) -> Protocol {
        let (minor, flags, order) = (self.u8(), self.u8(), self.u8());
        let flags =
            [InitFlags::SETXATTR_EXT, InitFlags::SECURITY_CTX, InitFlags::CREATE_SUPP_GROUP, InitFlags::EXPORT_SUPPORT]
                .into_iter()
                .enumerate()
                .filter(|(index, _)| flags >> index & 1 != 0)
                .fold(InitFlags::empty(), |all, (_, flag)| all | flag);
        let order = if order & 1 == 0 { ByteOrder::NATIVE } else { ByteOrder::NATIVE.reversed() };
        Protocol::new((minor % 46).into(), flags).with_byte_order(order)
    }

    fn time(&mut self) -> Timestamp {
        Timestamp::new(self.u64() as i64, self.u32() % 1_000_000_000)
    }

    fn duration(&mut self) -> core::time::Duration {
        core::time::Duration::new(self.u64(), self.u32() % 1_000_000_000)
    }

    fn attr(&mut self) -> Attr {
        let types = [1, 2, 4, 6, 8, 10, 12].map(|kind| FileType::from_dirent(kind).unwrap());
        let kind = types[usize::from(self.u8()) % types.len()];
        Attr {
            ino: self.u64(),
            size: self.u64() >> 1,
            blocks: self.u64(),
            atime: self.time(),
            mtime: self.time(),
            ctime: self.time(),
            mode: kind.to_mode() | (self.u32() & 0o7777),
            nlink: self.u32(),
            uid: self.u32(),
            gid: self.u32(),
            rdev: self.u32(),
            blksize: self.u32(),
            flags: AttrFlags::from_bits_retain(self.u32()),
        }
    }

    fn entry(&mut self) -> Entry {
        Entry {
            node: NodeId(self.u64().max(2)),
            generation: self.u64(),
            entry_valid: self.duration(),
            attr_valid: self.duration(),
            attr: self.attr(),
        }
    }

    fn opened(&mut self) -> ops::Opened {
        ops::Opened {
            fh: FileHandle(self.u64()),
            flags: FopenFlags::from_bits_retain(self.u32()),
            backing_id: self.u32() as i32,
        }
    }
}

fn order_bytes<const N: usize>(order: ByteOrder, little: [u8; N]) -> [u8; N] {
    let mut bytes = little;
    if order == ByteOrder::Big {
        bytes.reverse();
    }
    bytes
}

/// A request with a good header around whatever body.
fn framed(protocol: &Protocol, opcode: u32, extensions: u16, body: &[u8]) -> Vec<u8> {
    let order = protocol.byte_order();
    let len = RequestHeader::LEN + body.len();
    let mut bytes = vec![0; RequestHeader::LEN];
    bytes[..4].copy_from_slice(&order_bytes(order, (len as u32).to_le_bytes()));
    bytes[4..8].copy_from_slice(&order_bytes(order, opcode.to_le_bytes()));
    bytes[8] = 2;
    bytes[16] = 3;
    bytes[36..38].copy_from_slice(&order_bytes(order, extensions.to_le_bytes()));
    bytes.extend_from_slice(body);
    bytes
}

/// What a client writes of `body`, and what a server reads of that, is `body` again.
fn same_again(protocol: &Protocol, body: &RequestBody<'_>) {
    let (unique, context) = (Unique(4), Context { uid: 1, gid: 2, pid: 3 });
    let message = match body.encode(protocol, unique, context) {
        Ok(message) => message,
        // A server of another page size can take more parts than a client sends.
        Err(EncodeError::Field { field: "fuse_removemapping_in.count", value }) => {
            assert!(value > ops::Removemapping::MAX_ENTRIES as u64);
            return;
        }
        Err(EncodeError::Version { what: "BATCH_FORGET", .. }) => {
            assert!(protocol.minor() < 16);
            return;
        }
        Err(error) => panic!("{body:?} was read and cannot be written: {error}"),
    };
    let mut bytes = vec![0xff; message.len()];
    assert_eq!(message.copy_to(&mut bytes), Ok(bytes.len()));
    let again = Request::parse(protocol, &bytes).unwrap_or_else(|error| panic!("{body:?} written: {error}"));
    assert_eq!(&again.body, body);
    assert_eq!((again.header.unique, again.header.context), (unique, context));
    assert_eq!(again.header.len as usize, bytes.len());
}

/// Any bytes as a request: refused, or read and written again to the same meaning.
pub fn request(data: &[u8]) {
    let mut numbers = Numbers(data);
    let protocol = numbers.protocol();
    if let Ok(request) = Request::parse(&protocol, numbers.0) {
        same_again(&protocol, &request.body);
    }
    let (opcode, extensions) = (numbers.u8() % 56, numbers.u8() % 8);
    let bytes = framed(&protocol, opcode.into(), extensions.into(), numbers.0);
    match Request::parse(&protocol, &bytes) {
        Ok(request) => {
            assert_eq!(request.body.opcode().0, opcode.into());
            same_again(&protocol, &request.body);
        }
        Err(DecodeError::UnknownOpcode(unknown)) => assert!(unknown.name().is_none()),
        Err(_) => {}
    }
}

/// Any bytes as a reply to any request: refused, or read and written again to the same meaning.
pub fn reply(data: &[u8]) {
    let mut numbers = Numbers(data);
    let protocol = numbers.protocol();
    let (kind, size) = (numbers.u8(), u32::from(numbers.u16() % 512));
    let (node, fh, unique) = (NodeId(3), FileHandle(5), Unique(7));
    let used_differs = numbers.u8() == 0;
    let error = numbers.u8();
    let body = numbers.0;
    let len = ReplyHeader::LEN + body.len();
    let errno = if error < 200 { 0 } else { i32::from(error) - 256 };
    let order = protocol.byte_order();
    let mut bytes = Vec::with_capacity(len);
    bytes.extend_from_slice(&order_bytes(order, (len as u32).to_le_bytes()));
    bytes.extend_from_slice(&order_bytes(order, errno.to_le_bytes()));
    bytes.extend_from_slice(&order_bytes(order, unique.0.to_le_bytes()));
    bytes.extend_from_slice(body);
    let used = if used_differs { len ^ 1 } else { len };

    macro_rules! kinds {
        ($($number:literal => $op:expr;)*) => {
            match kind % 56 {
                $($number => {
                    let op = $op;
                    // Raw bytes first: the device can write anything.
                    let _ = op.decode_whole(&protocol, unique, body.len(), body);
                    let decoded = op.decode_whole(&protocol, unique, used, &bytes);
                    // The same in two buffers, with more behind it.
                    let mut longer = body.to_vec();
                    longer.extend_from_slice(&[0xee; 9]);
                    assert_eq!(op.decode(&protocol, unique, used.min(len), &bytes[..16], &longer).is_ok(),
                        op.decode_whole(&protocol, unique, used.min(len), &bytes).is_ok());
                    if let Ok(reply) = decoded {
                        assert!(!used_differs, "a length that lies was taken");
                        if used != 0 {
                            let message = op.reply(&protocol, unique, &reply).expect("what was read can be written");
                            let mut again = vec![0xff; message.len()];
                            message.copy_to(&mut again).unwrap();
                            assert_eq!(op.decode_whole(&protocol, unique, again.len(), &again), Ok(reply));
                        }
                    } else if let Err(ReplyError::Refused(refused)) = decoded {
                        assert_eq!((refused.number(), body.len()), (-errno, 0));
                    }
                })*
                _ => {}
            }
        };
    }
    kinds! {
        1 => ops::Lookup { parent: node, name: b"name" };
        2 => ops::Forget { node, nlookup: 1 };
        3 => ops::Getattr { node, fh: None };
        4 => ops::Setattr::new(node);
        5 => ops::Readlink { node };
        6 => ops::Symlink { parent: node, name: b"name", target: b"target", ..Default::default() };
        8 => ops::Mknod { parent: node, name: b"name", ..Default::default() };
        9 => ops::Mkdir { parent: node, name: b"name", ..Default::default() };
        10 => ops::Unlink { parent: node, name: b"name" };
        11 => ops::Rmdir { parent: node, name: b"name" };
        12 => ops::Rename::default();
        13 => ops::Link::default();
        14 => ops::Open::default();
        15 => ops::Read::new(node, fh, 0, size);
        16 => ops::Write::new(node, fh, 0, &[0; 64]);
        17 => ops::Statfs { node };
        18 => ops::Release::default();
        20 => ops::Fsync::default();
        21 => ops::Setxattr::default();
        22 => ops::Getxattr { node, name: b"user.name", size };
        23 => ops::Listxattr { node, size };
        24 => ops::Removexattr::default();
        25 => ops::Flush::default();
        26 => ops::Init { major: 7, minor: 45, max_readahead: 0, flags: InitFlags::empty() };
        27 => ops::Opendir::default();
        28 => ops::Readdir::new(node, fh, 0, size);
        29 => ops::Releasedir::default();
        30 => ops::Fsyncdir::default();
        31 => ops::Getlk { node, fh, owner: LockOwner(1), lock: ANY_LOCK, flags: LockFlags::empty() };
        32 => ops::Setlk { node, fh, owner: LockOwner(1), lock: ANY_LOCK, flags: LockFlags::empty() };
        33 => ops::Setlkw { node, fh, owner: LockOwner(1), lock: ANY_LOCK, flags: LockFlags::empty() };
        34 => ops::Access::default();
        35 => ops::Create::default();
        36 => ops::Interrupt::default();
        37 => ops::Bmap::default();
        38 => ops::Destroy;
        39 => ops::Ioctl { node, out_size: size, ..Default::default() };
        // Beyond the opcodes: the same as 39, with more rights.
        55 => ops::Ioctl { node, out_size: size, flags: IoctlFlags::UNRESTRICTED, ..Default::default() };
        40 => ops::Poll::default();
        41 => ops::NotifyReply { node, offset: 0, data: &[] };
        42 => ops::BatchForget::default();
        43 => ops::Fallocate::default();
        44 => ops::Readdirplus::new(node, fh, 0, size);
        45 => ops::Rename2::default();
        46 => ops::Lseek::default();
        47 => ops::CopyFileRange { len: 4096, ..Default::default() };
        48 => ops::Setupmapping::default();
        49 => ops::Removemapping::default();
        50 => ops::Syncfs::default();
        51 => ops::Tmpfile::default();
        52 => ops::Statx::default();
        53 => ops::CopyFileRange64 { len: 1 << 40, ..Default::default() };
    }
}

const ANY_LOCK: ops::FileLock = ops::FileLock { start: 0, end: 0, kind: ops::LockKind::Read, pid: 0 };

/// Any bytes as a listing: ends, and every entry is good; as a list of attributes' names too.
pub fn directory(data: &[u8]) {
    let mut numbers = Numbers(data);
    let protocol = numbers.protocol();
    let listing = Directory::new(numbers.0);
    let mut failed = false;
    let mut entries = 0;
    for entry in listing.entries(&protocol) {
        assert!(!failed, "something follows an error");
        match entry {
            Ok(entry) => {
                assert!(!entry.name.is_empty() && !entry.name.contains(&0) && !entry.name.contains(&b'/'));
                assert!(entry.offset != 0);
            }
            Err(_) => failed = true,
        }
        entries += 1;
        assert!(entries <= numbers.0.len() / 24 + 1, "more entries than there is room for");
    }
    failed = false;
    for entry in listing.entries_plus(&protocol) {
        assert!(!failed, "something follows an error");
        match entry {
            Ok(entry) => assert!(entry.entry.is_none_or(|entry| entry.attr.file_type().is_some())),
            Err(_) => failed = true,
        }
    }
    failed = false;
    for name in ops::xattr_names(numbers.0) {
        assert!(!failed, "something follows an error");
        failed = name.is_err();
    }
}

/// Any bytes as a notification: refused, or read and written again to the same meaning.
pub fn notification(data: &[u8]) {
    let mut numbers = Numbers(data);
    let protocol = numbers.protocol();
    let order = protocol.byte_order();
    let _ = Notification::parse(order, numbers.0);
    let code = i32::from(numbers.u8() % 12);
    let len = ReplyHeader::LEN + numbers.0.len();
    let mut bytes = Vec::with_capacity(len);
    bytes.extend_from_slice(&order_bytes(order, (len as u32).to_le_bytes()));
    bytes.extend_from_slice(&order_bytes(order, code.to_le_bytes()));
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(numbers.0);
    if let Ok(notification) = Notification::parse(order, &bytes) {
        let mut scratch = [0; 4096];
        let message = notification.encode(&protocol, &mut scratch).expect("what was read can be written");
        let mut again = vec![0xff; message.len()];
        message.copy_to(&mut again).unwrap();
        assert_eq!(Notification::parse(order, &again), Ok(notification));
    }
}

/// Any bytes as extensions: refused, or every part of them reads.
pub fn extensions(data: &[u8]) {
    let mut numbers = Numbers(data);
    let order = numbers.protocol().byte_order();
    if let Ok(extensions) = Extensions::parse(order, numbers.0) {
        // Every byte belongs to something that was read, or fills it up to eight.
        let mut read = 0;
        for extension in extensions.iter() {
            read += 8_usize;
            match extension.expect("all of them were checked") {
                Extension::SecurityContexts(contexts) => {
                    assert_eq!(contexts.iter().count(), contexts.len() as usize);
                    for context in contexts.iter() {
                        let SecurityContext { name, value } = context.expect("it was checked");
                        read += (8 + name.len() + 1 + value.len()).next_multiple_of(8);
                    }
                }
                Extension::Groups(groups) => {
                    assert_eq!(groups.iter().count(), groups.len());
                    read += (4 + 4 * groups.len()).next_multiple_of(8);
                }
                Extension::Unknown { bytes, .. } => read += bytes.len(),
                _ => unreachable!("there are no others"),
            }
        }
        assert_eq!(read, numbers.0.len());
    }
}

/// Any answer to `INIT`: refused by name, or everything in force is within bounds. And a server agrees with its client.
pub fn negotiation(data: &[u8]) {
    let mut numbers = Numbers(data);
    let offer = Offer {
        minor: u32::from(numbers.u8()),
        max_readahead: numbers.u32(),
        flags: InitFlags::from_bits_retain(numbers.u64()),
        limits: Limits { max_write: numbers.u32(), max_pages: numbers.u16() },
    };
    let client = Negotiation::new(offer);
    let init = client.init();
    let reply = ops::InitReply {
        major: if numbers.u8() < 250 { 7 } else { numbers.u32() },
        minor: u32::from(numbers.u8()),
        max_readahead: numbers.u32(),
        flags: InitFlags::from_bits_retain(numbers.u64()),
        max_background: numbers.u16(),
        congestion_threshold: numbers.u16(),
        max_write: numbers.u32(),
        time_gran: numbers.u32(),
        max_pages: numbers.u16(),
        map_alignment: if numbers.u8() < 128 { numbers.u16() % 80 } else { numbers.u16() },
        max_stack_depth: numbers.u32(),
        request_timeout: numbers.u16(),
        size: ops::InitReplySize::for_minor(numbers.u8().into()),
    };
    match client.answer(Ok(reply)) {
        Ok(protocol) => {
            assert_eq!(reply.major, 7);
            assert!(protocol.minor() <= 45 && protocol.minor() <= reply.minor && protocol.minor() <= init.minor);
            assert!(init.flags.contains(protocol.flags()) && reply.flags.contains(protocol.flags()));
            assert!(!init.flags.intersects(protocol.unoffered()));
            assert!(protocol.max_write() >= 4096 && protocol.max_write() <= offer.limits.max_write.max(4096));
            assert!(protocol.max_pages() >= 1 && protocol.max_pages() <= offer.limits.max_pages.max(1));
            assert!((1..=1_000_000_000).contains(&protocol.time_gran()));
            assert!(protocol.max_readahead() <= init.max_readahead);
            assert_eq!(protocol.map_alignment().is_some(), protocol.map_alignment_bytes().is_some());
        }
        Err(NegotiationError::MajorTooOld { major, .. }) => assert!(major < 7),
        Err(NegotiationError::MajorTooNew { major, .. }) => assert!(major > 7),
        Err(NegotiationError::Short { need, have, .. }) => assert!(have < need),
        Err(NegotiationError::TimeGranularity(gran)) => assert!(gran > 1_000_000_000),
        Err(NegotiationError::MapAlignment(log2)) => assert!(log2 >= 64),
        Err(error) => panic!("{error}"),
    }
    assert!(client.answer(Err(ReplyError::Refused(Errno::EPROTO))).is_err());
    let server = ServerNegotiation::new(ServerOffer {
        max_write: reply.max_write,
        max_pages: reply.max_pages,
        map_alignment: reply.map_alignment,
        ..ServerOffer::new(reply.flags)
    });
    if let ServerAnswer::Agreed { reply, protocol } = server.answer(&init, ByteOrder::NATIVE) {
        let theirs = client.answer(Ok(reply)).expect("a client can take what a server answers");
        assert_eq!((theirs.minor(), theirs.flags()), (protocol.minor(), protocol.flags()));
    }
}

/// Whatever a client can say, a server understands, and the other way round.
pub fn round_trip(data: &[u8]) {
    let mut numbers = Numbers(data);
    let protocol = numbers.protocol();
    let kind = numbers.u8();
    let (name_len, other_len) = (usize::from(numbers.u8()) + 1, usize::from(numbers.u8()) + 1);
    let name = |len: usize, seed: u8| -> Vec<u8> {
        // Every byte but zero and the slash.
        (0..len)
            .map(|index| (seed.wrapping_add(index as u8)).max(1))
            .map(|byte| if byte == b'/' { b'_' } else { byte })
            .collect()
    };
    let (seed, other_seed) = (numbers.u8(), numbers.u8());
    let (name, other) =
        ([&b"n"[..], &name(name_len, seed)].concat(), [&b"n"[..], &name(other_len, other_seed)].concat());
    let data_len = usize::from(numbers.u16() % 5000);
    let value: Vec<u8> = (0..data_len).map(|index| index as u8).collect();
    let ranges: Vec<MappingRange> =
        (0..numbers.u8()).map(|index| MappingRange::new(u64::from(index) << 21, numbers.u64())).collect();
    let forgets: Vec<ForgetOne> =
        (0..numbers.u8()).map(|index| ForgetOne::new(NodeId(index.into()), numbers.u64())).collect();
    let mut buffer = [0; 1024];
    let mut builder = ExtensionsBuilder::new(&mut buffer);
    if protocol.has(InitFlags::SECURITY_CTX) {
        let context = SecurityContext { name: b"security.selinux", value: &other };
        builder.security_contexts(&[context][..usize::from(numbers.u8() & 1)]).expect("there is room");
    }
    if protocol.has(InitFlags::CREATE_SUPP_GROUP) && protocol.minor() >= 38 {
        builder.groups(&[numbers.u32(), numbers.u32(), 3][..usize::from(numbers.u8() & 3)]).expect("there is room");
    }
    let native = protocol.byte_order().is_native();
    let extensions = if native { builder.finish() } else { Extensions::none() };
    let old = protocol.minor() < 12;
    let (node, node2) = (NodeId(numbers.u64()), NodeId(numbers.u64()));
    let (fh, fh2, owner) = (FileHandle(numbers.u64()), FileHandle(numbers.u64()), LockOwner(numbers.u64()));
    let (offset, len, length) = (numbers.u64(), numbers.u32(), numbers.u64());
    let (mode, flags) = (numbers.u32(), numbers.u32());
    let umask = if old { 0 } else { numbers.u32() };
    // Older versions have fewer fields: what they don't carry is left zero.
    let since = |minor: u32, value: u32| if protocol.minor() < minor { 0 } else { value };
    let open_flags = OpenFlags::from_bits_retain(flags);
    let extra = OpenExtraFlags::from_bits_retain(numbers.u32());
    let lock = ops::FileLock {
        start: offset >> 1,
        end: (offset >> 1).max(length >> 1),
        kind: [ops::LockKind::Read, ops::LockKind::Write, ops::LockKind::Unlock][usize::from(numbers.u8()) % 3],
        pid: numbers.u32(),
    };
    let lock_flags = LockFlags::from_bits_retain(since(9, numbers.u32()));
    let body: RequestBody<'_> = match kind % 51 {
        0 => ops::Lookup { parent: node, name: &name }.into(),
        1 => ops::Forget { node, nlookup: length }.into(),
        2 => ops::Getattr { node, fh: (!old && len & 1 != 0).then_some(fh) }.into(),
        3 => ops::Setattr {
            node,
            valid: SetattrValid::from_bits_retain(flags),
            fh,
            size: length,
            lock_owner: owner,
            atime: numbers.time(),
            mtime: numbers.time(),
            ctime: numbers.time(),
            mode,
            uid: numbers.u32(),
            gid: numbers.u32(),
        }
        .into(),
        4 => ops::Readlink { node }.into(),
        5 => ops::Symlink { parent: node, name: &name, target: &other, extensions }.into(),
        6 => ops::Mknod { parent: node, name: &name, mode, rdev: len, umask, extensions }.into(),
        7 => ops::Mkdir { parent: node, name: &name, mode, umask, extensions }.into(),
        8 => ops::Unlink { parent: node, name: &name }.into(),
        9 => ops::Rmdir { parent: node, name: &name }.into(),
        10 => ops::Rename { parent: node, name: &name, new_parent: node2, new_name: &other }.into(),
        11 => ops::Link { target: node, new_parent: node2, new_name: &name }.into(),
        12 => ops::Open { node, flags: open_flags, extra }.into(),
        13 => ops::Read {
            node,
            fh,
            offset,
            size: len,
            read_flags: ReadFlags::from_bits_retain(mode),
            lock_owner: owner,
            flags: open_flags,
        }
        .into(),
        14 => ops::Write {
            node,
            fh,
            offset,
            data: &value,
            write_flags: WriteFlags::from_bits_retain(mode),
            lock_owner: if old { LockOwner(0) } else { owner },
            flags: OpenFlags::from_bits_retain(since(12, flags)),
        }
        .into(),
        15 => ops::Statfs { node }.into(),
        16 => ops::Release {
            node,
            fh,
            flags: open_flags,
            release_flags: ReleaseFlags::from_bits_retain(mode & since(8, u32::MAX)),
            lock_owner: if protocol.minor() < 8 { LockOwner(0) } else { owner },
        }
        .into(),
        17 => ops::Fsync { node, fh, flags: FsyncFlags::from_bits_retain(flags) }.into(),
        18 => ops::Setxattr {
            node,
            name: &name,
            value: &value,
            flags: XattrFlags::from_bits_retain(flags),
            ..Default::default()
        }
        .into(),
        19 => ops::Getxattr { node, name: &name, size: len }.into(),
        20 => ops::Listxattr { node, size: len }.into(),
        21 => ops::Removexattr { node, name: &name }.into(),
        22 => ops::Flush { node, fh, lock_owner: owner }.into(),
        23 => Negotiation::new(Offer::new(InitFlags::from_bits_retain(length))).init().into(),
        24 => ops::Opendir { node, flags: open_flags, extra }.into(),
        25 => ops::Readdir::new(node, fh, offset, len).into(),
        26 => ops::Releasedir { node, fh, flags: open_flags, ..Default::default() }.into(),
        27 => ops::Fsyncdir { node, fh, flags: FsyncFlags::from_bits_retain(flags) }.into(),
        28 => ops::Getlk { node, fh, owner, lock, flags: lock_flags }.into(),
        29 => ops::Setlk { node, fh, owner, lock, flags: lock_flags }.into(),
        30 => ops::Setlkw { node, fh, owner, lock, flags: lock_flags }.into(),
        31 => ops::Access { node, mask: AccessMask::from_bits_retain(flags) }.into(),
        32 => ops::Create {
            parent: node,
            name: &name,
            flags: open_flags,
            mode,
            umask,
            extra: if old { OpenExtraFlags::empty() } else { extra },
            extensions,
        }
        .into(),
        33 => ops::Interrupt { unique: Unique(length) }.into(),
        34 => ops::Bmap { node, block: offset, blocksize: len }.into(),
        35 => ops::Destroy.into(),
        36 => ops::Ioctl {
            node,
            fh,
            flags: IoctlFlags::from_bits_retain(flags),
            cmd: mode,
            arg: offset,
            data: &value,
            out_size: len,
        }
        .into(),
        37 => ops::Poll {
            node,
            fh,
            kh: offset,
            flags: PollFlags::from_bits_retain(flags),
            events: PollEvents::from_bits_retain(mode),
        }
        .into(),
        38 => ops::NotifyReply { node, offset, data: &value }.into(),
        39 if native => ops::BatchForget { items: List::new(&forgets) }.into(),
        40 => ops::Fallocate { node, fh, offset, length, mode: FallocateMode::from_bits_retain(mode) }.into(),
        41 => ops::Readdirplus::new(node, fh, offset, len).into(),
        42 => ops::Rename2 {
            parent: node,
            name: &name,
            new_parent: node2,
            new_name: &other,
            flags: RenameFlags::from_bits_retain(flags),
        }
        .into(),
        43 => ops::Lseek { node, fh, offset, whence: ops::Whence(flags) }.into(),
        44 => ops::CopyFileRange {
            node_in: node,
            fh_in: fh,
            off_in: offset,
            node_out: node2,
            fh_out: fh2,
            off_out: length,
            len: length,
            flags: 0,
        }
        .into(),
        45 => ops::Setupmapping {
            node,
            fh,
            foffset: offset,
            len: length,
            flags: MapFlags::from_bits_retain(length),
            moffset: offset,
        }
        .into(),
        46 if native => ops::Removemapping { node, ranges: List::new(&ranges) }.into(),
        47 => ops::Syncfs { node }.into(),
        48 => ops::Tmpfile { parent: node, flags: open_flags, mode, umask: numbers.u32(), extra, extensions }.into(),
        49 => ops::Statx {
            node,
            fh: (len & 1 != 0).then_some(fh),
            sx_flags: flags,
            sx_mask: StatxMask::from_bits_retain(mode),
        }
        .into(),
        _ => ops::CopyFileRange64 { node_in: node, node_out: node2, len: length, ..Default::default() }.into(),
    };
    same_again(&protocol, &body);
    replies(&protocol, &mut numbers);
}

/// Every fixed reply that a server can write, a client reads.
fn replies(protocol: &Protocol, numbers: &mut Numbers<'_>) {
    fn same<O: Operation>(protocol: &Protocol, op: &O, reply: &O::Reply<'_>)
    where
        for<'a, 'b> O::Reply<'a>: PartialEq<O::Reply<'b>> + core::fmt::Debug,
    {
        let unique = Unique(9);
        let message = op.reply(protocol, unique, reply).expect("it can be written");
        let mut bytes = vec![0xff; message.len()];
        message.copy_to(&mut bytes).unwrap();
        assert!(bytes.len() <= op.reply_size(protocol).buffer_len());
        let read = op.decode_whole(protocol, unique, bytes.len(), &bytes).expect("it can be read");
        assert!(read == *reply, "{read:?} is not {reply:?}");
    }
    let mut entry = numbers.entry();
    if protocol.minor() < 9 {
        (entry.attr.blksize, entry.attr.flags) = (0, AttrFlags::empty());
    }
    let attributes = AttrReply { attr_valid: entry.attr_valid, attr: entry.attr };
    same(protocol, &ops::Lookup { parent: NodeId(1), name: b"name" }, &entry);
    same(protocol, &ops::Getattr::default(), &attributes);
    same(protocol, &ops::Open::default(), &numbers.opened());
    entry.attr.mode = FileType::Regular.to_mode();
    same(protocol, &ops::Create::default(), &ops::Created { entry, opened: numbers.opened() });
    let frsize = if protocol.minor() < 4 { 0 } else { numbers.u32() };
    let totals = ops::StatfsReply { blocks: numbers.u64(), bsize: numbers.u32(), frsize, ..Default::default() };
    same(protocol, &ops::Statfs::default(), &totals);
    let times =
        ops::StatxTimes { atime: numbers.time(), btime: numbers.time(), ctime: numbers.time(), mtime: numbers.time() };
    let statx =
        ops::StatxReply { times, ino: numbers.u64(), rdev: (numbers.u32(), numbers.u32()), ..Default::default() };
    same(protocol, &ops::Statx::default(), &statx);
    same(protocol, &ops::Lseek::default(), &ops::Sought { offset: numbers.u64() >> 1 });
    same(protocol, &ops::Poll::default(), &ops::Polled { revents: PollEvents::from_bits_retain(numbers.u32()) });
    same(protocol, &ops::Bmap::default(), &ops::Block { block: numbers.u64() });
}
