//! What can go wrong with a mounted file system.

use fs_dax::{Errno, OwnerId};

use crate::{AppendError, Finding, Flaw, PathFlaw};

/// An error of a mounted file system. [`Error::errno`] gives the number for a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The memory holds no file system that can be read.
    #[error("cannot mount: {0}")]
    Refused(Finding),
    /// The memory belongs to another mount.
    #[error("the memory at {phys:#x} belongs to {holder}")]
    Busy {
        /// Where the memory begins that both want, a physical address.
        phys: u64,
        /// The other mount.
        holder: OwnerId,
    },
    /// Only the host that made the file system adds to it.
    #[error("another host is the master")]
    NotMaster,
    /// The format has no record for it: no other host would see it.
    #[error("{operation} is not possible on this file system")]
    NotPossible {
        /// What was tried.
        operation: &'static str,
    },
    /// This mount does not write: its memory is read-only, it was mounted so, or a second writer was found.
    #[error("read-only")]
    ReadOnly,
    /// All hosts read this file only.
    #[error("a file that no host writes")]
    FileReadOnly,
    /// The file system was made anew under this mount.
    #[error("the file system was made anew")]
    Stale,
    /// There is no such file or directory.
    #[error("no such file or directory")]
    NotFound,
    /// A file where a directory is needed.
    #[error("not a directory")]
    NotADirectory,
    /// A directory where a file is needed.
    #[error("a directory")]
    IsADirectory,
    /// A path that cannot be used.
    #[error(transparent)]
    Path(PathFlaw),
    /// A file of 0 bytes, or a mode with more than permissions.
    #[error("a file of {size} bytes with mode {mode:o} cannot be made")]
    Attributes {
        /// The size in bytes.
        size: u64,
        /// The mode.
        mode: u32,
    },
    /// No place is large enough.
    #[error("no room for {size} bytes in one piece, or in as many strips")]
    NoRoom {
        /// The file's size in bytes.
        size: u64,
    },
    /// The log took no entry.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The memory or a file failed, or a number is wrong.
    #[error(transparent)]
    Dax(#[from] fs_dax::Error),
}

impl Error {
    /// The error number that stands for it.
    #[must_use]
    pub const fn errno(&self) -> Errno {
        match self {
            Self::Refused(_) | Self::Attributes { .. } => Errno::EINVAL,
            Self::Busy { .. } => Errno::EBUSY,
            Self::NotMaster | Self::NotPossible { .. } => Errno::EPERM,
            Self::ReadOnly => Errno::EROFS,
            Self::FileReadOnly => Errno::EACCES,
            Self::Stale => Errno::ESTALE,
            Self::NotFound => Errno::ENOENT,
            Self::NotADirectory => Errno::ENOTDIR,
            Self::IsADirectory => Errno::EISDIR,
            Self::Path(flaw) => path_errno(*flaw),
            Self::NoRoom { .. } => Errno::ENOSPC,
            Self::Append(error) => append_errno(error),
            Self::Dax(error) => error.errno(),
        }
    }
}

const fn path_errno(flaw: PathFlaw) -> Errno {
    match flaw {
        PathFlaw::Unterminated => Errno::ENAMETOOLONG,
        PathFlaw::Parent => Errno::ENOENT,
        PathFlaw::Exists => Errno::EEXIST,
        PathFlaw::Reserved => Errno::EPERM,
        PathFlaw::Empty | PathFlaw::Absolute | PathFlaw::DotDot | PathFlaw::Component => Errno::EINVAL,
    }
}

const fn append_errno(error: &AppendError) -> Errno {
    match error {
        AppendError::LogFull { .. } => Errno::ENOSPC,
        AppendError::NoSuchRecord => Errno::EINVAL,
        AppendError::SecondWriter { .. } => Errno::EROFS,
        AppendError::Reformatted => Errno::ESTALE,
        AppendError::Damaged(_) => Errno::EIO,
        AppendError::Memory(error) => error.errno(),
    }
}

impl From<PathFlaw> for Error {
    fn from(flaw: PathFlaw) -> Self {
        Self::Path(flaw)
    }
}

/// For what this host is about to record itself: a flaw of its path, or of a map that has no room.
impl From<(Flaw, u64)> for Error {
    fn from((flaw, size): (Flaw, u64)) -> Self {
        match flaw {
            Flaw::Path(flaw) => Self::Path(flaw),
            _ => Self::NoRoom { size },
        }
    }
}
