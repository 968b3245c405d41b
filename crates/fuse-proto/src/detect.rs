//! Finding out the byte order of a connection.

use crate::{ByteOrder, RequestHeader};

impl ByteOrder {
    /// Finds the order of a connection from its first request, which must be `INIT`: the opcode stands at offset 4 as
    /// a 32-bit number, which distinguishes 26 from 26 << 24. `None` if the request is shorter than a header or is not
    /// an `INIT` in either order.
    #[must_use]
    pub fn detect(first_request: &[u8]) -> Option<Self> {
        if first_request.len() < RequestHeader::LEN {
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
    use crate::ByteOrder;

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
