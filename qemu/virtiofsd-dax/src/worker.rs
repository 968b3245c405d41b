//! What happens to each request: mappings are made here, everything else goes to virtiofsd's server.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use vhost::vhost_user::Backend;
use virtiofsd::server::Server;

use crate::chain::Request;
use crate::mapper::Setup;
use crate::memory::OUT_HEADER;
use crate::opcode;
use crate::record::Record;
use crate::scratch::Scratch;
use crate::share::{HostFs, Share};
use crate::table::Table;
use crate::window::PAGE;

/// `FUSE_MAP_ALIGNMENT` of INIT's `flags`.
const MAP_ALIGNMENT: u32 = 1 << 26;
/// `FUSE_ALLOW_IDMAP` of INIT's `flags2`. With it Linux no longer says who asks, and who may have a file mapped
/// could not be notified.
const ALLOW_IDMAP: u32 = 1 << 8;
/// Where the body of READ has the size, in bytes.
const READ_SIZE: usize = 16;
/// Where INIT's reply has its flags, counted from the reply's start.
const INIT_OUT_FLAGS: usize = OUT_HEADER + 12;
/// Where INIT's reply has `max_pages`, and in the upper half the alignment that mappings need, as a power of two.
const INIT_OUT_MAX_PAGES: usize = OUT_HEADER + 28;
/// Where INIT's reply has the upper half of its flags.
const INIT_OUT_FLAGS2: usize = OUT_HEADER + 32;
/// Most ranges that one removal may name: many times what Linux puts into one.
const MAX_REMOVALS: usize = 1 << 14;
/// Length of INIT's reply.
const INIT_OUT_LEN: usize = OUT_HEADER + 64;

/// Carries out requests, for any number of threads.
pub struct Worker<F: HostFs> {
    share: Share<F>,
    server: Server<Share<F>>,
    table: Arc<Table>,
    record: Arc<Record>,
    /// Sessions begin and end one after the other.
    session: Mutex<()>,
}

impl<F: HostFs> std::fmt::Debug for Worker<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("table", &self.table).finish_non_exhaustive()
    }
}

impl<F: HostFs> Worker<F> {
    /// Serves `share`; `table` maps its files.
    pub fn new(share: Share<F>, table: Arc<Table>, record: Arc<Record>) -> Self {
        Worker { server: Server::new(share.clone()), share, table, record, session: Mutex::new(()) }
    }

    /// The window.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Carries out set-ups that came together; returns an errno or 0 for each.
    pub fn set_up(&self, requests: &[&Request]) -> Vec<i32> {
        if !self.table.is_offered() {
            return vec![libc::ENOSYS; requests.len()];
        }
        let mut setups = Vec::with_capacity(requests.len());
        let mut errors = Vec::with_capacity(requests.len());
        for request in requests {
            match self.prepare_setup(request) {
                Ok(setup) => {
                    setups.push(setup);
                    errors.push(None);
                }
                Err(errno) => errors.push(Some(errno)),
            }
        }
        let mut results = self.table.set_up(&setups).into_iter();
        errors.into_iter().map(|error| error.unwrap_or_else(|| results.next().unwrap_or(libc::EIO))).collect()
    }

    fn prepare_setup(&self, request: &Request) -> Result<Setup<std::fs::File>, i32> {
        let node = request.header.nodeid;
        let field = |offset| request.u64_at(offset).ok_or(libc::EINVAL);
        let (file_offset, len, window_offset) = (field(8)?, field(16)?, field(32)?);
        let opened = self.share.open_for_mapping(request.context(), node);
        let (file, key) = opened.map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))?;
        Ok(Setup { node, key, file, file_offset, window_offset, len })
    }

    /// Carries out a removal; returns an errno or 0.
    pub fn remove(&self, request: &Request) -> i32 {
        if !self.table.is_offered() {
            return libc::ENOSYS;
        }
        removal(request).map_or(libc::EINVAL, |ranges| self.table.remove(&ranges))
    }

    /// Carries out a request that lies in `scratch` and leaves its reply there; returns its length in bytes, at most
    /// `room`.
    pub fn serve(&self, request: &Request, scratch: &mut Scratch, room: usize) -> usize {
        let header = &request.header;
        if room < OUT_HEADER && opcode::has_reply(header.opcode) {
            // virtiofsd takes for granted that there is room for a header.
            log::warn!("request {} has no room for its reply", header.unique);
            return 0;
        }
        let begins = matches!(header.opcode, opcode::INIT | opcode::DESTROY);
        let session = begins.then(|| self.session.lock().unwrap_or_else(PoisonError::into_inner));
        if begins {
            self.record.session(header.opcode == opcode::DESTROY);
            self.table.clear();
            self.share.offer(self.table.is_offered());
        }
        // virtiofsd reads as much as there is room for, and then it is too much.
        let asked = request.u32_at(READ_SIZE).filter(|_| header.opcode == opcode::READ);
        let room = asked.map_or(room, |size| room.min(OUT_HEADER.saturating_add(size as usize)));
        let served = scratch.serve(room, |reader, writer| {
            self.server.handle_message(reader, writer, None::<&mut Backend>).map_err(io::Error::other)
        });
        let len = match served {
            // virtiofsd leaves this one without the reply that it has elsewhere.
            Ok(0) if header.opcode == opcode::DESTROY && room >= OUT_HEADER => scratch.reply_header(header.unique, 0),
            Ok(len) => len,
            Err(error) => {
                log::debug!("request {} ({}): {error}", header.unique, opcode::name(header.opcode));
                if room < OUT_HEADER { 0 } else { scratch.reply_header(header.unique, -libc::EINVAL) }
            }
        };
        if header.opcode == opcode::INIT {
            self.amend_init(request, scratch, len);
        }
        drop(session);
        len
    }

    fn amend_init(&self, request: &Request, scratch: &Scratch, len: usize) {
        if !self.table.is_offered() || len < INIT_OUT_LEN || scratch.reply_error() != 0 {
            return;
        }
        scratch.amend(INIT_OUT_FLAGS2, |bits| bits & !ALLOW_IDMAP);
        let offered = request.u32_at(12).unwrap_or(0) & MAP_ALIGNMENT;
        if offered != 0 {
            scratch.amend(INIT_OUT_FLAGS, |bits| bits | offered);
            scratch.amend(INIT_OUT_MAX_PAGES, |bits| {
                let [low, high, ..] = bits.to_ne_bytes();
                let [first, second, ..] = u16::try_from(PAGE.ilog2()).unwrap_or(u16::MAX).to_ne_bytes();
                u32::from_ne_bytes([low, high, first, second])
            });
        }
    }
}

/// The ranges that a removal names: window offset and length of each.
fn removal(request: &Request) -> Option<Vec<(u64, u64)>> {
    let count = usize::try_from(request.u32_at(0)?).ok().filter(|&count| count <= MAX_REMOVALS)?;
    let len = count.checked_mul(16)?.checked_add(4)?;
    let number = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_ne_bytes);
    let entries = request.body.get(4..len)?.chunks_exact(16);
    entries.map(|entry| Some((number(&entry[..8])?, number(&entry[8..])?))).collect()
}
