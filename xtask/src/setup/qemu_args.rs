//! The user's choice of a QEMU.

use clap::Args;
use std::path::PathBuf;

/// A QEMU of the user's choice, and how one may be fetched.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct QemuArgs {
    /// The QEMU to use (11.1 or newer; default: $QEMU, else the one in PATH, else one is fetched into target/)
    #[arg(long, value_name = "PATH")]
    pub(crate) qemu: Option<PathBuf>,
    /// Fetch from this suite of the package archive although its lists are past their date, as those of a snapshot are
    #[arg(long, value_name = "SUITE")]
    pub(crate) accept_old_archive: Vec<String>,
}
