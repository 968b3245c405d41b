//! Which names a guest may give: one component of a path, and never one that leads out of its folder.
//!
//! virtiofsd opens names below a folder for LOOKUP and CREATE only; for everything else it hands the name to the
//! host's kernel as it is, which follows `/` and `..` out of the share. Each name is checked here, on the very bytes
//! that are executed.

use std::ffi::CStr;
use std::io;

/// What a name is for; it decides the errno of a name that is `.` or `..`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// LOOKUP. `.` is the folder itself; `..` is refused with `EINVAL`, since the folder may be the share's root.
    Find,
    /// MKNOD, MKDIR, SYMLINK and LINK: `EEXIST`, as Linux answers `mkdir(".")`.
    Make,
    /// CREATE: `EISDIR`, as Linux answers `open(".", O_CREAT)`.
    Open,
    /// UNLINK: `EISDIR`, as Linux answers `unlink(".")`.
    Unlink,
    /// RMDIR: `EINVAL` for `.` and `ENOTEMPTY` for `..`, as Linux answers `rmdir`.
    RemoveFolder,
    /// Both names of RENAME and RENAME2: `EBUSY`, as Linux answers `rename(".", …)`.
    Rename,
}

/// Checks a name.
///
/// # Errors
///
/// `ENOENT` if it is empty, as Linux answers; `EINVAL` if it has a `/`, which no kernel puts into a name; for `.` and
/// `..` see [`Purpose`].
pub fn check(name: &CStr, purpose: Purpose) -> io::Result<()> {
    let errno = match name.to_bytes() {
        b"" => libc::ENOENT,
        name if name.contains(&b'/') => libc::EINVAL,
        b"." => match purpose {
            Purpose::Find => return Ok(()),
            Purpose::Make => libc::EEXIST,
            Purpose::Open | Purpose::Unlink => libc::EISDIR,
            Purpose::RemoveFolder => libc::EINVAL,
            Purpose::Rename => libc::EBUSY,
        },
        b".." => match purpose {
            Purpose::Find => libc::EINVAL,
            Purpose::Make => libc::EEXIST,
            Purpose::Open | Purpose::Unlink => libc::EISDIR,
            Purpose::RemoveFolder => libc::ENOTEMPTY,
            Purpose::Rename => libc::EBUSY,
        },
        _ => return Ok(()),
    };
    Err(io::Error::from_raw_os_error(errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Purpose; 6] =
        [Purpose::Find, Purpose::Make, Purpose::Open, Purpose::Unlink, Purpose::RemoveFolder, Purpose::Rename];

    fn errno(name: &CStr, purpose: Purpose) -> Option<i32> {
        check(name, purpose).err().and_then(|error| error.raw_os_error())
    }

    #[test]
    fn one_component_is_a_name() {
        for purpose in ALL {
            for good in [c"a", c"...", c".a", c"..a", c"a..", c"\xff\x01"] {
                assert_eq!(errno(good, purpose), None, "{good:?}");
            }
            for bad in [c"/", c"a/b", c"../a", c"/a", c"a/", c"./a"] {
                assert_eq!(errno(bad, purpose), Some(libc::EINVAL), "{bad:?}");
            }
            assert_eq!(errno(c"", purpose), Some(libc::ENOENT));
        }
    }

    #[test]
    fn dots_are_refused_as_linux_refuses_them() {
        let both = |purpose| (errno(c".", purpose), errno(c"..", purpose));
        assert_eq!(both(Purpose::Find), (None, Some(libc::EINVAL)));
        assert_eq!(both(Purpose::Make), (Some(libc::EEXIST), Some(libc::EEXIST)));
        assert_eq!(both(Purpose::Open), (Some(libc::EISDIR), Some(libc::EISDIR)));
        assert_eq!(both(Purpose::Unlink), (Some(libc::EISDIR), Some(libc::EISDIR)));
        assert_eq!(both(Purpose::RemoveFolder), (Some(libc::EINVAL), Some(libc::ENOTEMPTY)));
        assert_eq!(both(Purpose::Rename), (Some(libc::EBUSY), Some(libc::EBUSY)));
    }
}
