//! The extents of one file, kept in place.

use fs_dax::Extent;

/// The most extents or strips that any format has room for.
pub(crate) const MAX_EXTENTS: usize = 16;

/// Up to 16 extents, without an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ExtentList {
    extents: [Extent; MAX_EXTENTS],
    len: usize,
}

impl ExtentList {
    /// No extents.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one at the end. Gives `false`, and adds nothing, if 16 are there.
    pub fn push(&mut self, extent: Extent) -> bool {
        match self.extents.get_mut(self.len) {
            Some(slot) => {
                *slot = extent;
                self.len += 1;
                true
            }
            None => false,
        }
    }
}

/// The first 16 of the extents.
impl From<&[Extent]> for ExtentList {
    fn from(extents: &[Extent]) -> Self {
        let mut list = Self::new();
        for extent in extents {
            list.push(*extent);
        }
        list
    }
}

impl AsRef<[Extent]> for ExtentList {
    fn as_ref(&self) -> &[Extent] {
        &self.extents[..self.len]
    }
}
