//! The FUSE session that is offered by INIT, and what became of it.

use fuse_proto::{InitFlags, Limits, Negotiation, NegotiationError, Offer, Protocol, ReplyError};

use crate::{Error, MountError};

/// What a session is wanted for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wishes {
    /// Files are to be mapped.
    pub(crate) map: bool,
    /// The server is to mark the files that are to be mapped.
    pub(crate) marks: bool,
    /// The largest READ or WRITE in bytes.
    pub(crate) data_buffer_size: usize,
}

/// What to offer.
pub(crate) fn offer(wishes: Wishes) -> Negotiation {
    let mut flags = InitFlags::ASYNC_READ
        | InitFlags::ATOMIC_O_TRUNC
        | InitFlags::BIG_WRITES
        | InitFlags::DONT_MASK
        | InitFlags::AUTO_INVAL_DATA
        | InitFlags::DO_READDIRPLUS
        | InitFlags::PARALLEL_DIROPS
        | InitFlags::NO_OPEN_SUPPORT
        | InitFlags::NO_OPENDIR_SUPPORT
        | InitFlags::POSIX_LOCKS
        | InitFlags::FLOCK_LOCKS
        | InitFlags::HANDLE_KILLPRIV_V2
        | InitFlags::MAX_PAGES
        | InitFlags::SUBMOUNTS;
    if wishes.map {
        flags |= InitFlags::MAP_ALIGNMENT;
    }
    if wishes.marks {
        flags |= InitFlags::HAS_INODE_DAX;
    }
    let largest = u32::try_from(wishes.data_buffer_size).unwrap_or(u32::MAX);
    let pages = u16::try_from(wishes.data_buffer_size / 4096).unwrap_or(u16::MAX);
    let limits = Limits { max_write: largest, max_pages: pages };
    Negotiation::new(Offer { max_readahead: largest, limits, ..Offer::new(flags) })
}

/// What the server made of an offer.
pub(crate) fn outcome(
    negotiation: Negotiation,
    reply: Result<fuse_proto::ops::InitReply, Error>,
) -> Result<Protocol, MountError> {
    let reply = match reply {
        Ok(reply) => Ok(reply),
        Err(Error::Os(errno)) => Err(ReplyError::Refused(errno)),
        Err(Error::Reply { error, .. }) => Err(ReplyError::Invalid(error)),
        Err(error) => return Err(error.into()),
    };
    negotiation.answer(reply).map_err(|error: NegotiationError| MountError::Negotiation(error))
}
