//! Opening the FUSE session: INIT, as often as the protocol wants it.

use fuse_proto::{InitFlags, Limits, Negotiation, NegotiationError, Offer, Protocol, ReplyError};
use lock_api::RawMutex;

use crate::connection::Connection;
use crate::{Config, DaxMode, Error, MountError, Platform};

/// A connection on which no session is open yet. Dropped without one, it stops the device.
pub(crate) struct Session<R: RawMutex> {
    connection: Connection<R>,
}

impl<R: RawMutex + Send + Sync + 'static> Session<R> {
    pub(crate) fn new(connection: Connection<R>) -> Self {
        Self { connection }
    }

    pub(crate) fn platform(&self) -> &dyn Platform {
        &*self.connection.platform
    }

    /// Sends INIT and makes sense of the answer.
    pub(crate) fn negotiate(&self, config: &Config) -> Result<Protocol, MountError> {
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
            | InitFlags::MAX_PAGES
            | InitFlags::SUBMOUNTS;
        if config.dax && config.dax_mode != DaxMode::Never {
            flags |= InitFlags::MAP_ALIGNMENT;
        }
        if config.dax_mode == DaxMode::Inode {
            flags |= InitFlags::HAS_INODE_DAX;
        }
        let largest = u32::try_from(config.data_buffer_size).unwrap_or(u32::MAX);
        let pages = u16::try_from(config.data_buffer_size / 4096).unwrap_or(u16::MAX);
        let limits = Limits { max_write: largest, max_pages: pages };
        let negotiation = Negotiation::new(Offer { max_readahead: largest, limits, ..Offer::new(flags) });
        let init = negotiation.init();
        let reply = self.connection.call_op(&Protocol::INITIAL, config.credentials, &init, &mut [], |reply| reply);
        let reply = match reply {
            Ok(reply) => Ok(reply),
            Err(Error::Os(errno)) => Err(ReplyError::Refused(errno)),
            Err(Error::Reply { error, .. }) => Err(ReplyError::Invalid(error)),
            Err(error) => return Err(error.into()),
        };
        negotiation.answer(reply).map_err(|error: NegotiationError| MountError::Negotiation(error))
    }

    /// Stops the device: there will be no session.
    pub(crate) fn shut_down(self) {
        self.connection.stop();
    }

    pub(crate) fn into_connection(self) -> Connection<R> {
        self.connection
    }
}
