//! What the user chooses.

use crate::setup::qemu::QemuArgs;
use clap::Args;
use std::path::PathBuf;

/// The least that a median is worth something of.
pub(super) const ENOUGH: usize = 5;

/// `cargo xtask bench`
#[derive(Args, Clone, Debug)]
pub(crate) struct BenchArgs {
    /// Measure the driver in a process of this machine, next to the host's own calls, instead of in a guest
    #[arg(long)]
    pub(super) native: bool,
    /// `linux`: measure a Linux guest beside the test kernel, boot by boot in turn. With --native, the one peer to measure
    #[arg(long, value_name = "NAME", value_parser = ["linux", "virtiofsd-dax", "virtiofsd", "libkrun", "fuse-backend-rs"])]
    pub(super) peer: Option<String>,
    /// Write the results to a file, an array of {name, unit, better, ours, linux, limit, ratio_linux, ratio_limit}; the
    /// versions go to a file beside it, FILE with the ending .versions.json. With --native an array of {peer, name, measure,
    /// unit, ours, host, value, bound, wanted, met}
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// With --native: draw ratios.svg and scaling.svg of the results into a folder
    #[arg(long, value_name = "DIR", requires = "native")]
    pub(super) plots: Option<PathBuf>,
    /// Only the benchmarks with this in their names
    #[arg(long, value_name = "TEXT")]
    pub(super) filter: Option<String>,
    /// Boots of each guest for each window; results are medians
    #[arg(long, value_name = "N", default_value_t = ENOUGH)]
    pub(super) repetitions: usize,
    /// QEMU's accelerator
    #[arg(long, value_name = "NAME", default_value = "tcg", value_parser = ["tcg", "kvm"])]
    pub(super) accel: String,
    /// The processors' model, by QEMU's name, for all guests (default: QEMU's own default, or with KVM the host's)
    #[arg(long, value_name = "MODEL")]
    pub(super) cpu: Option<String>,
    /// The Linux kernel to compare with (default: one is fetched into target/)
    #[arg(long, value_name = "PATH")]
    pub(super) linux: Option<PathBuf>,
    #[command(flatten)]
    pub(super) qemu: QemuArgs,
}
