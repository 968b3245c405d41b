//! What can go wrong: while mounting, and in operation.

use core::time::Duration;

use fuse_proto::{DecodeError, EncodeError, Errno, NameError, NegotiationError, Opcode, ReplyError};
use thiserror::Error;
use virtio_transport::ConfigError;

use crate::{DaxStatus, RingError};

/// Why a device could not be mounted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MountError {
    /// The device is no virtio file system device.
    #[error("virtio device id {device_id} is no file system device (26)")]
    NotAFileSystem {
        /// The id that the transport read.
        device_id: u16,
    },
    /// The device did not come back from a reset.
    #[error("the device did not reset in time; its status is {status:#x}")]
    ResetTimeout {
        /// The status register.
        status: u32,
    },
    /// The device does not offer VIRTIO_F_VERSION_1.
    #[error("a legacy device: its features {features:#x} lack VIRTIO_F_VERSION_1")]
    Legacy {
        /// The features it offers.
        features: u64,
    },
    /// The device did not accept the features.
    #[error("the device refused the features {wanted:#x} of the {offered:#x} that it offers")]
    FeaturesRefused {
        /// The features it offers.
        offered: u64,
        /// Those that were asked for.
        wanted: u64,
    },
    /// Its configuration space could not be read.
    #[error("the device's configuration cannot be read: {0}")]
    Config(#[from] ConfigError),
    /// Its configuration space changed each time it was read.
    #[error("the device's configuration changed during each of {tries} reads")]
    ConfigUnstable {
        /// How often it was read.
        tries: usize,
    },
    /// num_request_queues is 0.
    #[error("the device has no request queue")]
    NoRequestQueue,
    /// notify_buf_size makes no sense.
    #[error("notifications of {size} bytes: between 64 bytes and 1 MiB make sense")]
    NotifyBuffer {
        /// The size in bytes that the device wants.
        size: u32,
    },
    /// A queue does not exist or is too small for a request.
    #[error("queue {queue} has {size} descriptors, too few for a request")]
    QueueTooSmall {
        /// The queue's number.
        queue: u16,
        /// Its largest size.
        size: u32,
    },
    /// The device did not enable a queue.
    #[error("the device did not take queue {queue}")]
    QueueRefused {
        /// The queue's number.
        queue: u16,
    },
    /// [`crate::Config::queue_size`] is 0.
    #[error("the configuration asks for queues of 0 descriptors")]
    NoQueueSize,
    /// [`crate::Interrupts::InHandler`] needs a lock that keeps interrupt handlers out while it is held
    /// ([`crate::Lock::DISABLES_INTERRUPTS`]).
    #[error("interrupt handlers would wait for the locks of what they interrupt: the lock does not disable interrupts")]
    LockInHandler,
    /// The embedder gave no DMA memory.
    #[error("no DMA memory for queues and buffers")]
    NoDmaMemory,
    /// The configuration's data buffers are unusable.
    #[error("{count} data buffers of {size} bytes are too few: at least 1 of 4096 bytes is needed")]
    DataBuffers {
        /// [`crate::Config::data_buffers`].
        count: usize,
        /// [`crate::Config::data_buffer_size`].
        size: usize,
    },
    /// [`crate::Config::require_dax`], and the window cannot be used.
    #[error("DAX is required: {0}")]
    NoDax(DaxStatus),
    /// The FUSE session could not be negotiated.
    #[error("FUSE_INIT: {0}")]
    Negotiation(NegotiationError),
    /// A request of the mount failed.
    #[error("{0}")]
    Request(#[from] Error),
}

/// Why an operation failed.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The server answered with an error.
    #[error("{0}")]
    Os(Errno),
    /// The operation is refused before anything is sent; the errno says what it would have been.
    #[error("{what}: {errno}")]
    Refused {
        /// What was wrong.
        what: &'static str,
        /// The errno that fits.
        errno: Errno,
    },
    /// The request cannot be expressed: a name that is none, a field out of range, something that was not negotiated.
    #[error("{0}")]
    Encode(EncodeError),
    /// No answer came in time. The request's buffers stay reserved until the device returns them.
    #[error("{opcode} was not answered within {after:?}")]
    TimedOut {
        /// The request.
        opcode: Opcode,
        /// The time it was given.
        after: Duration,
    },
    /// The embedder ended the wait ([`crate::Platform::wait`]). What was asked of the server may still happen.
    #[error("the wait was cancelled")]
    Cancelled,
    /// The device was given up after too many requests without an answer, or after it broke a queue.
    #[error("the device was given up")]
    Dead,
    /// The file system was unmounted.
    #[error("the file system was unmounted")]
    Unmounted,
    /// The file system cannot be unmounted: mapped views or pinned ranges are alive.
    #[error("{maps} mapped views are alive")]
    Busy {
        /// Views and pins.
        maps: usize,
    },
    /// The device broke the rules of a queue.
    #[error("queue: {0}")]
    Queue(#[from] RingError),
    /// A reply makes no sense.
    #[error("the reply to {opcode} is malformed: {error}")]
    Reply {
        /// The request.
        opcode: Opcode,
        /// What is wrong with the reply.
        error: DecodeError,
    },
    /// The data of a request, or an extended attribute, are larger than the data buffers.
    #[error("{len} bytes of data; a buffer holds {limit}")]
    TooLarge {
        /// Bytes to send or to receive.
        len: usize,
        /// [`crate::Config::data_buffer_size`].
        limit: usize,
    },
}

impl Error {
    /// The errno that says this best to a program.
    pub fn errno(&self) -> Errno {
        match self {
            Self::Os(errno) | Self::Refused { errno, .. } => *errno,
            Self::Encode(EncodeError::Name { error: NameError::TooLong { .. }, .. }) => Errno::ENAMETOOLONG,
            Self::Encode(EncodeError::Name { error: NameError::Empty, .. }) => Errno::ENOENT,
            Self::Encode(EncodeError::NotNegotiated { .. }) => Errno::EOPNOTSUPP,
            Self::Encode(EncodeError::TooLong { .. }) => Errno::E2BIG,
            Self::Encode(_) => Errno::EINVAL,
            Self::TimedOut { .. } => Errno::ETIMEDOUT,
            Self::Cancelled => Errno::EINTR,
            Self::Unmounted => Errno::ENODEV,
            Self::Busy { .. } => Errno::EBUSY,
            Self::TooLarge { .. } => Errno::E2BIG,
            Self::Dead | Self::Queue(_) | Self::Reply { .. } => Errno::EIO,
        }
    }

    /// What became of a request that this is the reply to.
    pub(crate) fn of_reply(opcode: Opcode, error: ReplyError) -> Self {
        match error {
            ReplyError::Refused(errno) => Self::Os(errno),
            ReplyError::Invalid(error) => Self::Reply { opcode, error },
        }
    }

    pub(crate) const fn refused(errno: Errno, what: &'static str) -> Self {
        Self::Refused { what, errno }
    }

    /// Whether the server does not know the request.
    pub(crate) fn is_enosys(&self) -> bool {
        matches!(self, Self::Os(errno) if *errno == Errno::ENOSYS)
    }
}

impl embedded_io::Error for Error {
    fn kind(&self) -> embedded_io::ErrorKind {
        use embedded_io::ErrorKind;
        match self.errno() {
            Errno::ENOENT => ErrorKind::NotFound,
            Errno::EACCES | Errno::EPERM | Errno::EROFS => ErrorKind::PermissionDenied,
            Errno::EEXIST => ErrorKind::AlreadyExists,
            Errno::EINVAL | Errno::EISDIR | Errno::ENOTDIR | Errno::EBADF => ErrorKind::InvalidInput,
            Errno::ETIMEDOUT => ErrorKind::TimedOut,
            Errno::EINTR => ErrorKind::Interrupted,
            Errno::ENOMEM => ErrorKind::OutOfMemory,
            Errno::EOPNOTSUPP | Errno::ENOSYS => ErrorKind::Unsupported,
            _ => ErrorKind::Other,
        }
    }
}
