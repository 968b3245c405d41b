//! Set-up: what the commands need and a machine may lack. It asks for no root, writes to the target directory only, and
//! each thing is either there and checked or not there at all.

pub(crate) mod apt;
pub(crate) mod build;
pub(crate) mod cargo_fuzz;
pub(crate) mod fetch;
pub(crate) mod libraries;
pub(crate) mod linux;
pub(crate) mod private;
pub(crate) mod qemu;
pub(crate) mod released;
pub(crate) mod rust;
pub(crate) mod sources;
pub(crate) mod virtiofsd;

use crate::paths::Paths;
use anyhow::{Context as _, Result};
use clap::Args;
use std::{
    fs::{self, File},
    path::PathBuf,
    process::ExitCode,
};

/// How folders begin that hold what isn't finished.
pub(crate) const SCRATCH: &str = ".unfinished-";

/// `cargo xtask setup`
#[derive(Args, Debug)]
pub(crate) struct SetupArgs {
    /// Only say what is there and what is missing; exit status 1 if something is missing
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    qemu: qemu::QemuArgs,
}

/// What set-up needs to know.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// Where things are.
    pub(crate) paths: Paths,
    /// The user's choice of a QEMU.
    pub(crate) qemu: qemu::QemuArgs,
    /// The folder of the system's configuration, `/etc`.
    pub(crate) etc: PathBuf,
}

impl Context {
    /// For this repository on this machine.
    pub(crate) fn new(qemu: &qemu::QemuArgs) -> Result<Self> {
        Ok(Self { paths: Paths::find()?, qemu: qemu.clone(), etc: "/etc".into() })
    }

    /// Keeps other runs of these commands from setting up at the same time, and clears away what one that was killed
    /// had begun.
    pub(crate) fn lock(&self) -> Result<File> {
        let rig = self.paths.rig();
        fs::create_dir_all(&rig).with_context(|| format!("cannot create {}", rig.display()))?;
        let lock = File::create(rig.join(".lock")).with_context(|| format!("cannot write to {}", rig.display()))?;
        lock.lock().context("the lock of the rig's folder cannot be had")?;
        for entry in fs::read_dir(&rig)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(SCRATCH) {
                fs::remove_dir_all(entry.path())
                    .with_context(|| format!("cannot remove {}", entry.path().display()))?;
            }
        }
        Ok(lock)
    }
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
