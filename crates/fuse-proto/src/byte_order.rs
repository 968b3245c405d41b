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

    /// Finds the order of a connection from its first request, which must be `INIT`: the opcode stands at offset 4 as
    /// a 32-bit number, so that 26 can be told from 26 << 24. `None` if the request is shorter than a header or is not
    /// an `INIT` in either order.
    #[must_use]
    pub fn detect(first_request: &[u8]) -> Option<Self> {
        if first_request.len() < crate::RequestHeader::LEN {
            return None;
        }
        match first_request[4..8] {
            [26, 0, 0, 0] => Some(Self::Little),
            [0, 0, 0, 26] => Some(Self::Big),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_request_shows_the_order() {
        let mut request = [0; 104];
        assert_eq!(ByteOrder::detect(&request), None);
        request[4] = 26;
        assert_eq!(ByteOrder::detect(&request), Some(ByteOrder::Little));
        assert_eq!(ByteOrder::detect(&request[..39]), None);
        request[4..8].reverse();
        assert_eq!(ByteOrder::detect(&request), Some(ByteOrder::Big));
        request[4] = 26;
        assert_eq!(ByteOrder::detect(&request), None);
        assert!(ByteOrder::NATIVE.is_native() && !ByteOrder::NATIVE.reversed().is_native());
    }
}
