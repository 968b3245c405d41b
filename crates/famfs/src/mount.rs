//! A mounted file system: finding, reading, writing and mapping files, following the log and adding to it.

mod coherence;
mod create;
mod damage;
mod damaged;
mod error;
mod failure;
mod fault;
mod file;
mod follow;
mod open;
mod ownership;
mod stat;
mod state;
mod view;

pub use coherence::Coherence;
pub use create::{NewFile, Owner, Placement};
pub use error::Error;
pub use fault::FaultGuard;
pub use file::File;
pub use follow::Followed;
pub use open::MountOptions;
pub use ownership::Claims;
pub use stat::{DirEntry, Stat, StatFs};
pub use state::{Mount, Role};
