//! Numbers that must not be mixed up.

use core::fmt;

macro_rules! id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl From<u64> for $name {
            fn from(value: u64) -> Self {
                Self(value)
            }
        }

        impl From<$name> for u64 {
            fn from(value: $name) -> Self {
                value.0
            }
        }
    };
}

id! {
    /// The server's name for an inode, from an [`Entry`](crate::Entry). It stays valid until as many look-ups were
    /// forgotten as were made.
    NodeId
}

impl NodeId {
    /// The root directory, which needs no look-up and is never forgotten.
    pub const ROOT: Self = Self(1);
    /// No inode: in a request that names none (`INIT`, `BATCH_FORGET`...), and in an entry that says "no such name".
    pub const NONE: Self = Self(0);
}

id! {
    /// The server's name for an open file, from `OPEN`, `CREATE` or `OPENDIR`.
    FileHandle
}

impl FileHandle {
    /// No handle: all bits set, what Linux sends with `SETUPMAPPING`.
    pub const NONE: Self = Self(u64::MAX);
}

id! {
    /// The number that ties a reply to its request, chosen by the client.
    ///
    /// Linux counts in steps of two, since the lowest bit distinguishes an `INTERRUPT` from the request it interrupts, and uses
    /// the highest one for requests that are sent again. Zero is not a request: a message from the server with `unique`
    /// zero is a [`Notification`](crate::Notification).
    Unique
}

impl Unique {
    /// Set in the `unique` of an `INTERRUPT` that Linux sends (`FUSE_INT_REQ_BIT`).
    pub const INTERRUPT_BIT: u64 = 1;
    /// Set in the `unique` of a request that is sent again after a [`Resend`](crate::Notification::Resend) (7.40).
    pub const RESEND_BIT: u64 = 1 << 63;

    /// Whether the request was sent before.
    #[must_use]
    pub const fn is_resend(self) -> bool {
        self.0 & Self::RESEND_BIT != 0
    }
}

id! {
    /// The client's name for who holds a lock; Linux scrambles the address of its file table.
    LockOwner
}
