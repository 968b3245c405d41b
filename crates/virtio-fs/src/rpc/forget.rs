//! Giving look-ups back: FORGET and BATCH_FORGET.

use alloc::vec::Vec;

use fuse_proto::{Encode, ForgetOne, List, NodeId, ops};

use super::Rpc;
use super::connection::HIPRIO;
use super::credentials::Credentials;
use crate::{Error, Lock};

/// Gives look-ups back, on the hiprio queue; false if there is no room for that and the caller is not `patient`.
pub(crate) fn forget<R: Lock>(rpc: &Rpc<R>, batch: &[(NodeId, u64)], patient: bool) -> Result<bool, Error> {
    let connection = rpc.connection();
    let (one, items, many);
    let op: &dyn Encode = match batch {
        [] => return Ok(true),
        [(node, nlookup)] => {
            one = ops::Forget { node: *node, nlookup: *nlookup };
            &one
        }
        several => {
            items = several.iter().map(|(node, count)| ForgetOne::new(*node, *count)).collect::<Vec<_>>();
            many = ops::BatchForget { items: List::new(&items) };
            &many
        }
    };
    // Nobody answers it.
    if rpc.submit(HIPRIO, Credentials::default(), op, patient)?.is_none() {
        return Ok(false);
    }
    connection.kick(HIPRIO);
    rpc.counters.forgets.add(batch.len() as u64);
    Ok(true)
}
