//! Linux error numbers as one type, [`Errno`], the same on every target.
//!
//! A FUSE server answers with them (negated), a file system in a kernel returns them, and a program finds them in `errno`.
//! The crates of this family share this type, so that an error passes through all of them without a conversion.
//!
//! ```
//! use fs_errno::Errno;
//!
//! assert_eq!(Errno::new(2), Some(Errno::ENOENT));
//! assert_eq!(Errno::from_reply(-38), Err(Errno::ENOSYS));
//! assert_eq!(Errno::ENOSPC.name(), Some("ENOSPC"));
//! ```
//!
//! It needs nothing but `core` and has no features.
#![no_std]
#![forbid(unsafe_code)]

use core::fmt;

/// A positive Linux error number, 1 to 4095 (`EIO` is 5). Numbers that have no name here are kept as they are.
///
/// The numbers are those of `asm-generic/errno*.h`, which Linux uses on x86, ARM and RISC-V, whatever this code is compiled
/// for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Errno(i32);

macro_rules! errnos {
    ($($name:ident = $value:literal;)*) => {
        impl Errno {
            $(#[doc = concat!("Error ", $value, ".")] pub const $name: Self = Self($value);)*

            /// The number's symbolic name; `None` if it has none here.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

errnos! {
    EPERM = 1;
    ENOENT = 2;
    ESRCH = 3;
    EINTR = 4;
    EIO = 5;
    ENXIO = 6;
    E2BIG = 7;
    ENOEXEC = 8;
    EBADF = 9;
    ECHILD = 10;
    EAGAIN = 11;
    ENOMEM = 12;
    EACCES = 13;
    EFAULT = 14;
    ENOTBLK = 15;
    EBUSY = 16;
    EEXIST = 17;
    EXDEV = 18;
    ENODEV = 19;
    ENOTDIR = 20;
    EISDIR = 21;
    EINVAL = 22;
    ENFILE = 23;
    EMFILE = 24;
    ENOTTY = 25;
    ETXTBSY = 26;
    EFBIG = 27;
    ENOSPC = 28;
    ESPIPE = 29;
    EROFS = 30;
    EMLINK = 31;
    EPIPE = 32;
    EDOM = 33;
    ERANGE = 34;
    EDEADLK = 35;
    ENAMETOOLONG = 36;
    ENOLCK = 37;
    ENOSYS = 38;
    ENOTEMPTY = 39;
    ELOOP = 40;
    ENOMSG = 42;
    EIDRM = 43;
    ECHRNG = 44;
    EL2NSYNC = 45;
    EL3HLT = 46;
    EL3RST = 47;
    ELNRNG = 48;
    EUNATCH = 49;
    ENOCSI = 50;
    EL2HLT = 51;
    EBADE = 52;
    EBADR = 53;
    EXFULL = 54;
    ENOANO = 55;
    EBADRQC = 56;
    EBADSLT = 57;
    EBFONT = 59;
    ENOSTR = 60;
    ENODATA = 61;
    ETIME = 62;
    ENOSR = 63;
    ENONET = 64;
    ENOPKG = 65;
    EREMOTE = 66;
    ENOLINK = 67;
    EADV = 68;
    ESRMNT = 69;
    ECOMM = 70;
    EPROTO = 71;
    EMULTIHOP = 72;
    EDOTDOT = 73;
    EBADMSG = 74;
    EOVERFLOW = 75;
    ENOTUNIQ = 76;
    EBADFD = 77;
    EREMCHG = 78;
    ELIBACC = 79;
    ELIBBAD = 80;
    ELIBSCN = 81;
    ELIBMAX = 82;
    ELIBEXEC = 83;
    EILSEQ = 84;
    ERESTART = 85;
    ESTRPIPE = 86;
    EUSERS = 87;
    ENOTSOCK = 88;
    EDESTADDRREQ = 89;
    EMSGSIZE = 90;
    EPROTOTYPE = 91;
    ENOPROTOOPT = 92;
    EPROTONOSUPPORT = 93;
    ESOCKTNOSUPPORT = 94;
    EOPNOTSUPP = 95;
    EPFNOSUPPORT = 96;
    EAFNOSUPPORT = 97;
    EADDRINUSE = 98;
    EADDRNOTAVAIL = 99;
    ENETDOWN = 100;
    ENETUNREACH = 101;
    ENETRESET = 102;
    ECONNABORTED = 103;
    ECONNRESET = 104;
    ENOBUFS = 105;
    EISCONN = 106;
    ENOTCONN = 107;
    ESHUTDOWN = 108;
    ETOOMANYREFS = 109;
    ETIMEDOUT = 110;
    ECONNREFUSED = 111;
    EHOSTDOWN = 112;
    EHOSTUNREACH = 113;
    EALREADY = 114;
    EINPROGRESS = 115;
    ESTALE = 116;
    EUCLEAN = 117;
    ENOTNAM = 118;
    ENAVAIL = 119;
    EISNAM = 120;
    EREMOTEIO = 121;
    EDQUOT = 122;
    ENOMEDIUM = 123;
    EMEDIUMTYPE = 124;
    ECANCELED = 125;
    ENOKEY = 126;
    EKEYEXPIRED = 127;
    EKEYREVOKED = 128;
    EKEYREJECTED = 129;
    EOWNERDEAD = 130;
    ENOTRECOVERABLE = 131;
    ERFKILL = 132;
    EHWPOISON = 133;
}

impl Errno {
    /// The largest error number there is.
    pub const MAX: i32 = 4095;

    /// The error with this positive number; `None` outside 1 to 4095.
    #[must_use]
    pub const fn new(number: i32) -> Option<Self> {
        if number >= 1 && number <= Self::MAX { Some(Self(number)) } else { None }
    }

    /// The outcome in a FUSE reply or in a system call's result: 0 or more is success, a negative number is an error.
    ///
    /// # Errors
    /// The error with the negated number; [`Errno::EIO`] for a number below -4095, which no error has.
    pub const fn from_reply(value: i32) -> Result<(), Self> {
        if value >= 0 {
            return Ok(());
        }
        match value.checked_neg() {
            Some(number) => match Self::new(number) {
                Some(errno) => Err(errno),
                None => Err(Self::EIO),
            },
            None => Err(Self::EIO),
        }
    }

    /// The positive number.
    #[must_use]
    pub const fn number(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "error {}", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "Errno({} {name})", self.0),
            None => write!(f, "Errno({})", self.0),
        }
    }
}

impl core::error::Error for Errno {}

impl From<Errno> for i32 {
    fn from(errno: Errno) -> Self {
        errno.number()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::format;
    use std::string::ToString;

    use super::*;

    #[test]
    fn numbers_have_a_range_and_unknown_ones_are_kept() {
        assert_eq!(Errno::new(2), Some(Errno::ENOENT));
        assert_eq!(Errno::new(4095).map(Errno::number), Some(4095));
        for number in [0, -2, 4096, i32::MIN, i32::MAX] {
            assert_eq!(Errno::new(number), None);
        }
        assert_eq!(format!("{} {0:?}", Errno::ENOSYS), "ENOSYS Errno(38 ENOSYS)");
        assert_eq!(format!("{}", Errno::new(512).unwrap()), "error 512");
    }
    #[test]
    fn only_positive_numbers_are_errors() {
        assert_eq!(Errno::new(5), Some(Errno::EIO));
        assert_eq!(Errno::new(0), None);
        assert_eq!(Errno::new(-5), None);
        assert_eq!(Errno::new(133).unwrap().number(), 133);
        assert_eq!(i32::from(Errno::EIO), 5);
    }

    #[test]
    fn replies_are_negated() {
        assert_eq!(Errno::from_reply(0), Ok(()));
        assert_eq!(Errno::from_reply(7), Ok(()));
        assert_eq!(Errno::from_reply(-38), Err(Errno::ENOSYS));
        assert_eq!(Errno::from_reply(i32::MIN), Err(Errno::EIO));
        assert_eq!(Errno::from_reply(-4095).unwrap_err().number(), 4095);
        assert_eq!(Errno::from_reply(-4096), Err(Errno::EIO));
    }

    #[test]
    fn names_are_shown() {
        assert_eq!(Errno::EOPNOTSUPP.to_string(), "EOPNOTSUPP");
        assert_eq!(Errno::new(1000).unwrap().to_string(), "error 1000");
    }
}
