//! Which bytes can be a name.

use crate::{DecodeError, NameError};

/// The longest name or path in a message, without its zero byte: one less than Linux's `PATH_MAX`.
pub const NAME_MAX: usize = 4095;

/// Checks that `name` can stand between two zero bytes: not empty, not too long, no zero in it.
///
/// # Errors
/// What is wrong with it.
pub fn check_text(name: &[u8]) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > NAME_MAX {
        return Err(NameError::TooLong { len: name.len(), max: NAME_MAX });
    }
    match name.iter().position(|&byte| byte == 0) {
        Some(at) => Err(NameError::Nul { at }),
        None => Ok(()),
    }
}

/// Checks that `name` can be one component of a path; `.` and `..` pass.
///
/// # Errors
/// What is wrong with it.
pub fn check_component(name: &[u8]) -> Result<(), NameError> {
    check_text(name)?;
    match name.iter().position(|&byte| byte == b'/') {
        Some(at) => Err(NameError::Slash { at }),
        None => Ok(()),
    }
}

/// Checks that `name` can be the name of an entry: one component, neither `.` nor `..`.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &[u8]) -> Result<(), NameError> {
    check_component(name)?;
    if is_dot(name) { Err(NameError::Dot) } else { Ok(()) }
}

/// Whether the name is `.` or `..`.
#[must_use]
pub const fn is_dot(name: &[u8]) -> bool {
    matches!(name, b"." | b"..")
}

/// Splits a zero-terminated text off a message.
pub(crate) fn split_text<'a>(field: &'static str, bytes: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), DecodeError> {
    match bytes.iter().position(|&byte| byte == 0) {
        Some(end) => Ok((&bytes[..end], &bytes[end + 1..])),
        None => Err(DecodeError::Name { field, error: NameError::Unterminated }),
    }
}

/// Splits the name of an entry off a message.
pub(crate) fn split_name<'a>(field: &'static str, bytes: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), DecodeError> {
    let (name, rest) = split_text(field, bytes)?;
    check_name(name).map_err(|error| DecodeError::Name { field, error })?;
    Ok((name, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_none() {
        assert_eq!(check_name(b""), Err(NameError::Empty));
        assert_eq!(check_name(b"a\0b"), Err(NameError::Nul { at: 1 }));
        assert_eq!(check_name(b"a/b"), Err(NameError::Slash { at: 1 }));
        assert_eq!(check_name(b"."), Err(NameError::Dot));
        assert_eq!(check_name(b".."), Err(NameError::Dot));
        assert_eq!(check_name(&[b'a'; 4096]), Err(NameError::TooLong { len: 4096, max: 4095 }));
        assert_eq!(check_component(b".."), Ok(()));
        assert_eq!(check_name(b"..."), Ok(()));
        assert_eq!(check_name(&[b'a'; 4095]), Ok(()));
    }

    #[test]
    fn a_text_without_an_end() {
        assert_eq!(split_text("x", b"abc"), Err(DecodeError::Name { field: "x", error: NameError::Unterminated }));
        assert_eq!(split_text("x", b"abc\0d"), Ok((&b"abc"[..], &b"d"[..])));
    }
}
