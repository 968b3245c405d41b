//! The device below its queues: the transport, its bring-up, the offer of a session, interrupts.
//!
//! Only mounting sees all of it. [`port`] is the transport as the running driver shares it with interrupt handlers,
//! [`bring_up`] takes it through the status sequence, [`session`] is what INIT offers and what became of it, and
//! [`interrupts`] is what the embedder calls when the device interrupts.

pub(crate) mod bring_up;
pub(crate) mod interrupts;
pub(crate) mod port;
pub(crate) mod session;
