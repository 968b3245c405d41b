//! Whether the connection is over, and who wants to know.

use std::sync::{Mutex, OnceLock, PoisonError};

use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use crate::error::GoneReason;

type Callback = Box<dyn FnOnce(GoneReason) + Send>;

/// See the module.
pub(crate) struct Gone {
    reason: OnceLock<GoneReason>,
    /// Readable from then on, for good.
    pub(crate) event: EventFd,
    callback: Mutex<Option<Callback>>,
}

impl std::fmt::Debug for Gone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Gone").field(&self.reason).finish()
    }
}

impl Gone {
    pub(crate) fn new() -> std::io::Result<Self> {
        let event = EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?;
        Ok(Self { reason: OnceLock::new(), event, callback: Mutex::new(None) })
    }

    pub(crate) fn reason(&self) -> Option<GoneReason> {
        self.reason.get().copied()
    }

    /// The connection is over. The first reason stays.
    pub(crate) fn set(&self, reason: GoneReason) {
        if self.reason.set(reason).is_err() {
            return;
        }
        if let Err(error) = self.event.write(1) {
            log::error!("an eventfd takes no signal: {error}");
        }
    }

    /// Calls `callback` when the connection is over, at once if it is, in the place of an earlier one.
    pub(crate) fn tell(&self, callback: Callback) {
        *self.callback.lock().unwrap_or_else(PoisonError::into_inner) = Some(callback);
        self.call_back();
    }

    /// Calls whoever wants to know, once, if the connection is over. Not from [`Gone::set`], which is called under locks.
    pub(crate) fn call_back(&self) {
        let Some(reason) = self.reason() else { return };
        let callback = self.callback.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Who ends it knows.
        if let Some(callback) = callback
            && reason != GoneReason::Ours
        {
            callback(reason);
        }
    }
}
