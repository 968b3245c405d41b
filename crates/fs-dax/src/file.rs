//! A file and the one map it gets.

use crate::{Errno, Error, Extent, FailureState, FileMap};

/// A file with a map that arrives once and is never replaced, and which fails for ever if its size changes behind its map's
/// back.
#[derive(Debug)]
pub struct MappedFile<S> {
    map: Option<FileMap<S>>,
    failure: FailureState,
}

impl<S: AsRef<[Extent]>> MappedFile<S> {
    /// A file without a map yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { map: None, failure: FailureState::new() }
    }

    /// Gives the file its map.
    ///
    /// # Errors
    /// [`Error::MapExists`] if it has one, which it keeps.
    pub fn install(&mut self, map: FileMap<S>) -> Result<(), Error> {
        if self.map.is_some() {
            return Err(Error::MapExists);
        }
        self.map = Some(map);
        Ok(())
    }

    /// The map, for a read, write, map or fault.
    ///
    /// # Errors
    /// [`Error::Failed`] if the file failed; [`Error::NoMap`] if it has no map.
    pub fn map(&self) -> Result<&FileMap<S>, Error> {
        self.failure.check()?;
        self.map.as_ref().ok_or(Error::NoMap)
    }

    /// The map, if the file's size as the caller knows it, in bytes, is still the one the map was made for.
    ///
    /// # Errors
    /// [`Error::SizeChanged`] the first time it is not, and [`Error::Failed`] with [`Errno::ENXIO`] from then on,
    /// whatever the size becomes; the others as [`map`](Self::map).
    pub fn map_for_size(&self, found: u64) -> Result<&FileMap<S>, Error> {
        let map = self.map()?;
        if map.size() != found {
            self.failure.fail(Errno::ENXIO);
            return Err(Error::SizeChanged { expected: map.size(), found });
        }
        Ok(map)
    }

    /// The file's failure state.
    #[must_use]
    pub const fn failure(&self) -> &FailureState {
        &self.failure
    }
}

impl<S: AsRef<[Extent]>> Default for MappedFile<S> {
    fn default() -> Self {
        Self::new()
    }
}
