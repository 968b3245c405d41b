//! Which processes there are, and which one each processor runs.

use super::process::Process;
use crate::{
    arch::gdt,
    memory::{layout::MAX_PROCESSORS, paging::MapError},
};
use alloc::{sync::Arc, vec::Vec};
use spin::Mutex;

/// Every process that has views.
static PROCESSES: Mutex<Vec<Arc<Process>>> = Mutex::new(Vec::new());

/// Whose addresses each processor uses.
static CURRENT: [Mutex<Option<Arc<Process>>>; MAX_PROCESSORS] = [const { Mutex::new(None) }; MAX_PROCESSORS];

/// The process that this processor runs.
pub(super) fn current() -> Option<Arc<Process>> {
    CURRENT[gdt::this_processor()].lock().clone()
}

/// Every process that has views.
pub(super) fn processes() -> Vec<Arc<Process>> {
    PROCESSES.lock().clone()
}

impl Process {
    /// A process with nothing in it.
    ///
    /// # Errors
    /// Without memory.
    pub(crate) fn new() -> Result<Arc<Self>, MapError> {
        let process = Arc::new(Self::empty()?);
        PROCESSES.lock().push(process.clone());
        Ok(process)
    }

    /// Has this processor run it.
    pub(crate) fn activate(self: &Arc<Self>) {
        self.use_addresses();
        *CURRENT[gdt::this_processor()].lock() = Some(self.clone());
    }

    /// Takes everything away; the process is no more.
    pub(crate) fn end(self: &Arc<Self>) {
        self.unmap_all();
        PROCESSES.lock().retain(|other| !Arc::ptr_eq(other, self));
    }
}
