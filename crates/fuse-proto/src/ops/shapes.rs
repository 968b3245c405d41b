//! The shapes of replies that most requests share.

/// A request with a reply that has no body.
macro_rules! empty_reply {
    () => {
        type Reply<'r> = ();

        fn reply_size(&self, _: &crate::Protocol) -> crate::ReplySize {
            crate::ReplySize::EMPTY
        }

        fn decode_body(&self, _: &crate::Protocol, _: &[u8]) -> Result<(), crate::DecodeError> {
            Ok(())
        }
    };
}

/// A request with a reply that is a structure with one size in each version.
macro_rules! sized_reply {
    ($reply:ty, $read:path) => {
        type Reply<'r> = $reply;

        fn reply_size(&self, protocol: &crate::Protocol) -> crate::ReplySize {
            crate::ReplySize::exactly(<$reply>::size(protocol))
        }

        fn decode_body(&self, protocol: &crate::Protocol, body: &[u8]) -> Result<$reply, crate::DecodeError> {
            let (reply, rest) = $read(protocol, body)?;
            crate::attr::no_more(stringify!($reply), rest)?;
            Ok(reply)
        }
    };
}
