//! The programmes that a boot needs, set up.

use super::daemon::Daemons;
use crate::setup::{self, Context, private::Programme};
use anyhow::Result;
use std::path::PathBuf;

/// QEMU, the kernel, the daemons.
#[derive(Clone, Debug)]
pub(crate) struct Tools {
    /// QEMU.
    pub(crate) qemu: Programme,
    /// The kernel's binary.
    pub(crate) kernel: PathBuf,
    /// The daemons.
    pub(crate) daemons: Daemons,
}

impl Tools {
    /// Gets what is missing and builds what is old.
    ///
    /// # Errors
    /// One sentence about what is in the way.
    pub(crate) fn ensure(context: &Context, plain: bool) -> Result<Self> {
        let _lock = context.lock()?;
        // What needs nothing built is found wrong first.
        let qemu = setup::qemu::ensure(context)?;
        let kernel = setup::build::kernel(context)?;
        let libraries = setup::libraries::ensure(context)?;
        let dax = Programme::plain(&setup::build::daemon(context, &libraries)?);
        let plain = if plain { Some(setup::virtiofsd::ensure(context)?.programme) } else { None };
        Ok(Self { qemu: qemu.programme, kernel, daemons: Daemons { dax, plain } })
    }
}
