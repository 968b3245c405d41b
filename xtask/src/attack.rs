//! `cargo xtask attack`: a hostile guest against the daemon, a hostile device against the driver. Both are seeded: a
//! finding names the command that repeats it.

mod side;
mod verdict;

use crate::{
    process::interrupt,
    setup::{Context, libraries, qemu::QemuArgs},
};
use anyhow::Result;
use clap::Args;
pub(crate) use side::Side;
use std::process::ExitCode;
pub(crate) use verdict::Verdict;

/// `cargo xtask attack`
#[derive(Args, Clone, Debug)]
pub(crate) struct AttackArgs {
    /// Attack from one side only
    #[arg(long, value_enum)]
    side: Option<Side>,
    #[command(flatten)]
    campaign: Campaign,
}

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
    /// The driver with AddressSanitizer, which takes a nightly toolchain with rust-src
    #[arg(long)]
    pub(crate) sanitizer: bool,
}

impl Campaign {
    /// So many seconds a side, from this seed.
    pub(crate) fn of_seconds(seconds: u64, seed: u64) -> Self {
        Self { seconds, seed, session: None, sanitizer: false }
    }
}

/// Runs `cargo xtask attack`.
pub(crate) fn command(args: &AttackArgs) -> Result<ExitCode> {
    let context = Context::new(&QemuArgs::default())?;
    let sides = args.side.map_or_else(|| Side::ALL.to_vec(), |side| vec![side]);
    let mut total = Verdict::default();
    for side in sides {
        println!("== {side}: {}", side.about());
        let libraries = match side {
            Side::Guest => {
                let _lock = context.lock()?;
                Some(libraries::ensure(&context)?)
            }
            Side::Device => None,
        };
        total = total.plus(side.attack(&context.paths, libraries.as_ref(), &args.campaign)?);
        interrupt::check()?;
    }
    println!("{total}");
    Ok(if total.findings == 0 && total.inputs > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
