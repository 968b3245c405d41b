//! `cargo xtask attack`: a hostile guest against the daemon, a hostile device against the driver. Both are seeded: a
//! finding names the command that repeats it.

mod campaign;
mod side;
mod verdict;

use crate::{
    process::interrupt,
    setup::{Context, libraries, qemu::QemuArgs},
};
use anyhow::Result;
pub(crate) use campaign::Campaign;
use clap::Args;
pub(crate) use side::Side;
use std::process::ExitCode;
use verdict::Verdict;

/// `cargo xtask attack`
#[derive(Args, Clone, Debug)]
pub(crate) struct AttackArgs {
    /// Attack from one side only
    #[arg(long, value_enum)]
    side: Option<Side>,
    #[command(flatten)]
    campaign: Campaign,
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
