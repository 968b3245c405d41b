//! What holds for any message: the checks of the fuzz targets, with bytes that proptest makes.

use proptest::prelude::*;

#[path = "../fuzz/src/checks.rs"]
#[expect(unreachable_pub, reason = "it is the public part of the fuzz targets' library")]
mod checks;

/// Under Miri every case is slow, and so is every byte that proptest makes.
const CASES: u32 = if cfg!(miri) { 2 } else { 512 };
/// The longest message, and how many numbers a round trip takes at least; zeros follow them.
const MAX_LEN: usize = if cfg!(miri) { 120 } else { 700 };

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    // Small numbers are lengths, counts and codes that fit; the rest are those that lie. A strategy of several others would
    // make a generator of random numbers for each byte, which takes Miri for ever.
    let byte = any::<[u8; 2]>().prop_map(|[kind, byte]| match kind % 5 {
        0 | 1 => 0,
        2 | 3 => 1 + byte % 31,
        _ => byte,
    });
    prop::collection::vec(byte, 0..MAX_LEN)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(CASES) })]

    #[test]
    fn requests(data in bytes()) {
        checks::request(&data);
    }

    #[test]
    fn replies(data in bytes()) {
        checks::reply(&data);
    }

    #[test]
    fn directories(data in bytes()) {
        checks::directory(&data);
    }

    #[test]
    fn notifications(data in bytes()) {
        checks::notification(&data);
    }

    #[test]
    fn extensions(data in bytes()) {
        checks::extensions(&data);
    }

    #[test]
    fn negotiations(data in prop::collection::vec(any::<u8>(), 64)) {
        checks::negotiation(&data);
    }

    #[test]
    fn round_trips(data in prop::collection::vec(any::<u8>(), MAX_LEN + 100)) {
        checks::round_trip(&data);
    }
}
