//! How long requests may take, by class.

use core::time::Duration;

use fuse_proto::Opcode;

/// How much work of the host's a request can be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Class {
    /// A server that is alive answers soon.
    Short,
    /// The answer may take as long as the host's disk takes for all that a file, or the file system, has in memory; or as
    /// long as somebody keeps a lock.
    Long,
}

impl Class {
    /// The class of requests with this opcode.
    pub(crate) fn of(opcode: Opcode) -> Self {
        match opcode {
            Opcode::FSYNC
            | Opcode::FSYNCDIR
            | Opcode::FLUSH
            | Opcode::FALLOCATE
            | Opcode::COPY_FILE_RANGE
            | Opcode::COPY_FILE_RANGE_64
            | Opcode::SYNCFS
            | Opcode::SETLKW => Self::Long,
            _ => Self::Short,
        }
    }
}

/// How long requests may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    pub(crate) short: Duration,
    pub(crate) long: Duration,
}

impl Deadlines {
    /// How long a request with this opcode may take.
    pub(crate) fn of(&self, opcode: Opcode) -> Duration {
        match Class::of(opcode) {
            Class::Short => self.short,
            Class::Long => self.long.max(self.short),
        }
    }

    /// The longest that a call can take which waits for another one: a request of each class.
    pub(crate) fn of_a_call(&self) -> Duration {
        self.long.max(self.short).saturating_add(self.short)
    }
}
