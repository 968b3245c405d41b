//! Makes the first inputs of the fuzz targets from a capture, so that they begin with messages that are almost right.
//!
//! ```text
//! cargo run -p fuse-proto --example fuzz_seeds -- FILE.jsonl[.gz] FOLDER
//! ```
//!
//! `FOLDER` gets a folder for each fuzz target. What stands before the message in each input is what
//! `fuzz/src/checks.rs` takes off it.

#[path = "../capture/trace.rs"]
#[expect(dead_code, reason = "only its reading of files is of use here")]
mod trace;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use fuse_proto::{
    ByteOrder, ExtensionsBuilder, InitFlags, InvalEntryFlags, List, NodeId, Notification, Protocol, PrunedNode,
    ReplyHeader, RequestHeader, SecurityContext, Unique,
};

/// More of a message than this teaches a fuzz target nothing.
const MAX_SEED: usize = 1024;
/// Bits of `InitFlags` as the checks number them: all that change a message.
const ALL_FLAGS: u8 = 0b1111;
/// The version of which the capture is.
const MINOR: u8 = 38;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(capture), Some(folder), None) = (arguments.next(), arguments.next(), arguments.next()) else {
        eprintln!("usage: fuzz_seeds FILE.jsonl[.gz] FOLDER");
        return ExitCode::from(2);
    };
    match make(&capture, &folder) {
        Ok(count) => {
            eprintln!("{count} inputs in {}", folder.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}: {error}", capture.display());
            ExitCode::FAILURE
        }
    }
}

fn make(capture: &Path, folder: &Path) -> io::Result<usize> {
    let mut text = String::new();
    trace::open(capture)?.read_to_string(&mut text)?;
    let exchanges: Vec<_> =
        text.lines().map(trace::Exchange::parse).collect::<Result<_, _>>().map_err(io::Error::other)?;
    let mut seeds = Seeds { folder, count: 0 };
    for exchange in &exchanges {
        seeds.exchange(exchange)?;
    }
    seeds.notifications()?;
    seeds.extensions()?;
    seeds.round_trips()?;
    Ok(seeds.count)
}

struct Seeds<'a> {
    folder: &'a Path,
    count: usize,
}

impl Seeds<'_> {
    /// One input: the protocol as `Numbers::protocol` reads it, then the pieces. An input that repeats another's bytes does
    /// no harm: libFuzzer drops it.
    fn add(&mut self, target: &str, order: ByteOrder, pieces: &[&[u8]]) -> io::Result<()> {
        let protocol = [MINOR, ALL_FLAGS, (!order.is_native()).into()];
        self.write(target, &[&[&protocol[..]], pieces].concat().concat())
    }

    fn write(&mut self, target: &str, bytes: &[u8]) -> io::Result<()> {
        let folder = self.folder.join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(format!("seed-{:04}", self.count)), bytes)?;
        self.count += 1;
        Ok(())
    }

    fn exchange(&mut self, exchange: &trace::Exchange) -> io::Result<()> {
        let short = |bytes: &'_ [u8]| bytes[..bytes.len().min(MAX_SEED)].to_vec();
        let Ok(opcode) = u8::try_from(exchange.opcode) else { return Ok(()) };
        let order = ByteOrder::Little;
        if exchange.req_len <= MAX_SEED {
            self.add("request", order, &[&exchange.req])?;
        }
        if let Some(body) = exchange.req.get(RequestHeader::LEN..) {
            self.add("request", order, &[&[opcode, 0], &short(body)])?;
        }
        let Some(body) = exchange.rep.get(ReplyHeader::LEN..) else { return Ok(()) };
        let body = short(body);
        // Room for 511 bytes; no length that lies; no error, or the one that the server gave.
        let error = exchange.rep.get(4).copied().unwrap_or(0);
        self.add("reply", order, &[&[opcode, 0xff, 1, 1, error], &body])?;
        match opcode {
            // Listings and lists of names; the first byte is where they begin.
            23 | 28 | 44 if !body.is_empty() => self.add("directory", order, &[&[0], &body]),
            _ => Ok(()),
        }
    }

    /// The capture has none.
    fn notifications(&mut self) -> io::Result<()> {
        let (node, name) = (NodeId(5), &b"name"[..]);
        let nodes = [PrunedNode::new(node), PrunedNode::new(NodeId(6))];
        let all = [
            Notification::Poll { kh: 1 },
            Notification::InvalInode { node, offset: 0, len: -1 },
            Notification::InvalEntry { parent: node, name, flags: InvalEntryFlags::empty() },
            Notification::Store { node, offset: 4096, data: b"data" },
            Notification::Retrieve { notify_unique: Unique(3), node, offset: 0, size: 4096 },
            Notification::Delete { parent: node, child: NodeId(6), name },
            Notification::Resend,
            Notification::IncEpoch,
            Notification::Prune { nodes: List::new(&nodes) },
        ];
        for notification in all {
            let protocol = Protocol::new(MINOR.into(), InitFlags::empty());
            let mut scratch = [0; 16];
            let message = notification.encode(&protocol, &mut scratch).map_err(io::Error::other)?;
            let mut bytes = vec![0; message.len()];
            message.copy_to(&mut bytes).map_err(io::Error::other)?;
            let code = notification.code() as u8;
            self.add("notification", ByteOrder::NATIVE, &[&[code], &bytes[ReplyHeader::LEN..]])?;
            self.add("notification", ByteOrder::NATIVE, &[&bytes])?;
        }
        Ok(())
    }

    /// The capture has none.
    fn extensions(&mut self) -> io::Result<()> {
        let contexts = [
            SecurityContext { name: b"security.selinux", value: b"a:b:c\0" },
            SecurityContext { name: b"security.x", value: b"" },
        ];
        for (count, groups) in [(0, None), (1, None), (2, Some(&[7, 9][..])), (0, Some(&[][..]))] {
            let mut buffer = [0; 256];
            let mut builder = ExtensionsBuilder::new(&mut buffer);
            builder.security_contexts(&contexts[..count]).map_err(io::Error::other)?;
            if let Some(groups) = groups {
                builder.groups(groups).map_err(io::Error::other)?;
            }
            let extensions = builder.finish();
            let bytes = extensions.as_bytes();
            self.add("extensions", ByteOrder::NATIVE, &[bytes])?;
            // Behind a MKDIR, which is opcode 9: mode, umask, name.
            let count = bytes.len() as u8 / 8;
            self.add("request", ByteOrder::NATIVE, &[&[9, count], &[0; 8], b"name\0", bytes])?;
        }
        Ok(())
    }

    /// Numbers of which requests, replies and negotiations are made.
    fn round_trips(&mut self) -> io::Result<()> {
        let noise: Vec<u8> = (0..800_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for kind in 0..51 {
            for minor in [3, 8, 11, 22, 38, 45] {
                self.write("round_trip", &[&[minor, ALL_FLAGS, 0, kind], &noise[..]].concat())?;
            }
        }
        // A client's offer, then a server's reply, of 64 bytes together.
        for start in 0..32 {
            self.write("negotiation", &noise[start * 8..][..64])?;
        }
        self.write("negotiation", &[0; 64])
    }
}
