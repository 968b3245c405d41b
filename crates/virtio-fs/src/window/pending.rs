//! What is known of mappings that are being set up.

use alloc::vec::Vec;

use dax_window::{MAX_AHEAD, SetupEntry, SetupTicket};
use fuse_proto::NodeId;

use super::range_ref::RangeRef;
use crate::rpc::credentials::Credentials;
use crate::rpc::in_flight::InFlight;
use crate::{Error, Lock};

/// The most mappings of one ticket: the wanted one and those ahead of it.
pub(crate) const MAX_ENTRIES: usize = MAX_AHEAD + 1;

/// A file as the server is asked to map it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileId {
    pub(crate) node: NodeId,
    /// In whose name it is mapped.
    pub(crate) who: Credentials,
    /// Whether its size is known; if not, its bytes are frozen for who knows how long.
    pub(crate) settled: bool,
}

/// Mappings that are being set up. One that nobody waits for any more belongs to [`DaxWindow::detach`].
pub(crate) struct SetUp<R: Lock> {
    pub(super) ticket: SetupTicket,
    pub(super) file: FileId,
    pub(super) entries: Vec<SetupEntry>,
    /// `None` once it is answered.
    pub(super) in_flight: Vec<Option<InFlight<'static, R>>>,
    pub(super) range: Option<RangeRef>,
    pub(super) first_error: Option<Error>,
}
