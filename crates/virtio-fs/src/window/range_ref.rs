//! What keeps bytes of the window mapped.

use super::memory::Span;

/// A reference to bytes in the window: they stay mapped as long as it is not given to [`super::DaxWindow::release`].
#[derive(Debug)]
#[must_use = "a reference that is not released keeps its range for good"]
pub(crate) struct RangeRef(pub(super) dax_window::RangeRef);

impl RangeRef {
    /// How many bytes it refers to.
    pub(crate) fn len(&self) -> usize {
        usize::try_from(self.0.len()).unwrap_or(usize::MAX)
    }

    /// Whether they are mapped for writing.
    pub(crate) fn is_writable(&self) -> bool {
        self.0.is_writable()
    }

    /// Whether the next ranges of the file should be mapped already.
    pub(crate) fn wants_read_ahead(&self) -> bool {
        self.0.wants_read_ahead()
    }

    /// The bytes from `offset` on.
    pub(super) fn span(&self, offset: usize) -> Span {
        let skip = offset.min(self.len());
        Span { window_offset: self.0.window_offset().0 + skip as u64, len: self.len() - skip }
    }
}
