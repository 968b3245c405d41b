//! The window itself: what it consists of, and what it is asked.

mod access;
mod aside;
mod check;
mod demand;
mod dropped;
mod evict;
#[cfg(all(test, feature = "alloc"))]
mod explore;
mod freezes;
mod invalidate;
mod late;
mod parts;
mod remove;
mod setup;
mod whose;
mod writeback;

pub use check::Violation;
pub use freezes::InvalidateKind;
pub use invalidate::Step;
pub use parts::Window;
pub use writeback::Writeback;

use crate::tickets::SlotUse;
