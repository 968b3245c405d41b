//! Giving look-ups back: FORGET and BATCH_FORGET.

use alloc::vec::Vec;

use fuse_proto::{ForgetOne, List, NodeId, ops};

use super::Rpc;
use super::connection::HIPRIO;
use super::credentials::Credentials;
use crate::{Error, Lock};

/// Gives look-ups back, on the hiprio queue; does not wait.
pub(crate) fn forget<R: Lock>(rpc: &Rpc<R>, batch: &[(NodeId, u64)]) -> Result<(), Error> {
    let connection = rpc.connection();
    let who = Credentials::default();
    if batch.is_empty() {
        return Ok(());
    }
    // It goes by another queue, and must not reach the server before a RELEASE of the same inode.
    connection.drain_detached();
    let sent = match batch {
        [(node, nlookup)] => rpc.submit_patiently(HIPRIO, who, &ops::Forget { node: *node, nlookup: *nlookup })?,
        many => {
            let items: Vec<ForgetOne> = many.iter().map(|(node, count)| ForgetOne::new(*node, *count)).collect();
            rpc.submit_patiently(HIPRIO, who, &ops::BatchForget { items: List::new(&items) })?
        }
    };
    drop(sent);
    connection.kick(HIPRIO);
    rpc.counters.forgets.add(batch.len() as u64);
    Ok(())
}
