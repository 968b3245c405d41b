//! Whether the window is used, and if not, why.

/// Whether files go through the window, and if not, why.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DaxStatus {
    /// They do.
    Active,
    /// [`crate::Config::dax`] is off.
    SwitchedOff,
    /// The device has no window: no shared-memory region with id 0.
    NoWindow,
    /// The device describes its window in a way that cannot be.
    BadWindow(virtio_shm::ShmError),
    /// The window is unusable as configured: smaller than a range, or aligned more coarsely.
    Unusable(dax_window::ConfigError),
    /// [`crate::Config::window_part`] names a part that the window doesn't have.
    BadPart(virtio_shm::ShmError),
    /// The part of the window belongs to somebody else.
    PartTaken {
        /// Who owns it.
        holder: fs_dax::OwnerId,
    },
    /// The platform could not map the window.
    NotMapped,
    /// The platform mapped the window to an address that is no multiple of 4096.
    Misaligned {
        /// The address.
        address: usize,
    },
    /// The server answers SETUPMAPPING with ENOSYS.
    ServerCannotMap,
}

impl core::fmt::Display for DaxStatus {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Active => f.write_str("active"),
            Self::SwitchedOff => f.write_str("off: switched off by the configuration"),
            Self::NoWindow => f.write_str("off: the device has no DAX window (shared-memory region 0)"),
            Self::BadWindow(error) => write!(f, "off: the device's window is malformed: {error}"),
            Self::Unusable(error) => write!(f, "off: {error}"),
            Self::BadPart(error) => write!(f, "off: the configuration's part of the window cannot be: {error}"),
            Self::PartTaken { holder } => write!(f, "off: the part of the window belongs to {holder}"),
            Self::NotMapped => f.write_str("off: the platform did not map the window"),
            Self::Misaligned { address } => {
                write!(f, "off: the platform mapped the window to {address:#x}, inside a page")
            }
            Self::ServerCannotMap => f.write_str("off: the server answers SETUPMAPPING with ENOSYS"),
        }
    }
}
