//! A capture as text.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    fs::File,
    io::{self, BufRead, BufReader, Write},
    path::Path,
};

use fuse_proto::{
    Attr, AttrReply, ByteOrder, DecodeError, Entry, FileHandle, InitFlags, Negotiation, Notification, Offer, Operation,
    Protocol, ReplyError, Request, RequestBody, RequestHeader, SetattrValid, Timestamp,
    ops::{self, IoctlReply, XattrReply},
};

/// The most that a capture keeps of a message, in bytes.
const SNAP_LEN: usize = 4096;
/// The most entries of a directory on a line.
const MAX_ENTRIES: usize = 8;
/// The most bytes of a text on a line.
const MAX_TEXT: usize = 64;

/// One line of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exchange {
    /// The virtqueue.
    pub(crate) queue: u64,
    /// The request's opcode, as the capture says.
    pub(crate) opcode: u64,
    /// Length of the request in bytes.
    pub(crate) req_len: usize,
    /// Length of the reply in bytes; zero for none.
    pub(crate) rep_len: usize,
    /// The request's bytes, or the first of them.
    pub(crate) req: Vec<u8>,
    /// The reply's bytes, or the first of them.
    pub(crate) rep: Vec<u8>,
}

impl Exchange {
    /// Reads a line.
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        let value: serde_json::Value = serde_json::from_str(line).map_err(|error| format!("not JSON: {error}"))?;
        let number = |key: &str| value[key].as_u64().ok_or_else(|| format!("no number {key:?}"));
        let length = |key: &str| usize::try_from(number(key)?).map_err(|_| format!("{key:?} is too large"));
        let bytes = |key: &str| hex(value[key].as_str().ok_or_else(|| format!("no text {key:?}"))?);
        let exchange = Self {
            queue: number("queue")?,
            opcode: number("opcode")?,
            req_len: length("req_len")?,
            rep_len: length("rep_len")?,
            req: bytes("req").map_err(|error| format!("req: {error}"))?,
            rep: bytes("rep").map_err(|error| format!("rep: {error}"))?,
        };
        for (name, len, have) in
            [("req", exchange.req_len, exchange.req.len()), ("rep", exchange.rep_len, exchange.rep.len())]
        {
            if have > len || have < len.min(SNAP_LEN) {
                return Err(format!("{name} has {have} bytes of {len}"));
            }
        }
        Ok(exchange)
    }

    /// The request, with zeros for what the capture did not keep.
    pub(crate) fn request(&self) -> Cow<'_, [u8]> {
        padded(&self.req, self.req_len)
    }

    /// The reply, with zeros for what the capture did not keep.
    pub(crate) fn reply(&self) -> Cow<'_, [u8]> {
        padded(&self.rep, self.rep_len)
    }
}

fn padded(bytes: &[u8], len: usize) -> Cow<'_, [u8]> {
    // A length is only believed as far as a message can be long.
    if bytes.len() >= len || len > 1 << 26 {
        return Cow::Borrowed(bytes);
    }
    let mut whole = vec![0; len];
    whole[..bytes.len()].copy_from_slice(bytes);
    Cow::Owned(whole)
}

fn hex(text: &str) -> Result<Vec<u8>, String> {
    let digit = |digit: u8| (digit as char).to_digit(16).map(|digit| digit as u8);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return Err("an odd number of hexadecimal digits".into());
    }
    pairs
        .iter()
        .map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?))
        .collect::<Option<_>>()
        .ok_or_else(|| "not hexadecimal".into())
}

/// Opens a capture, compressed or not, as its name says.
pub(crate) fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    let file = File::open(path)?;
    Ok(if path.extension().is_some_and(|extension| extension == "gz") {
        Box::new(BufReader::new(flate2::read::MultiGzDecoder::new(file)))
    } else {
        Box::new(BufReader::new(file))
    })
}

/// How it went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Exchanges that decoded.
    pub(crate) decoded: usize,
    /// Lines that did not.
    pub(crate) failed: usize,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} decoded, {} not", self.decoded, self.failed)
    }
}

/// Prints a whole capture. An error of the reader counts as a line that did not decode, and ends it.
pub(crate) fn print(mut reader: impl BufRead, output: &mut impl Write) -> io::Result<Summary> {
    let mut tracer = Tracer::default();
    let mut summary = Summary::default();
    let mut line = Vec::new();
    for number in 1_usize.. {
        line.clear();
        let text = match reader.read_until(b'\n', &mut line) {
            Ok(0) => break,
            Ok(_) if line.trim_ascii().is_empty() => continue,
            Ok(_) => std::str::from_utf8(&line)
                .map_err(|error| format!("not text: {error}"))
                .and_then(|line| Exchange::parse(line.trim()))
                .and_then(|exchange| tracer.exchange(&exchange)),
            Err(error) => {
                summary.failed += 1;
                writeln!(output, "line {number}: the capture breaks off: {error}")?;
                break;
            }
        };
        match text {
            Ok(text) => {
                summary.decoded += 1;
                writeln!(output, "{text}")?;
            }
            Err(error) => {
                summary.failed += 1;
                writeln!(output, "line {number}: {error}")?;
            }
        }
    }
    Ok(summary)
}

/// Prints exchanges one by one, and learns from `INIT` how to read the rest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tracer {
    protocol: Protocol,
}

impl Default for Tracer {
    /// Captures that begin in the middle are taken to be of the highest version, in the order of most machines.
    fn default() -> Self {
        Self { protocol: Protocol::INITIAL.with_byte_order(ByteOrder::Little) }
    }
}

impl Tracer {
    /// The text of an exchange, or what is wrong with it.
    pub(crate) fn exchange(&mut self, exchange: &Exchange) -> Result<String, String> {
        let (request, reply) = (exchange.request(), exchange.reply());
        if request.is_empty() {
            let notification = Notification::parse(self.protocol.byte_order(), &reply);
            return notification.map(|notification| notified(&notification)).map_err(|error| error.to_string());
        }
        if let Some(order) = ByteOrder::detect(&request) {
            self.protocol = Protocol::INITIAL.with_byte_order(order);
        }
        let request = Request::parse(&self.protocol, &request).map_err(|error| {
            // Whatever the body is, the header says what it should have been.
            match RequestHeader::parse(self.protocol.byte_order(), &request) {
                Ok(header) => format!("{} nodeid={}: {error}", header.opcode, header.node),
                Err(_) => format!("opcode {}: {error}", exchange.opcode),
            }
        })?;
        if exchange.opcode != u64::from(request.header.opcode.0) {
            return Err(format!("{}: the capture says opcode {}", request.header.opcode, exchange.opcode));
        }
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.request(&mut text, &request);
        let answer = match self.answer(&request, &reply, exchange.rep_len) {
            Ok(answer) => answer,
            Err(error) => return Err(format!("{text} -> no valid reply: {error}")),
        };
        let _ = write!(text, " -> {answer}");
        if exchange.req.len() < exchange.req_len || exchange.rep.len() < exchange.rep_len {
            let _ = write!(text, " [cut in the capture]");
        }
        Ok(text)
    }

    // Long: one arm for each operation.
    fn request(&self, out: &mut String, request: &Request<'_>) -> fmt::Result {
        let node = request.header.node;
        write!(out, "{}", request.header.opcode)?;
        match &request.body {
            RequestBody::Lookup(op) => write!(out, " parent={node} {}", quoted(op.name)),
            RequestBody::Forget(op) => write!(out, " nodeid={node} nlookup={}", op.nlookup),
            RequestBody::Getattr(op) => write!(out, " nodeid={node}{}", handle(op.fh)),
            RequestBody::Setattr(op) => {
                write!(out, " nodeid={node}")?;
                setattr(out, op)
            }
            RequestBody::Readlink(_) | RequestBody::Statfs(_) | RequestBody::Syncfs(_) => {
                write!(out, " nodeid={node}")
            }
            RequestBody::Symlink(op) => write!(out, " parent={node} {} to {}", quoted(op.name), quoted(op.target)),
            RequestBody::Mknod(op) => {
                write!(
                    out,
                    " parent={node} {} mode={:#o} rdev={:#x} umask={:#o}",
                    quoted(op.name),
                    op.mode,
                    op.rdev,
                    op.umask
                )?;
                extensions(out, &op.extensions)
            }
            RequestBody::Mkdir(op) => {
                write!(out, " parent={node} {} mode={:#o} umask={:#o}", quoted(op.name), op.mode, op.umask)?;
                extensions(out, &op.extensions)
            }
            RequestBody::Unlink(op) => write!(out, " parent={node} {}", quoted(op.name)),
            RequestBody::Rmdir(op) => write!(out, " parent={node} {}", quoted(op.name)),
            RequestBody::Rename(op) => {
                write!(out, " parent={node} {} newdir={} {}", quoted(op.name), op.new_parent, quoted(op.new_name))
            }
            RequestBody::Rename2(op) => write!(
                out,
                " parent={node} {} newdir={} {} flags={}",
                quoted(op.name),
                op.new_parent,
                quoted(op.new_name),
                set(&op.flags)
            ),
            RequestBody::Link(op) => {
                write!(out, " nodeid={} newdir={node} {}", op.target, quoted(op.new_name))
            }
            RequestBody::Open(op) => write!(out, " nodeid={node} flags={:#o}", op.flags.bits()),
            RequestBody::Opendir(op) => write!(out, " nodeid={node} flags={:#o}", op.flags.bits()),
            RequestBody::Read(op) => {
                write!(out, " nodeid={node} fh={} offset={} size={}", op.fh, op.offset, op.size)
            }
            RequestBody::Readdir(op) => {
                write!(out, " nodeid={node} fh={} offset={} size={}", op.fh, op.offset, op.size)
            }
            RequestBody::Readdirplus(op) => {
                write!(out, " nodeid={node} fh={} offset={} size={}", op.fh, op.offset, op.size)
            }
            RequestBody::Write(op) => write!(
                out,
                " nodeid={node} fh={} offset={} size={} flags={}",
                op.fh,
                op.offset,
                op.data.len(),
                set(&op.write_flags)
            ),
            RequestBody::Release(op) => {
                write!(out, " nodeid={node} fh={} flags={:#o}", op.fh, op.flags.bits())
            }
            RequestBody::Releasedir(op) => {
                write!(out, " nodeid={node} fh={} flags={:#o}", op.fh, op.flags.bits())
            }
            RequestBody::Fsync(op) => write!(out, " nodeid={node} fh={} flags={}", op.fh, set(&op.flags)),
            RequestBody::Fsyncdir(op) => write!(out, " nodeid={node} fh={} flags={}", op.fh, set(&op.flags)),
            RequestBody::Flush(op) => write!(out, " nodeid={node} fh={} owner={:#x}", op.fh, op.lock_owner.0),
            RequestBody::Setxattr(op) => {
                write!(out, " nodeid={node} {} value={} flags={}", quoted(op.name), quoted(op.value), set(&op.flags))
            }
            RequestBody::Getxattr(op) => write!(out, " nodeid={node} {} size={}", quoted(op.name), op.size),
            RequestBody::Listxattr(op) => write!(out, " nodeid={node} size={}", op.size),
            RequestBody::Removexattr(op) => write!(out, " nodeid={node} {}", quoted(op.name)),
            RequestBody::Init(op) => write!(
                out,
                " version={}.{} max_readahead={} flags={}",
                op.major,
                op.minor,
                op.max_readahead,
                set(&op.flags)
            ),
            RequestBody::Getlk(op) => lock(out, node.0, op.fh, &op.lock),
            RequestBody::Setlk(op) => lock(out, node.0, op.fh, &op.lock),
            RequestBody::Setlkw(op) => lock(out, node.0, op.fh, &op.lock),
            RequestBody::Access(op) => write!(out, " nodeid={node} mask={}", set(&op.mask)),
            RequestBody::Create(op) => {
                write!(
                    out,
                    " parent={node} {} flags={:#o} mode={:#o} umask={:#o}",
                    quoted(op.name),
                    op.flags.bits(),
                    op.mode,
                    op.umask
                )?;
                extensions(out, &op.extensions)
            }
            RequestBody::Tmpfile(op) => {
                write!(out, " parent={node} flags={:#o} mode={:#o} umask={:#o}", op.flags.bits(), op.mode, op.umask)?;
                extensions(out, &op.extensions)
            }
            RequestBody::Interrupt(op) => write!(out, " unique={}", op.unique),
            RequestBody::Bmap(op) => write!(out, " nodeid={node} block={} blocksize={}", op.block, op.blocksize),
            RequestBody::Destroy(_) => Ok(()),
            RequestBody::Ioctl(op) => write!(
                out,
                " nodeid={node} fh={} cmd={:#x} arg={:#x} in={} out={} flags={}",
                op.fh,
                op.cmd,
                op.arg,
                op.data.len(),
                op.out_size,
                set(&op.flags)
            ),
            RequestBody::Poll(op) => {
                write!(out, " nodeid={node} fh={} kh={} events={}", op.fh, op.kh, set(&op.events))
            }
            RequestBody::NotifyReply(op) => {
                write!(out, " nodeid={node} offset={} size={}", op.offset, op.data.len())
            }
            RequestBody::BatchForget(op) => {
                write!(out, " count={}", op.items.len())?;
                for item in op.items.iter().take(MAX_ENTRIES) {
                    write!(out, " nodeid={} nlookup={}", item.node(), item.nlookup())?;
                }
                if op.items.len() > MAX_ENTRIES { write!(out, " ...") } else { Ok(()) }
            }
            RequestBody::Fallocate(op) => write!(
                out,
                " nodeid={node} fh={} offset={} length={} mode={}",
                op.fh,
                op.offset,
                op.length,
                set(&op.mode)
            ),
            RequestBody::Lseek(op) => {
                write!(out, " nodeid={node} fh={} offset={} whence={}", op.fh, op.offset, op.whence.0)
            }
            RequestBody::CopyFileRange(op) => write!(
                out,
                " nodeid={node} fh={} offset={} to nodeid={} fh={} offset={} len={}",
                op.fh_in, op.off_in, op.node_out, op.fh_out, op.off_out, op.len
            ),
            RequestBody::CopyFileRange64(op) => write!(
                out,
                " nodeid={node} fh={} offset={} to nodeid={} fh={} offset={} len={}",
                op.fh_in, op.off_in, op.node_out, op.fh_out, op.off_out, op.len
            ),
            RequestBody::Setupmapping(op) => write!(
                out,
                " nodeid={node} foffset={:#x} len={:#x} moffset={:#x} flags={}",
                op.foffset,
                op.len,
                op.moffset,
                set(&op.flags)
            ),
            RequestBody::Removemapping(op) => {
                write!(out, " nodeid={node} count={}", op.ranges.len())?;
                for range in op.ranges.iter().take(MAX_ENTRIES) {
                    write!(out, " moffset={:#x} len={:#x}", range.moffset(), range.length())?;
                }
                if op.ranges.len() > MAX_ENTRIES { write!(out, " ...") } else { Ok(()) }
            }
            RequestBody::Statx(op) => {
                write!(out, " nodeid={node}{} mask={:#x}", handle(op.fh), op.sx_mask.bits())
            }
            other => write!(out, " {other:?}"),
        }
    }

    // Long: one arm for each operation.
    fn answer(&mut self, request: &Request<'_>, reply: &[u8], used: usize) -> Result<String, DecodeError> {
        let unique = request.header.unique;
        let protocol = self.protocol;
        /// Reads the reply of an operation and prints it.
        macro_rules! answers {
            ($($name:ident => $show:expr;)*) => {
                match &request.body {
                    $(RequestBody::$name(op) => match op.decode_whole(&protocol, unique, used, reply) {
                        Ok(reply) => {
                            let text: Result<String, DecodeError> = ($show)(op, reply);
                            text.map_err(ReplyError::Invalid)
                        }
                        Err(error) => Err(error),
                    },)*
                    _ => Err(ReplyError::Invalid(DecodeError::UnknownOpcode(request.header.opcode))),
                }
            };
        }
        let none = |(): ()| Ok(if used == 0 { "no reply".to_owned() } else { "ok".to_owned() });
        let text = answers! {
            Lookup => |_, reply| Ok(entry(&reply));
            Forget => |_, reply| none(reply);
            Getattr => |_, reply| Ok(attributes(&reply));
            Setattr => |_, reply| Ok(attributes(&reply));
            Readlink => |_, reply| Ok(quoted(reply));
            Symlink => |_, reply| Ok(entry(&reply));
            Mknod => |_, reply| Ok(entry(&reply));
            Mkdir => |_, reply| Ok(entry(&reply));
            Unlink => |_, reply| none(reply);
            Rmdir => |_, reply| none(reply);
            Rename => |_, reply| none(reply);
            Link => |_, reply| Ok(entry(&reply));
            Open => |_, reply| Ok(opened(&reply));
            Read => |_, reply: &[u8]| Ok(format!("{} bytes", reply.len()));
            Write => |_, reply: ops::Written| Ok(format!("{} bytes", reply.size));
            Statfs => |_, reply| Ok(totals(&reply));
            Release => |_, reply| none(reply);
            Fsync => |_, reply| none(reply);
            Setxattr => |_, reply| none(reply);
            Getxattr => |_, reply| match reply {
                XattrReply::Size(size) => Ok(format!("size={size}")),
                XattrReply::Value(value) => Ok(quoted(value)),
            };
            Listxattr => |_, reply| match reply {
                XattrReply::Size(size) => Ok(format!("size={size}")),
                XattrReply::Value(list) => names(list),
            };
            Removexattr => |_, reply| none(reply);
            Flush => |_, reply| none(reply);
            Init => |op, reply| Ok(self.agreed(op, reply));
            Opendir => |_, reply| Ok(opened(&reply));
            Readdir => |_, reply: fuse_proto::Directory<'_>| listing(
                reply.entries(&protocol).map(|entry| Ok((quoted(entry?.name), None)))
            );
            Releasedir => |_, reply| none(reply);
            Fsyncdir => |_, reply| none(reply);
            Getlk => |_, reply: ops::FileLock| Ok(format!("{:?}", reply));
            Setlk => |_, reply| none(reply);
            Setlkw => |_, reply| none(reply);
            Access => |_, reply| none(reply);
            Create => |_, reply: ops::Created| Ok(format!("{} {}", entry(&reply.entry), opened(&reply.opened)));
            Interrupt => |_, reply| none(reply);
            Bmap => |_, reply: ops::Block| Ok(format!("block={}", reply.block));
            Destroy => |_, reply| none(reply);
            Ioctl => |_, reply| Ok(match reply {
                IoctlReply::Done { result, data, .. } => format!("result={result} {} bytes", data.len()),
                IoctlReply::Retry { in_iovs, vectors, .. } => format!("retry in={in_iovs} vectors={vectors:?}"),
            });
            Poll => |_, reply: ops::Polled| Ok(format!("revents={}", set(&reply.revents)));
            NotifyReply => |_, reply| none(reply);
            BatchForget => |_, reply| none(reply);
            Fallocate => |_, reply| none(reply);
            Readdirplus => |_, reply: fuse_proto::Directory<'_>| listing(
                reply.entries_plus(&protocol).map(|entry| {
                    let entry = entry?;
                    Ok((quoted(entry.dirent.name), entry.entry.map(|entry| entry.node.0)))
                })
            );
            Rename2 => |_, reply| none(reply);
            Lseek => |_, reply: ops::Sought| Ok(format!("offset={}", reply.offset));
            CopyFileRange => |_, reply: ops::Copied| Ok(format!("{} bytes", reply.size));
            Setupmapping => |_, reply| none(reply);
            Removemapping => |_, reply| none(reply);
            Syncfs => |_, reply| none(reply);
            Tmpfile => |_, reply: ops::Created| Ok(format!("{} {}", entry(&reply.entry), opened(&reply.opened)));
            Statx => |_, reply: ops::StatxReply| Ok(format!("mode={:#o} size={}", reply.mode, reply.size));
            CopyFileRange64 => |_, reply: ops::Copied64| Ok(format!("{} bytes", reply.size));
        };
        match text {
            Ok(text) => Ok(text),
            Err(ReplyError::Refused(errno)) => Ok(errno.to_string()),
            Err(ReplyError::Invalid(error)) => Err(error),
        }
    }

    /// Takes over what was agreed on.
    fn agreed(&mut self, init: &ops::Init, reply: ops::InitReply) -> String {
        let mut text = format!(
            "version={}.{} max_readahead={} max_write={} max_pages={} flags={}",
            reply.major,
            reply.minor,
            reply.max_readahead,
            reply.max_write,
            reply.max_pages,
            set(&reply.flags)
        );
        if reply.flags.contains(InitFlags::MAP_ALIGNMENT) {
            let _ = write!(text, " map_alignment=2^{}", reply.map_alignment);
        }
        let offer = Offer { minor: init.minor, max_readahead: init.max_readahead, ..Offer::new(init.flags) };
        match Negotiation::new(offer).answer(Ok(reply)) {
            Ok(protocol) => self.protocol = protocol.with_byte_order(self.protocol.byte_order()),
            Err(error) => {
                let _ = write!(text, " ({error})");
            }
        }
        text
    }
}

fn notified(notification: &Notification<'_>) -> String {
    match notification {
        Notification::InvalEntry { parent, name, flags } => {
            format!("NOTIFY_INVAL_ENTRY parent={parent} {} flags={}", quoted(name), set(flags))
        }
        Notification::Delete { parent, child, name } => {
            format!("NOTIFY_DELETE parent={parent} nodeid={child} {}", quoted(name))
        }
        Notification::Store { node, offset, data } => {
            format!("NOTIFY_STORE nodeid={node} offset={offset} size={}", data.len())
        }
        other => format!("NOTIFY {other:?}"),
    }
}

fn quoted(bytes: &[u8]) -> String {
    let (shown, rest) = bytes.split_at(bytes.len().min(MAX_TEXT));
    format!("\"{}\"{}", shown.escape_ascii(), if rest.is_empty() { "" } else { "..." })
}

fn set<F: bitflags::Flags>(flags: &F) -> String
where
    F::Bits: fmt::LowerHex,
{
    let mut names: Vec<Cow<'_, str>> = flags.iter_names().map(|(name, _)| name.into()).collect();
    let unknown =
        flags.iter_names().fold(flags.bits(), |rest, (_, flag)| F::from_bits_retain(rest).difference(flag).bits());
    let unknown = F::from_bits_retain(unknown);
    if !unknown.is_empty() {
        names.push(format!("{:#x}", unknown.bits()).into());
    }
    if names.is_empty() { "0".to_owned() } else { names.join("|") }
}

fn handle(fh: Option<FileHandle>) -> String {
    fh.map_or_else(String::new, |fh| format!(" fh={fh}"))
}

fn time(time: Timestamp) -> String {
    format!("{}.{:09}", time.secs, time.nanos)
}

fn setattr(out: &mut String, op: &ops::Setattr) -> fmt::Result {
    for (flag, text) in [
        (SetattrValid::FH, format!("fh={}", op.fh)),
        (SetattrValid::MODE, format!("mode={:#o}", op.mode)),
        (SetattrValid::UID, format!("uid={}", op.uid)),
        (SetattrValid::GID, format!("gid={}", op.gid)),
        (SetattrValid::SIZE, format!("size={}", op.size)),
        (SetattrValid::ATIME_NOW, "atime=now".into()),
        (SetattrValid::MTIME_NOW, "mtime=now".into()),
        (SetattrValid::LOCKOWNER, format!("owner={:#x}", op.lock_owner.0)),
        (SetattrValid::CTIME, format!("ctime={}", time(op.ctime))),
        (SetattrValid::KILL_SUIDGID, "kill_suidgid".into()),
    ] {
        if op.valid.contains(flag) {
            write!(out, " {text}")?;
        }
    }
    if op.valid.contains(SetattrValid::ATIME) && !op.valid.contains(SetattrValid::ATIME_NOW) {
        write!(out, " atime={}", time(op.atime))?;
    }
    if op.valid.contains(SetattrValid::MTIME) && !op.valid.contains(SetattrValid::MTIME_NOW) {
        write!(out, " mtime={}", time(op.mtime))?;
    }
    Ok(())
}

fn extensions(out: &mut String, extensions: &fuse_proto::Extensions<'_>) -> fmt::Result {
    if extensions.is_empty() { Ok(()) } else { write!(out, " extensions={extensions:?}") }
}

fn lock(out: &mut String, node: u64, fh: FileHandle, lock: &ops::FileLock) -> fmt::Result {
    write!(out, " nodeid={node} fh={fh} {:?} {}..={} pid={}", lock.kind, lock.start, lock.end, lock.pid)
}

fn attr(attr: &Attr) -> String {
    let dax = if attr.wants_dax() { " dax" } else { "" };
    format!("ino={} mode={:#o} nlink={} size={}{dax}", attr.ino, attr.mode, attr.nlink, attr.size)
}

fn entry(entry: &Entry) -> String {
    if entry.is_negative() {
        format!("no such name for {:?}", entry.entry_valid)
    } else {
        format!("nodeid={} generation={} {}", entry.node, entry.generation, attr(&entry.attr))
    }
}

fn attributes(reply: &AttrReply) -> String {
    attr(&reply.attr)
}

fn opened(opened: &ops::Opened) -> String {
    format!("fh={} open_flags={}", opened.fh, set(&opened.flags))
}

fn totals(reply: &ops::StatfsReply) -> String {
    format!(
        "blocks={} bfree={} files={} ffree={} frsize={} namelen={}",
        reply.blocks, reply.bfree, reply.files, reply.ffree, reply.frsize, reply.namelen
    )
}

fn names(list: &[u8]) -> Result<String, DecodeError> {
    let names: Vec<String> = ops::xattr_names(list).map(|name| name.map(quoted)).collect::<Result<_, _>>()?;
    Ok(format!("[{}]", names.join(" ")))
}

fn listing(entries: impl Iterator<Item = Result<(String, Option<u64>), DecodeError>>) -> Result<String, DecodeError> {
    let entries: Vec<_> = entries.collect::<Result<_, _>>()?;
    let shown: Vec<String> = entries
        .iter()
        .take(MAX_ENTRIES)
        .map(|(name, node)| node.map_or_else(|| name.clone(), |node| format!("{name}={node}")))
        .collect();
    let more = if entries.len() > MAX_ENTRIES { " ..." } else { "" };
    Ok(format!("{} entries [{}{more}]", entries.len(), shown.join(" ")))
}
