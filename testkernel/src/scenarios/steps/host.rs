//! The host's part.

use crate::{
    events,
    outcome::{Outcome, ensure},
};
use core::time::Duration;

/// How long the host may take at a sync.
const PATIENCE: Duration = Duration::from_secs(30);

/// Tells the host that a point is reached and waits for its word.
pub(crate) fn wait_for_host(name: &str) -> Outcome {
    ensure!(events::sync(name, PATIENCE), "the host did not answer `go {name}` in {} s", PATIENCE.as_secs());
    Ok(())
}
