//! Where the measurements were taken.

use super::args::BenchArgs;
use crate::{
    process,
    rig::tools::Tools,
    setup::{self, Context, linux::Linux},
};
use anyhow::{Context as _, Result};
use serde::Serialize;
use std::{fmt, fs, path::Path};

/// What measured and was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Versions {
    /// The host's system and processor.
    pub(super) host: String,
    /// QEMU.
    pub(super) qemu: String,
    /// Its accelerator and its processors' model.
    pub(super) accelerator: String,
    /// The daemon.
    pub(super) daemon: String,
    /// The Linux guest, if there is one.
    pub(super) linux: Option<String>,
    /// How many boots each median is of.
    pub(super) repetitions: usize,
}

impl Versions {
    /// Asks everybody.
    ///
    /// # Errors
    /// When QEMU or the daemon does not say.
    pub(super) fn find(context: &Context, tools: &Tools, linux: Option<&Linux>, args: &BenchArgs) -> Result<Self> {
        let qemu = setup::qemu::find(context)?.context("QEMU is gone")?.version;
        let daemon =
            process::version_line(&mut tools.daemons.dax.command()).context("the daemon reports no version")?;
        let model = args.cpu.as_deref().unwrap_or(if args.accel == "kvm" { "host" } else { "default" });
        Ok(Self {
            host: host(),
            qemu,
            accelerator: format!("{}, processor model {model}", args.accel),
            daemon,
            linux: linux.map(|linux| linux.version.clone()),
            repetitions: args.repetitions,
        })
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "host         {}", self.host)?;
        writeln!(f, "QEMU         {}", self.qemu)?;
        writeln!(f, "accelerator  {}", self.accelerator)?;
        writeln!(f, "daemon       {}", self.daemon)?;
        if let Some(linux) = &self.linux {
            writeln!(f, "Linux guest  {linux}")?;
        }
        writeln!(f, "medians of   {} boots", self.repetitions)
    }
}

/// What this machine calls itself, as far as it says.
pub(super) fn host() -> String {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let value = |text: &str, key: &str, separator: char| {
        let line = text.lines().find_map(|line| {
            let (name, value) = line.split_once(separator)?;
            (name.trim() == key).then(|| value.trim().trim_matches('"').to_owned())
        });
        line.unwrap_or_else(|| "unknown".into())
    };
    let system = value(&read("/etc/os-release"), "PRETTY_NAME", '=');
    let processor = value(&read("/proc/cpuinfo"), "model name", ':');
    let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!("{system}, Linux {}, {count} x {processor}", read("/proc/sys/kernel/osrelease").trim())
}

/// Fails unless KVM can be used.
///
/// # Errors
/// Why it cannot be.
pub(super) fn need_kvm(device: &Path) -> Result<()> {
    let opened = fs::File::options().read(true).write(true).open(device);
    opened.map(drop).with_context(|| {
        format!("KVM cannot be used: {} cannot be opened; leave --accel out to measure by emulation", device.display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_kvm_is_told_so() {
        let dir = tempfile::tempdir().unwrap();
        let error = format!("{:#}", need_kvm(&dir.path().join("kvm")).unwrap_err());
        assert!(error.contains("KVM cannot be used") && error.contains("No such file"), "{error}");
    }

    #[test]
    fn this_machine_has_a_name() {
        assert!(host().contains(", Linux "), "{}", host());
    }
}
