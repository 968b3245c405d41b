//! Giving look-ups back: FORGET and BATCH_FORGET.

use alloc::vec::Vec;

use fuse_proto::{ForgetOne, List, NodeId, ops};

use super::Rpc;
use super::connection::HIPRIO;
use super::credentials::Credentials;
use crate::{Error, Lock};

/// Gives look-ups back, on the hiprio queue; false if there is no room for that and the caller is not `patient`.
pub(crate) fn forget<R: Lock>(rpc: &Rpc<R>, batch: &[(NodeId, u64)], patient: bool) -> Result<bool, Error> {
    let connection = rpc.connection();
    let who = Credentials::default();
    let sent = match batch {
        [] => return Ok(true),
        [(node, nlookup)] => {
            let op = ops::Forget { node: *node, nlookup: *nlookup };
            rpc.submit(HIPRIO, who, &op, patient)?
        }
        many => {
            let items: Vec<ForgetOne> = many.iter().map(|(node, count)| ForgetOne::new(*node, *count)).collect();
            let op = ops::BatchForget { items: List::new(&items) };
            rpc.submit(HIPRIO, who, &op, patient)?
        }
    };
    if sent.is_none() {
        return Ok(false);
    }
    drop(sent);
    connection.kick(HIPRIO);
    rpc.counters.forgets.add(batch.len() as u64);
    Ok(true)
}
