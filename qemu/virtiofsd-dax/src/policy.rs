//! What a guest may have mapped and may make on the host, beyond what permissions say.

use std::ffi::CStr;
use std::io;

/// The bits of a mode that lend rights to whoever runs the file.
const PRIVILEGED: u32 = libc::S_ISUID | libc::S_ISGID;

/// Bits of a mode for running a file.
const EXECUTABLE: u32 = 0o111;

/// The extended attribute that lends capabilities to whoever runs the file.
const CAPABILITIES: &CStr = c"security.capability";

/// What is allowed; nothing by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policy {
    /// Files that can be run, and files on overlays, are mapped like others. The host cannot run a file that is open
    /// for writing, as a mapped one is, and copies a file of an overlay that is opened so.
    pub map_all: bool,
    /// The guest may make files that lend their owner's, their group's or other rights to whoever runs them.
    pub setuid: bool,
    /// The guest may make device nodes.
    pub devices: bool,
}

fn refuse(errno: i32) -> io::Result<()> {
    Err(io::Error::from_raw_os_error(errno))
}

impl Policy {
    /// Whether files of a mode are mapped.
    pub const fn maps_mode(self, mode: u32) -> bool {
        self.map_all || mode & EXECUTABLE == 0
    }

    /// Whether files are mapped that lie on an overlay, or not.
    pub const fn maps_overlay(self, overlay: bool) -> bool {
        self.map_all || !overlay
    }

    /// Whether a mode has one of the bits that [`check_mode`](Self::check_mode) may refuse.
    pub const fn is_privileged(mode: u32) -> bool {
        mode & PRIVILEGED != 0
    }

    /// Checks a mode, with its type, that a guest gives to a file. Folders may have any.
    ///
    /// # Errors
    ///
    /// `EPERM`.
    pub fn check_mode(self, mode: u32) -> io::Result<()> {
        match !self.setuid && Self::is_privileged(mode) && mode & libc::S_IFMT != libc::S_IFDIR {
            true => refuse(libc::EPERM),
            false => Ok(()),
        }
    }

    /// Checks what a guest makes by MKNOD. A character device 0:0 is no device: overlays mark removed files so.
    ///
    /// # Errors
    ///
    /// `EPERM`.
    pub fn check_node(self, mode: u32, rdev: u32) -> io::Result<()> {
        let is_device = match mode & libc::S_IFMT {
            libc::S_IFBLK => true,
            libc::S_IFCHR => rdev != 0,
            _ => false,
        };
        if is_device && !self.devices {
            return refuse(libc::EPERM);
        }
        self.check_mode(mode)
    }

    /// Checks the name of an extended attribute that a guest sets.
    ///
    /// # Errors
    ///
    /// `EPERM`.
    pub fn check_xattr(self, name: &CStr) -> io::Result<()> {
        if name == CAPABILITIES && !self.setuid { refuse(libc::EPERM) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAFE: Policy = Policy { map_all: false, setuid: false, devices: false };
    const ALL: Policy = Policy { map_all: true, setuid: true, devices: true };

    #[test]
    fn nothing_is_allowed_by_default() {
        assert_eq!(Policy::default(), SAFE);
        assert!(SAFE.maps_mode(libc::S_IFREG | 0o666) && SAFE.maps_overlay(false));
        for mode in [0o700, 0o610, 0o601] {
            assert!(!SAFE.maps_mode(libc::S_IFREG | mode), "{mode:o}");
        }
        assert!(!SAFE.maps_overlay(true));
        for mode in [0o4755, 0o2755, 0o6000] {
            assert!(SAFE.check_mode(libc::S_IFREG | mode).is_err(), "{mode:o}");
            assert!(SAFE.check_node(libc::S_IFREG | mode, 0).is_err(), "{mode:o}");
            assert!(SAFE.check_mode(libc::S_IFDIR | mode).is_ok(), "folders hand their group down");
        }
        assert!(SAFE.check_mode(libc::S_IFREG | 0o1777).is_ok());
        assert!(SAFE.check_xattr(c"security.capability").is_err());
        assert!(SAFE.check_xattr(c"user.x").is_ok());
    }

    #[test]
    fn device_nodes_are_not_made_and_other_nodes_are() {
        for (kind, rdev, allowed) in [
            (libc::S_IFBLK, 0, false),
            (libc::S_IFBLK, 0x700, false),
            (libc::S_IFCHR, 0x103, false),
            (libc::S_IFCHR, 0, true),
            (libc::S_IFIFO, 0x103, true),
            (libc::S_IFSOCK, 0, true),
            (libc::S_IFREG, 0x103, true),
            (0, 0, true),
        ] {
            assert_eq!(SAFE.check_node(kind | 0o644, rdev).is_ok(), allowed, "{kind:o} {rdev:#x}");
            assert!(ALL.check_node(kind | 0o6755, rdev).is_ok());
        }
    }

    #[test]
    fn each_choice_lifts_its_own() {
        assert!(ALL.maps_mode(0o777) && ALL.maps_overlay(true));
        assert!(ALL.check_xattr(c"security.capability").is_ok());
    }
}
