//! Every notification both ways.

use std::{vec, vec::Vec};

use super::*;
use crate::{InitFlags, NameError};

const PROTOCOL: Protocol = Protocol::new(45, InitFlags::empty());

fn encode(notification: &Notification<'_>) -> Vec<u8> {
    let mut scratch = [0; 64];
    let message = notification.encode(&PROTOCOL, &mut scratch).unwrap();
    let mut bytes = vec![0xff; message.len()];
    message.copy_to(&mut bytes).unwrap();
    bytes
}

fn all(nodes: List<'_, PrunedNode>) -> [(Notification<'_>, usize); 9] {
    let (node, parent, name) = (NodeId(7), NodeId(1), &b"name"[..]);
    [
        (Notification::Poll { kh: 5 }, 24),
        (Notification::InvalInode { node, offset: -1, len: 0 }, 40),
        (Notification::InvalEntry { parent, name, flags: InvalEntryFlags::EXPIRE_ONLY }, 37),
        (Notification::Store { node, offset: 4096, data: b"data" }, 44),
        (Notification::Retrieve { notify_unique: Unique(9), node, offset: 0, size: 512 }, 48),
        (Notification::Delete { parent, child: node, name }, 45),
        (Notification::Resend, 16),
        (Notification::IncEpoch, 16),
        (Notification::Prune { nodes }, 48),
    ]
}

#[test]
fn what_is_written_is_read() {
    let nodes = [NodeId(3), NodeId(4)].map(PrunedNode::new);
    for (code, (notification, len)) in (1..).zip(all(List::new(&nodes))) {
        let bytes = encode(&notification);
        assert_eq!(bytes.len(), len, "{notification:?}");
        assert_eq!(notification.code(), code);
        assert!(Notification::is_notification(ByteOrder::NATIVE, &bytes));
        assert_eq!(Notification::parse(ByteOrder::NATIVE, &bytes), Ok(notification));
        for cut in 0..bytes.len() {
            assert!(Notification::parse(ByteOrder::NATIVE, &bytes[..cut]).is_err());
            // Cut, and the header says so.
            if cut >= 16 {
                let mut short = bytes[..cut].to_vec();
                short[..4].copy_from_slice(&(cut as u32).to_ne_bytes());
                assert!(Notification::parse(ByteOrder::NATIVE, &short).is_err(), "{notification:?} cut to {cut}");
            }
        }
    }
}

#[test]
fn what_is_none() {
    let parse = |len: u32, error: i32, unique: u64, body: &[u8]| {
        use zerocopy::IntoBytes;
        let mut bytes = raw::OutHeader { len, error, unique }.as_bytes().to_vec();
        bytes.extend_from_slice(body);
        Notification::parse(ByteOrder::NATIVE, &bytes).map(|_| ())
    };
    assert_eq!(parse(16, 10, 0, &[]), Err(DecodeError::UnknownNotification { code: 10 }));
    assert_eq!(parse(16, -2, 0, &[]), Err(DecodeError::UnknownNotification { code: -2 }));
    assert!(matches!(parse(16, 7, 2, &[]), Err(DecodeError::Unique { .. })));
    assert_eq!(parse(24, 7, 0, &[0; 8]), Err(DecodeError::Trailing { what: "RESEND", extra: 8 }));
    assert!(matches!(parse(17, 7, 0, &[]), Err(DecodeError::Length { .. })));
    let mut entry = [0; 21];
    entry[8..12].copy_from_slice(&4_u32.to_ne_bytes());
    entry[16..].copy_from_slice(b"abcd\0");
    assert_eq!(parse(37, 3, 0, &entry), Ok(()));
    entry[8..12].copy_from_slice(&3_u32.to_ne_bytes());
    assert!(matches!(parse(37, 3, 0, &entry), Err(DecodeError::Field { value: 3, .. })));
    entry[16] = b'/';
    let error = NameError::Slash { at: 0 };
    assert_eq!(parse(37, 3, 0, &entry), Err(DecodeError::Name { field: "notified name", error }));
}

#[test]
fn a_name_needs_room_for_its_end() {
    let entry = Notification::InvalEntry { parent: NodeId(1), name: b"name", flags: InvalEntryFlags::empty() };
    assert!(matches!(entry.encode(&PROTOCOL, &mut [0; 4]), Err(EncodeError::Buffer { need: 5, have: 4 })));
    assert!(entry.encode(&PROTOCOL, &mut [0; 5]).is_ok());
}
