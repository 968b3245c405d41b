//! How long, and from which seed.

use clap::Args;

/// How to attack.
#[derive(Args, Clone, Debug)]
pub(crate) struct Campaign {
    /// How long to attack, in seconds a side
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) seconds: u64,
    /// Where the sequence of attacks begins
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Only this session, to its end: repeats what an earlier run has found
    #[arg(long, value_name = "NUMBER")]
    pub(crate) session: Option<u64>,
    /// The driver with AddressSanitizer, which takes a nightly toolchain
    #[arg(long)]
    pub(crate) sanitizer: bool,
}

impl Campaign {
    /// So many seconds a side, from this seed.
    pub(crate) fn of_seconds(seconds: u64, seed: u64) -> Self {
        Self { seconds, seed, session: None, sanitizer: false }
    }
}
