//! Exit statuses.

/// The exit status of `check` where nothing is refused.
pub(super) const CLEAN: u8 = 0;
/// The exit status of all four where the file system is damaged, or the image must not be overwritten.
pub(super) const DAMAGED: u8 = 1;
/// The exit status of all four where the image is no file system of a known format.
pub(super) const UNKNOWN: u8 = 2;
/// The exit status where the image cannot be read or written (`EX_IOERR`): nothing is known about it.
pub(super) const NO_IMAGE: u8 = 74;

/// The exit status for an image of which nothing is readable.
pub(super) fn refused(finding: &famfs::Finding) -> u8 {
    if finding.is_unknown_format() { UNKNOWN } else { DAMAGED }
}
