//! Set-up: what the commands need and a machine may lack. It asks for no root, writes to the target directory only, and
//! each thing is either there and checked or not there at all.

pub(crate) mod apt;
pub(crate) mod build;
mod context;
pub(crate) mod fetch;
pub(crate) mod libraries;
pub(crate) mod linux;
pub(crate) mod private;
pub(crate) mod qemu;
mod qemu_args;
pub(crate) mod released;
pub(crate) mod rust;
mod sandbox;
pub(crate) mod sources;
pub(crate) mod valgrind;
mod version;
pub(crate) mod virtiofsd;

use anyhow::Result;
use clap::Args;
pub(crate) use context::Context;
use std::process::ExitCode;

/// `cargo xtask setup`
#[derive(Args, Debug)]
pub(crate) struct SetupArgs {
    /// Only say what is there and what is missing; exit status 1 if something is missing
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    qemu: qemu::QemuArgs,
}

/// Runs `cargo xtask setup`.
pub(crate) fn command(args: &SetupArgs) -> Result<ExitCode> {
    let context = Context::new(&args.qemu)?;
    if args.check {
        return check(&context);
    }
    let _lock = context.lock()?;
    rust::ensure_targets(&rust::TARGETS)?;
    rust::ensure_components(&rust::COMPONENTS)?;
    let qemu = qemu::ensure(&context)?;
    eprintln!("QEMU: {} ({})", qemu.version, qemu.path.display());
    let libraries = libraries::ensure(&context)?;
    let daemon = build::daemon(&context, &libraries)?;
    eprintln!("daemon: {}", daemon.display());
    let plain = virtiofsd::ensure(&context)?;
    eprintln!("virtiofsd without a window: {} ({})", plain.version, plain.path.display());
    Ok(ExitCode::SUCCESS)
}

/// Says what is there and what isn't, and changes nothing.
fn check(context: &Context) -> Result<ExitCode> {
    let daemon = build::daemon_path(context);
    let rows = [
        ("Rust targets", rust::missing_targets(&rust::TARGETS)?.map_or(Ok(rust::TARGETS.join(", ")), Err)),
        ("Rust components", rust::missing_components(&rust::COMPONENTS)?.map_or(Ok(rust::COMPONENTS.join(", ")), Err)),
        (
            "QEMU",
            qemu::find(context)?
                .map(|qemu| format!("{} ({})", qemu.version, qemu.path.display()))
                .ok_or_else(|| format!("{} or newer", qemu::NEEDED)),
        ),
        (
            "libraries",
            libraries::find(context).map(|found| found.to_string()).ok_or_else(|| "libseccomp, libcap-ng".into()),
        ),
        ("daemon", if daemon.is_file() { Ok(daemon.display().to_string()) } else { Err("virtiofsd-dax".into()) }),
        (
            "virtiofsd",
            virtiofsd::find(context)
                .map(|found| format!("{} ({})", found.version, found.path.display()))
                .ok_or_else(|| "virtiofsd 1.x".into()),
        ),
    ];
    let mut complete = true;
    for (what, state) in rows {
        match state {
            Ok(found) => println!("{what:<16} there    {found}"),
            Err(lacks) => {
                println!("{what:<16} MISSING  {lacks}");
                complete = false;
            }
        }
    }
    if complete {
        return Ok(ExitCode::SUCCESS);
    }
    println!("`cargo xtask setup` gets what is missing.");
    Ok(ExitCode::FAILURE)
}
