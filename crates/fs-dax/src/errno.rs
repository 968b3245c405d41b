//! Error numbers.

use core::fmt;
use core::num::NonZeroI32;

/// An error number: the positive number that Linux gives an error on most architectures (`EIO` is 5).
///
/// FUSE replies and system calls carry the same numbers negated; convert at that border with [`Errno::from_reply`].
/// The numbers are those of `asm-generic/errno*.h`. Any positive number is accepted, since a file server may answer
/// with one that has no name here.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(NonZeroI32);

macro_rules! errnos {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        impl Errno {
            $($(#[$doc])* pub const $name: Self = Self(NonZeroI32::new($value).expect("not zero"));)*

            /// The name of the number, if it is one of those named here.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0.get() {
                    $($value => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

errnos! {
    /// 1: the caller is not the one who may do this.
    EPERM = 1;
    /// 5: input or output failed, or the device or file is marked failed.
    EIO = 5;
    /// 6: no such address: the file changed under its map.
    ENXIO = 6;
    /// 7: too many extents.
    E2BIG = 7;
    /// 11: try again.
    EAGAIN = 11;
    /// 12: no memory.
    ENOMEM = 12;
    /// 13: the file is not open for this.
    EACCES = 13;
    /// 14: an address outside the area.
    EFAULT = 14;
    /// 16: held by somebody else.
    EBUSY = 16;
    /// 17: there is one already.
    EEXIST = 17;
    /// 19: no such device.
    ENODEV = 19;
    /// 22: an argument that can never be right.
    EINVAL = 22;
    /// 28: no space, or a file without extents.
    ENOSPC = 28;
    /// 34: nothing is there.
    ERANGE = 34;
    /// 38: the file server does not know the request.
    ENOSYS = 38;
    /// 95: a flag or operation that this file does not support.
    EOPNOTSUPP = 95;
    /// 110: a deadline passed.
    ETIMEDOUT = 110;
}

impl Errno {
    /// The error with number `value`, or `None` unless it is positive.
    #[must_use]
    pub const fn new(value: i32) -> Option<Self> {
        if value <= 0 {
            return None;
        }
        match NonZeroI32::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// The outcome in a FUSE reply or a system call's result: 0 or more is success, a negative number is an error.
    ///
    /// `i32::MIN`, which is the negation of nothing, becomes [`Errno::EIO`].
    pub const fn from_reply(value: i32) -> Result<(), Self> {
        if value >= 0 {
            return Ok(());
        }
        match value.checked_neg() {
            Some(value) => match Self::new(value) {
                Some(errno) => Err(errno),
                None => Ok(()),
            },
            None => Err(Self::EIO),
        }
    }

    /// The positive number.
    #[must_use]
    pub const fn get(self) -> i32 {
        self.0.get()
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "Errno({})", self.0),
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl core::error::Error for Errno {}

impl From<Errno> for i32 {
    fn from(errno: Errno) -> Self {
        errno.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::string::ToString;

    #[test]
    fn only_positive_numbers_are_errors() {
        assert_eq!(Errno::new(5), Some(Errno::EIO));
        assert_eq!(Errno::new(0), None);
        assert_eq!(Errno::new(-5), None);
        assert_eq!(Errno::new(133).unwrap().get(), 133);
    }

    #[test]
    fn replies_are_negated() {
        assert_eq!(Errno::from_reply(0), Ok(()));
        assert_eq!(Errno::from_reply(7), Ok(()));
        assert_eq!(Errno::from_reply(-38), Err(Errno::ENOSYS));
        assert_eq!(Errno::from_reply(i32::MIN), Err(Errno::EIO));
        assert_eq!(Errno::from_reply(-i32::MAX).unwrap_err().get(), i32::MAX);
    }

    #[test]
    fn names_are_shown() {
        assert_eq!(Errno::EOPNOTSUPP.to_string(), "EOPNOTSUPP");
        assert_eq!(Errno::new(1000).unwrap().to_string(), "errno 1000");
    }
}
