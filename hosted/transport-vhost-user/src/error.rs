//! Why there is no connection, and why one ended.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

/// Why a back end cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// There is nothing at this path.
    #[error("there is no socket {path}")]
    NoSocket {
        /// The path.
        path: PathBuf,
    },
    /// The path cannot be connected to: it is no socket, or nobody listens, or it is not permitted.
    #[error("cannot connect to {path}: {source}")]
    Connect {
        /// The path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The back end does not offer something that there is no way without.
    #[error("the back end lacks {feature}; it offers {offered:#x}")]
    Lacks {
        /// The feature's name in the specification.
        feature: &'static str,
        /// The features that it offers.
        offered: u64,
    },
    /// The back end has too few queues for a file system.
    #[error("the back end has {queues} queues, a file system needs 2")]
    TooFewQueues {
        /// How many it has.
        queues: u64,
    },
    /// A request to the back end failed.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// There is no memory to share.
    #[error("{len} bytes of memory cannot be shared: {source}")]
    Memory {
        /// How many bytes.
        len: usize,
        /// What the system says.
        source: io::Error,
    },
    /// There are no addresses for the window.
    #[error("a window of {len} bytes cannot be reserved: {source}")]
    Window {
        /// Its size in bytes, as the back end says.
        len: u64,
        /// What the system says.
        source: io::Error,
    },
    /// The system has no eventfd or thread to give.
    #[error("the system refuses a resource: {source}")]
    System {
        /// What the system says.
        #[from]
        source: io::Error,
    },
}

/// Why a request of the vhost-user protocol failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The back end refused it, or answered with nonsense.
    #[error("{request}: {source}")]
    Refused {
        /// The request's name in the specification.
        request: &'static str,
        /// What is wrong.
        source: vhost::Error,
    },
    /// The connection is over. It was closed by the back end, or by this side after a request without an answer.
    #[error("{request}: {reason}")]
    Gone {
        /// The request's name in the specification.
        request: &'static str,
        /// Why.
        reason: GoneReason,
    },
}

/// Why a connection is over. There is no way back: a virtiofsd ends with its front end, and node numbers and open files of
/// a session mean nothing to another one. What was mounted has to be mounted anew, over a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GoneReason {
    /// The back end closed it: it ended, was killed, or gave up.
    #[error("the back end is gone")]
    Closed,
    /// The back end did not answer in time.
    #[error("the back end did not answer within {0:?}")]
    Silent(Duration),
    /// This side closed it.
    #[error("the connection was closed")]
    Ours,
}
