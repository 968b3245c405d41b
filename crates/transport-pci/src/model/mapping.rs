//! Mapping the structures of a modelled function.

use alloc::format;

use super::{
    StructureModel,
    function::{FUNCTION, MEMORY, PciModel},
};
use crate::{PciError, PciTransport, Structure};

/// How often the status is read in a reset of [`PciModel::open`].
const POLL_LIMIT: u32 = 100;

impl PciModel {
    /// Opens the device on it, with a limit of 100 reads for the reset.
    ///
    /// # Errors
    ///
    /// Those of [`PciTransport::with_mapper`].
    pub fn open(&mut self) -> Result<PciTransport<StructureModel>, PciError> {
        let model = self.clone();
        let map = move |structure, addr, len| Ok(model.map(structure, addr, len));
        PciTransport::with_mapper(self, FUNCTION, POLL_LIMIT, map)
    }

    /// What a mapper gives for a structure. A place that isn't in a BAR that is decoded, or was given before, is a
    /// mistake.
    pub fn map(&self, structure: Structure, addr: u64, len: usize) -> StructureModel {
        let mut state = self.state();
        let range = addr..addr.saturating_add(len as u64);
        let inside = state.space.memory_bars().iter().any(|bar| {
            addr.checked_sub(bar.addr).is_some_and(|offset| u128::from(offset) + len as u128 <= u128::from(bar.size))
        });
        if !inside || state.space.command() & MEMORY == 0 {
            self.device.blame(format!("{structure} mapped at {range:#x?}, in no BAR that is decoded"));
        }
        if state.mapped.iter().any(|other| other.start < range.end && range.start < other.end) {
            self.device.blame(format!("{structure} mapped at {range:#x?}, where something else is"));
        }
        state.mapped.push(range);
        StructureModel::new(self.clone(), structure, len)
    }
}
