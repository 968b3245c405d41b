//! The command line.

use std::path::PathBuf;

use clap::{ArgGroup, Parser, ValueEnum};

/// A device in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Local {
    /// libkrun's
    Libkrun,
    /// fuse-backend-rs's server
    FuseBackendRs,
}

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// What the window holds
    Hits,
    /// What it has to map first
    Misses,
    /// What goes by READ
    Requests,
    /// Functions for an instruction counter
    Counted,
}

impl Mode {
    /// Bytes of the window to use.
    pub(crate) fn window(self) -> u64 {
        match self {
            Self::Hits => 256 << 20,
            Self::Misses | Self::Counted => 16 << 20,
            Self::Requests => 0,
        }
    }
}

/// Measures the driver next to the host's own calls.
#[derive(Clone, Debug, Parser)]
#[command(name = "native-bench", version)]
#[command(group(ArgGroup::new("who").required(true).args(["socket", "peer"])))]
pub(crate) struct Args {
    /// The folder that the peer shares
    #[arg(long, value_name = "DIR")]
    pub(crate) share: PathBuf,
    /// The socket at which a virtiofsd listens that shares the folder
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// A device in this process
    #[arg(long, value_enum)]
    pub(crate) peer: Option<Local>,
    /// What to measure
    #[arg(long, value_enum)]
    pub(crate) mode: Mode,
    /// Request queues
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(crate) queues: u16,
}
