//! Paths: relative, at most 79 bytes, of any bytes but NUL.

use core::fmt;

use crate::PathFlaw;

/// The largest number of bytes of a path.
const MAX_LEN: usize = 79;

/// A path as it stands on the medium: not checked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PathField(pub(crate) [u8; 80]);

/// A path that names a file or directory of the file system: relative, no component empty, `.` or `..`, not `.meta`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    bytes: [u8; MAX_LEN],
    len: u8,
}

impl PathField {
    /// The path in it.
    ///
    /// # Errors
    /// The first [`PathFlaw`], in this order: unterminated, empty, absolute, dotdot, component, reserved.
    pub fn check(&self) -> Result<Path, PathFlaw> {
        let len = self.0.iter().position(|byte| *byte == 0).ok_or(PathFlaw::Unterminated)?;
        Path::new(&self.0[..len])
    }
}

impl fmt::Debug for PathField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl Path {
    /// Checks a path.
    ///
    /// # Errors
    /// The first [`PathFlaw`], as [`PathField::check`]. A NUL in it, or an 80th byte, is [`PathFlaw::Unterminated`].
    pub fn new(path: &[u8]) -> Result<Self, PathFlaw> {
        if path.len() > MAX_LEN || path.contains(&0) {
            return Err(PathFlaw::Unterminated);
        }
        if path.is_empty() {
            return Err(PathFlaw::Empty);
        }
        if path[0] == b'/' {
            return Err(PathFlaw::Absolute);
        }
        let mut components = path.split(|byte| *byte == b'/');
        if components.clone().any(|component| component == b"..") {
            return Err(PathFlaw::DotDot);
        }
        if components.clone().any(|component| component.is_empty() || component == b".") {
            return Err(PathFlaw::Component);
        }
        if components.next() == Some(b".meta") {
            return Err(PathFlaw::Reserved);
        }
        Ok(Self::unchecked(path))
    }

    /// A path that is known to be short enough.
    #[inline(never)]
    pub(crate) fn unchecked(path: &[u8]) -> Self {
        let mut bytes = [0; MAX_LEN];
        let len = path.len().min(MAX_LEN);
        bytes[..len].copy_from_slice(&path[..len]);
        Self { bytes, len: len as u8 }
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The directory's path, if it is not the root, and the name in it.
    #[must_use]
    pub fn split(&self) -> (Option<&[u8]>, &[u8]) {
        let path = self.as_bytes();
        match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (Some(&path[..slash]), &path[slash + 1..]),
            None => (None, path),
        }
    }

    /// The field on the medium that holds this path.
    #[must_use]
    pub fn field(&self) -> PathField {
        let mut field = [0; 80];
        field[..MAX_LEN].copy_from_slice(&self.bytes);
        PathField(field)
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_bytes().escape_ascii())
    }
}
