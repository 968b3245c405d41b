//! A request that this crate does not know, made by who needs it.

use fuse_proto::{
    Context, DecodeError, EncodeError, InitFlags, Message, NodeId, Opcode, Operation, Protocol, ReplyBody, ReplyError,
    ReplyMessage, ReplySize, Unique, raw, raw::Layout,
};

/// Opcode 54 with the body of a `LOOKUP` and the reply of an `LSEEK`.
struct Measure<'a> {
    node: NodeId,
    name: &'a [u8],
}

#[derive(Debug, PartialEq, Eq)]
struct Measured(u64);

impl ReplyBody for Measured {
    fn write<'s>(&'s self, _: &Protocol, reply: &mut ReplyMessage<'s>) -> Result<(), EncodeError> {
        reply.fixed(raw::LseekOut { offset: self.0 })
    }
}

impl Operation for Measure<'_> {
    const OPCODE: Opcode = Opcode(54);

    type Reply<'r> = Measured;

    fn node(&self) -> NodeId {
        self.node
    }

    fn write_body<'s>(&'s self, _: &Protocol, message: &mut Message<'s>) -> Result<(), EncodeError> {
        message.name("name", self.name)
    }

    fn reply_size(&self, _: &Protocol) -> ReplySize {
        ReplySize::exactly(size_of::<raw::LseekOut>())
    }

    fn decode_body(&self, protocol: &Protocol, body: &[u8]) -> Result<Measured, DecodeError> {
        let (raw, _) = raw::LseekOut::read_prefix(protocol.byte_order(), body)?;
        Ok(Measured(raw.offset))
    }
}

#[test]
fn it_is_sent_and_answered_like_any_other() {
    let protocol = Protocol::new(45, InitFlags::empty());
    let measure = Measure { node: NodeId(7), name: b"name" };
    let message = measure.encode(&protocol, Unique(2), Context::default()).unwrap();
    assert_eq!(message.len(), 45);
    let mut reply = [0; 24];
    measure.reply(&protocol, Unique(2), &Measured(9)).unwrap().copy_to(&mut reply).unwrap();
    assert_eq!(measure.decode_whole(&protocol, Unique(2), 24, &reply), Ok(Measured(9)));
    let wrong = measure.decode_whole(&protocol, Unique(2), 23, &reply);
    assert!(matches!(wrong, Err(ReplyError::Invalid(DecodeError::Length { len: 24, used: 23 }))));
}
