//! The order of the bytes of a message.

/// The order of the bytes in every integer of a message.
///
/// FUSE has no byte order of its own: a client writes its native order, and a server on a machine of the other order
/// finds out from the first request (see [`ByteOrder::detect`]). A client only ever needs [`ByteOrder::NATIVE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ByteOrder {
    /// Least significant byte first.
    Little,
    /// Most significant byte first.
    Big,
}

impl ByteOrder {
    /// The order of the machine that this code was compiled for.
    pub const NATIVE: Self = if cfg!(target_endian = "big") { Self::Big } else { Self::Little };

    /// Whether this is the order of the machine that this code was compiled for.
    #[must_use]
    pub const fn is_native(self) -> bool {
        matches!((self, Self::NATIVE), (Self::Little, Self::Little) | (Self::Big, Self::Big))
    }

    /// The other order.
    #[must_use]
    pub const fn reversed(self) -> Self {
        match self {
            Self::Little => Self::Big,
            Self::Big => Self::Little,
        }
    }
}
