//! What happens to each request: mappings are made here, everything else goes to virtiofsd's server, with the window
//! put right before and after.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use vhost::vhost_user::Backend;
use virtiofsd::descriptor_utils::{Reader, Writer};
use virtiofsd::server::Server;

use crate::access::{self, Attributes};
use crate::chain::{Chain, IN_HEADER, Memory, OUT_HEADER, ReplyRoom, Request};
use crate::files::Files;
use crate::frontend::Frontend;
use crate::mapper::{Mapper, Setup, SetupError};
use crate::opcode;
use crate::record::Record;
use crate::share::{HostFs, Share};
use crate::window::PAGE;

/// `FATTR_SIZE` of SETATTR's `valid`.
const FATTR_SIZE: u32 = 1 << 3;
/// `FALLOC_FL_COLLAPSE_RANGE` of FALLOCATE's `mode`.
const COLLAPSE_RANGE: u32 = 0x08;
/// `FUSE_MAP_ALIGNMENT` of INIT's `flags`.
const MAP_ALIGNMENT: u32 = 1 << 26;
/// `FUSE_ALLOW_IDMAP` of INIT's `flags2`. With it Linux no longer says who asks, and who may have a file mapped
/// could not be told.
const ALLOW_IDMAP: u32 = 1 << 8;
/// Where INIT's reply has its flags, counted from the reply's start.
const INIT_OUT_FLAGS: usize = OUT_HEADER + 12;
/// Where INIT's reply has the alignment that mappings need, as a power of two.
const INIT_OUT_MAP_ALIGNMENT: usize = OUT_HEADER + 30;
/// Where INIT's reply has the upper half of its flags.
const INIT_OUT_FLAGS2: usize = OUT_HEADER + 32;
/// Most ranges that one removal may name: many times what Linux puts into one.
const MAX_REMOVALS: usize = 1 << 14;
/// Length of INIT's reply.
const INIT_OUT_LEN: usize = OUT_HEADER + 64;

/// A request that maps part of a file, read and not yet carried out.
#[derive(Debug)]
pub struct SetupRequest {
    /// The request.
    pub request: Request,
    /// Its place in the queue.
    pub chain: Chain,
    /// Whether it is answered as if it had failed, on purpose.
    pub unknown: bool,
}

/// The link to the front end's window: the channel, and whether the device runs.
pub struct Link<'a> {
    /// Where requests go.
    pub channel: &'a Backend,
    /// Whether they may.
    pub running: &'a dyn Fn() -> bool,
}

impl std::fmt::Debug for Link<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

/// Carries out requests, one at a time.
pub struct Worker<F: HostFs> {
    share: Share<F>,
    server: Server<Share<F>>,
    mapper: Mapper<File>,
    files: Files,
    record: Arc<Record>,
    /// Whether mappings are offered.
    dax: bool,
}

impl<F: HostFs> std::fmt::Debug for Worker<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("mapper", &self.mapper).finish_non_exhaustive()
    }
}

impl<F: HostFs> Worker<F> {
    /// Serves `fs` with a window of `window` bytes and at most `limit` mappings; without `dax`, with none.
    pub fn new(fs: F, dax: bool, window: u64, limit: usize, record: Arc<Record>) -> Self {
        let share = Share::new(fs, Arc::clone(&record));
        Worker {
            server: Server::new(share.clone()),
            share,
            mapper: Mapper::new(window, limit),
            files: Files::default(),
            record,
            dax,
        }
    }

    /// Carries out set-ups that came together; returns an errno or 0 for each.
    pub fn set_up(&mut self, link: Option<&Link<'_>>, requests: &[SetupRequest]) -> Vec<i32> {
        let Some(link) = link.filter(|_| self.dax) else { return vec![libc::ENOSYS; requests.len()] };
        let mut setups = Vec::with_capacity(requests.len());
        let mut errors = Vec::with_capacity(requests.len());
        for setup in requests {
            match self.prepare_setup(&setup.request) {
                Ok(setup) => {
                    setups.push(setup);
                    errors.push(None);
                }
                Err(errno) => errors.push(Some(errno)),
            }
        }
        let mut frontend = Frontend::new(link.channel, link.running, &self.record);
        let mut results = self.mapper.set_up(&mut frontend, &setups).into_iter();
        let outcome =
            |error: Option<i32>| error.unwrap_or_else(|| results.next().map_or(libc::EIO, |result| errno(&result)));
        errors.into_iter().map(outcome).collect()
    }

    fn prepare_setup(&mut self, request: &Request) -> Result<Setup<File>, i32> {
        let node = request.header.nodeid;
        let field = |offset| request.u64_at(offset).ok_or(libc::EINVAL);
        let (file_offset, len, window_offset) = (field(8)?, field(16)?, field(32)?);
        let (file, key) = match self.files.get(node) {
            Some(known) => known,
            None => {
                let file = self.share.open_file(request.context(), node).map_err(|error| os_error(&error))?;
                let mapper = &self.mapper;
                self.files.insert(node, file, |key| mapper.has(key)).map_err(|error| os_error(&error))?
            }
        };
        let metadata = file.metadata().map_err(|error| os_error(&error))?;
        let attributes =
            Attributes { mode: metadata.mode(), uid: metadata.uid(), gid: metadata.gid(), size: metadata.len() };
        if !access::may_map(&attributes, request.uid(), request.gid()) {
            return Err(libc::EACCES);
        }
        let tail = self.share.is_announced(node);
        Ok(Setup { node: key, file, file_offset, window_offset, len, tail })
    }

    /// Carries out a removal; returns an errno or 0.
    pub fn remove(&mut self, link: Option<&Link<'_>>, request: &Request, memory: &Memory, chain: Chain) -> i32 {
        let Some(link) = link.filter(|_| self.dax) else { return libc::ENOSYS };
        let Some(ranges) = removal(request, memory, chain) else { return libc::EINVAL };
        let mut frontend = Frontend::new(link.channel, link.running, &self.record);
        errno(&self.mapper.remove(&mut frontend, &ranges))
    }

    /// Puts the window right for a request that virtiofsd's server is about to carry out. An error is the errno with
    /// which the request must fail.
    ///
    /// # Errors
    ///
    /// The errno, positive.
    pub fn before(&mut self, link: Option<&Link<'_>>, request: &Request) -> Result<(), i32> {
        let node = request.header.nodeid;
        match request.header.opcode {
            opcode::INIT | opcode::DESTROY => {
                self.record.session(request.header.opcode == opcode::DESTROY);
                self.end_session(link);
                self.share.offer(self.dax && link.is_some());
                Ok(())
            }
            opcode::SETATTR if request.u32_at(0).unwrap_or(0) & FATTR_SIZE != 0 => {
                self.before_shrink(link, request, node, request.u64_at(16).unwrap_or(0))
            }
            opcode::OPEN if truncates(request.u32_at(0)) => self.before_shrink(link, request, node, 0),
            opcode::CREATE if truncates(request.u32_at(0)) && !self.mapper.is_empty() => {
                let name = request.body.get(16..).and_then(|rest| CStr::from_bytes_until_nul(rest).ok());
                match name.map(|name| self.share.find(request.context(), node, name)) {
                    Some(Ok(existing)) => self.before_shrink(link, request, existing, 0),
                    // No such file: it will be a new one.
                    _ => Ok(()),
                }
            }
            opcode::FALLOCATE if request.u32_at(24).unwrap_or(0) & COLLAPSE_RANGE != 0 => {
                let size = self.share.size(request.context(), node).map_err(|error| os_error(&error))?;
                let less = request.u64_at(16).unwrap_or(0);
                self.before_shrink(link, request, node, size.saturating_sub(less))
            }
            _ => Ok(()),
        }
    }

    fn before_shrink(&mut self, link: Option<&Link<'_>>, request: &Request, node: u64, size: u64) -> Result<(), i32> {
        let Some(link) = link else { return Ok(()) };
        let mut frontend = Frontend::new(link.channel, link.running, &self.record);
        let keys = match self.files.key(node) {
            Some(key) => vec![key],
            None if self.mapper.is_empty() => Vec::new(),
            // The file may be mapped under a number that the guest has let go of.
            None => match self.share.inode(request.context(), node) {
                Ok(inode) => self.files.keys_of_inode(inode),
                Err(_) => Vec::new(),
            },
        };
        // Even with nothing to unmap, what was unmapped before has to be out of the guest's sight.
        for key in keys.into_iter().chain(std::iter::once(node)) {
            self.mapper.before_shrink(&mut frontend, key, size).map_err(|error| {
                log::error!("node {node}: it keeps its size, since it cannot be unmapped: {error}");
                libc::EIO
            })?;
        }
        Ok(())
    }

    fn end_session(&mut self, link: Option<&Link<'_>>) {
        if let Some(link) = link
            && !self.mapper.is_empty()
        {
            let mut frontend = Frontend::new(link.channel, link.running, &self.record);
            if let Err(error) = self.mapper.remove_all(&mut frontend) {
                log::error!("{} mappings outlive their session: {error}", self.mapper.live());
            }
        }
        self.files.clear();
    }

    /// Lets virtiofsd's server carry out a request; returns the length of the reply in bytes.
    pub fn serve(&mut self, request: &Request, memory: &Memory, chain: Chain) -> usize {
        let room = ReplyRoom::new(memory, chain.clone());
        if room.len() < OUT_HEADER && opcode::has_reply(request.header.opcode) {
            // virtiofsd takes for granted that there is room for a header.
            log::warn!("request {} has no room for its reply", request.header.unique);
            return 0;
        }
        let served = Reader::new(memory, chain.clone())
            .and_then(|reader| Ok((reader, Writer::new(memory, chain)?)))
            .map_err(io::Error::other)
            .and_then(|(reader, writer)| {
                self.server.handle_message(reader, writer, None::<&mut Backend>).map_err(io::Error::other)
            });
        let unique = request.header.unique;
        match served {
            // virtiofsd leaves this one without the reply that it has elsewhere.
            Ok(0) if request.header.opcode == opcode::DESTROY && room.len() >= OUT_HEADER => {
                room.write_header(unique, 0)
            }
            Ok(len) => len,
            Err(error) => {
                log::warn!("request {unique} ({}): {error}", opcode::name(request.header.opcode));
                if room.is_empty() { 0 } else { room.write_header(unique, -libc::EINVAL) }
            }
        }
    }

    /// Puts the window right after a request, and its reply with it; returns the length of the reply in bytes.
    pub fn after(&mut self, link: Option<&Link<'_>>, request: &Request, room: &ReplyRoom<'_>, len: usize) -> usize {
        let mut touched = self.share.take_seen();
        for node in self.share.take_gone() {
            if self.files.key(node).is_some_and(|key| !self.mapper.has(key)) {
                self.files.remove(node);
            }
        }
        let header = &request.header;
        match header.opcode {
            opcode::INIT => self.amend_init(link, request, room, len),
            opcode::COPY_FILE_RANGE => touched.extend(request.u64_at(16)),
            _ => {}
        }
        let Some(link) = link else { return len };
        touched.push(header.nodeid);
        for node in touched {
            let key = self.files.key(node).unwrap_or(node);
            if !self.mapper.is_incomplete(key) {
                continue;
            }
            let mut frontend = Frontend::new(link.channel, link.running, &self.record);
            if let Err(error) = self.mapper.grown(&mut frontend, key) {
                log::error!("node {node}: it grew, and what the guest believes mapped is not: {error}");
                if len >= OUT_HEADER {
                    return room.write_header(header.unique, -libc::EIO);
                }
            }
        }
        len
    }

    fn amend_init(&self, link: Option<&Link<'_>>, request: &Request, room: &ReplyRoom<'_>, len: usize) {
        if !self.dax || link.is_none() || len < INIT_OUT_LEN || room.error() != 0 {
            return;
        }
        let offered = request.u32_at(12).unwrap_or(0) & MAP_ALIGNMENT;
        let alignment = u16::try_from(PAGE.ilog2()).unwrap_or(u16::MAX);
        let flags = |bits: u32| bits | offered;
        let amended = room
            .amend(INIT_OUT_FLAGS, flags)
            .and_then(|()| room.amend(INIT_OUT_FLAGS2, |bits| bits & !ALLOW_IDMAP))
            .and_then(|()| match offered {
                0 => Ok(()),
                _ => room.write(INIT_OUT_MAP_ALIGNMENT, &alignment.to_ne_bytes()),
            });
        if let Err(error) = amended {
            log::warn!("the reply to INIT keeps its flags: {error}");
        }
    }
}

fn truncates(flags: Option<u32>) -> bool {
    flags.unwrap_or(0) & libc::O_TRUNC.cast_unsigned() != 0
}

fn os_error(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

fn errno(result: &Result<(), SetupError>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(error) => {
            log::debug!("mapping: {error}");
            error.errno()
        }
    }
}

/// The ranges that a removal names: window offset and length of each.
fn removal(request: &Request, memory: &Memory, chain: Chain) -> Option<Vec<(u64, u64)>> {
    let count = usize::try_from(request.u32_at(0)?).ok().filter(|&count| count <= MAX_REMOVALS)?;
    let len = count.checked_mul(16)?.checked_add(4)?;
    if len > usize::try_from(request.header.len).ok()?.checked_sub(IN_HEADER)? {
        return None;
    }
    let body = Request::whole_body(memory, chain, len).ok()?;
    let number = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_ne_bytes);
    body.get(4..)?.chunks_exact(16).map(|entry| Some((number(&entry[..8])?, number(&entry[8..])?))).collect()
}
