//! What all handles to a mounted file system share.

use alloc::sync::Arc;

use crate::io::FileIo;
use crate::rpc::Rpc;
use crate::rpc::budget::Call;
use crate::volume::Volume;
use crate::{Error, Lock, Tag};

/// See the module.
pub(crate) struct Mounted<R: Lock> {
    pub(crate) io: Arc<FileIo<R>>,
    pub(crate) tag: Tag,
    /// The virtio features in force.
    pub(crate) features: u64,
}

impl<R: Lock> Mounted<R> {
    /// The mounted state.
    pub(crate) fn volume(&self) -> &Arc<Volume<R>> {
        self.io.volume()
    }

    /// The session.
    pub(crate) fn rpc(&self) -> &Arc<Rpc<R>> {
        &self.volume().rpc
    }

    /// Begins a call; refuses work after the unmount.
    pub(crate) fn check(&self) -> Result<Call<'_>, Error> {
        self.volume().check_mounted()?;
        Ok(self.rpc().connection().begin_call())
    }
}
