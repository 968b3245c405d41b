//! The quirks of real servers, and answers that no server should give.

use super::*;

const OFFERED: InitFlags = InitFlags::MAX_PAGES
    .union(InitFlags::BIG_WRITES)
    .union(InitFlags::MAP_ALIGNMENT)
    .union(InitFlags::HAS_INODE_DAX)
    .union(InitFlags::REQUEST_TIMEOUT);

fn client() -> Negotiation {
    Negotiation::new(Offer::new(OFFERED))
}

fn reply(minor: u32, flags: InitFlags) -> InitReply {
    InitReply {
        major: 7,
        minor,
        max_readahead: 128 << 10,
        flags,
        max_background: 16,
        congestion_threshold: 12,
        max_write: 1 << 20,
        time_gran: 1,
        max_pages: 256,
        ..InitReply::default()
    }
}

#[test]
fn the_offer_joins_both_flag_words() {
    let init = client().init();
    assert!(init.flags.contains(InitFlags::INIT_EXT | InitFlags::HAS_INODE_DAX));
    assert_eq!((init.major, init.minor), (7, 45));
    let low = Negotiation::new(Offer { minor: 99, ..Offer::new(InitFlags::MAX_PAGES) }).init();
    assert_eq!(low.flags, InitFlags::MAX_PAGES);
    assert_eq!(low.minor, 45);
}

#[test]
fn virtiofsd_speaks_7_38_and_never_grants_an_alignment() {
    let protocol = client().answer(Ok(reply(38, InitFlags::MAX_PAGES | InitFlags::BIG_WRITES))).unwrap();
    assert_eq!(protocol.minor(), 38);
    assert_eq!(protocol.map_alignment(), None);
    assert_eq!((protocol.max_write(), protocol.max_pages()), (1 << 20, 256));
}

#[test]
fn libkrun_speaks_7_27_and_maps_all_the_same() {
    let protocol = client().answer(Ok(reply(27, InitFlags::MAX_PAGES | InitFlags::BIG_WRITES))).unwrap();
    assert_eq!(protocol.minor(), 27);
    assert_eq!(protocol.map_alignment(), None);
    assert_eq!(protocol.max_pages(), 256);
    // A client of 7.26 is refused.
    assert_eq!(client().answer(Err(ReplyError::Refused(Errno::EPROTO))), Err(NegotiationError::Refused(Errno::EPROTO)));
}

#[test]
fn crosvm_grants_an_alignment_of_a_page() {
    let flags = InitFlags::MAP_ALIGNMENT | InitFlags::BIG_WRITES;
    let protocol = client().answer(Ok(InitReply { map_alignment: 12, ..reply(31, flags) })).unwrap();
    assert_eq!(protocol.map_alignment(), Some(12));
    assert_eq!(protocol.map_alignment_bytes(), Some(4096));
    assert_eq!(protocol.max_pages(), 32);
}

#[test]
fn fuse_backend_rs_speaks_7_33_and_chooses_dax_by_inode() {
    let flags = InitFlags::INIT_EXT | InitFlags::HAS_INODE_DAX;
    let protocol = client().answer(Ok(reply(33, flags))).unwrap();
    assert!(protocol.has(InitFlags::HAS_INODE_DAX));
}

#[test]
fn alignments_that_are_no_alignment() {
    let answer =
        |map_alignment| client().answer(Ok(InitReply { map_alignment, ..reply(38, InitFlags::MAP_ALIGNMENT) }));
    assert_eq!(answer(63).unwrap().map_alignment_bytes(), Some(1 << 63));
    assert_eq!(answer(64), Err(NegotiationError::MapAlignment(64)));
    assert_eq!(answer(4096), Err(NegotiationError::MapAlignment(4096)));
    // Above 21 no 2 MiB range can be mapped, which is for whoever maps to say.
    assert_eq!(answer(22).unwrap().map_alignment(), Some(22));
    // Not granted: whatever stands there has no meaning.
    let protocol = client().answer(Ok(InitReply { map_alignment: 999, ..reply(38, InitFlags::empty()) })).unwrap();
    assert_eq!(protocol.map_alignment(), None);
}

#[test]
fn the_smaller_minor_is_in_force() {
    for (ours, theirs, minor) in [(45, 45, 45), (45, 99, 45), (45, 27, 27), (31, 38, 31)] {
        let client = Negotiation::new(Offer { minor: ours, ..Offer::new(OFFERED) });
        assert_eq!(client.answer(Ok(reply(theirs, OFFERED))).unwrap().minor(), minor);
    }
}

#[test]
fn other_majors() {
    let answer = |major| client().answer(Ok(InitReply { major, ..reply(3, OFFERED) }));
    assert_eq!(answer(6), Err(NegotiationError::MajorTooOld { major: 6, minor: 3 }));
    assert_eq!(answer(0), Err(NegotiationError::MajorTooOld { major: 0, minor: 3 }));
    assert_eq!(answer(8), Err(NegotiationError::MajorTooNew { major: 8, minor: 3 }));
}

#[test]
fn short_answers_belong_to_old_versions() {
    let answer = |minor, size| client().answer(Ok(InitReply { size, ..reply(minor, InitFlags::empty()) }));
    assert_eq!(answer(4, InitReplySize::Minor4).unwrap().max_write(), 4096);
    assert!(answer(22, InitReplySize::Minor22).is_ok());
    assert_eq!(answer(5, InitReplySize::Minor4), Err(NegotiationError::Short { minor: 5, need: 24, have: 8 }));
    assert_eq!(answer(23, InitReplySize::Minor22), Err(NegotiationError::Short { minor: 23, need: 64, have: 24 }));
}

#[test]
fn limits_are_cut_and_raised() {
    let limits = Limits { max_write: 64 << 10, max_pages: 16 };
    let client = Negotiation::new(Offer { limits, ..Offer::new(OFFERED) });
    let protocol = client.answer(Ok(reply(38, OFFERED))).unwrap();
    assert_eq!((protocol.max_write(), protocol.max_pages()), (64 << 10, 16));
    let nothing = InitReply { max_write: 0, max_pages: 0, max_readahead: u32::MAX, ..reply(38, OFFERED) };
    let protocol = client.answer(Ok(nothing)).unwrap();
    assert_eq!((protocol.max_write(), protocol.max_pages()), (4096, 1));
    assert_eq!(protocol.max_readahead(), 128 << 10);
    // Limits of the client's own that make no sense.
    let none = Limits { max_write: 0, max_pages: 0 };
    let client = Negotiation::new(Offer { limits: none, ..Offer::new(OFFERED) });
    let protocol = client.answer(Ok(reply(38, OFFERED))).unwrap();
    assert_eq!((protocol.max_write(), protocol.max_pages()), (4096, 1));
    // Without big writes, a write is one page.
    let protocol = client.answer(Ok(reply(38, InitFlags::MAX_PAGES))).unwrap();
    assert_eq!(protocol.max_write(), 4096);
}

#[test]
fn times_and_timeouts() {
    let answer = |time_gran, request_timeout, flags| {
        client().answer(Ok(InitReply { time_gran, request_timeout, ..reply(45, flags) }))
    };
    assert_eq!(answer(0, 0, OFFERED).unwrap().time_gran(), 1);
    assert_eq!(answer(1_000_000_000, 0, OFFERED).unwrap().time_gran(), 1_000_000_000);
    assert_eq!(answer(1_000_000_001, 0, OFFERED), Err(NegotiationError::TimeGranularity(1_000_000_001)));
    assert_eq!(answer(1, 30, OFFERED).unwrap().request_timeout(), Some(Duration::from_secs(30)));
    assert_eq!(answer(1, 0, OFFERED).unwrap().request_timeout(), None);
    assert_eq!(answer(1, 30, InitFlags::empty()).unwrap().request_timeout(), None);
}

#[test]
fn what_was_not_offered_is_not_in_force() {
    let granted = InitFlags::WRITEBACK_CACHE | InitFlags::MAX_PAGES;
    let protocol = client().answer(Ok(reply(38, granted))).unwrap();
    assert_eq!(protocol.flags(), InitFlags::MAX_PAGES);
    assert_eq!(protocol.unoffered(), InitFlags::WRITEBACK_CACHE);
}

#[test]
fn a_server_agrees_with_its_client() {
    let server = ServerNegotiation::new(ServerOffer::new(OFFERED | InitFlags::INIT_EXT));
    for minor in [0, 4, 5, 22, 23, 31, 45] {
        let client = Negotiation::new(Offer { minor, ..Offer::new(OFFERED) });
        let ServerAnswer::Agreed { reply, protocol } = server.answer(&client.init(), ByteOrder::NATIVE) else {
            panic!("refused");
        };
        assert_eq!(reply.size, InitReplySize::for_minor(minor));
        assert_eq!(client.answer(Ok(reply)), Ok(protocol), "minor {minor}");
        assert_eq!(protocol.minor(), minor);
    }
}

#[test]
fn a_server_sends_later_majors_back_and_refuses_earlier_ones() {
    let server = ServerNegotiation::new(ServerOffer { min_client_minor: 27, ..ServerOffer::new(OFFERED) });
    let init = |major, minor| Init { major, minor, max_readahead: 0, flags: OFFERED };
    let ServerAnswer::Again(reply) = server.answer(&init(8, 0), ByteOrder::NATIVE) else { panic!() };
    assert_eq!((reply.major, reply.minor, reply.size), (7, 45, InitReplySize::Minor4));
    assert_eq!(server.answer(&init(6, 9), ByteOrder::NATIVE), ServerAnswer::Refused(Errno::EPROTO));
    assert_eq!(server.answer(&init(7, 26), ByteOrder::NATIVE), ServerAnswer::Refused(Errno::EPROTO));
    assert!(matches!(server.answer(&init(7, 27), ByteOrder::NATIVE), ServerAnswer::Agreed { .. }));
}
