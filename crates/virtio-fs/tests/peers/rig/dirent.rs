//! Directory entries as a server writes them (`fuse_dirent`).

/// One entry of a READDIR.
pub(crate) fn dirent(ino: u64, offset: u64, name: &[u8]) -> Vec<u8> {
    dirent_with(ino, offset, name.len() as u32, name)
}

/// As [`dirent`], with a length of the name that may be a lie.
pub(crate) fn dirent_with(ino: u64, offset: u64, name_len: u32, name: &[u8]) -> Vec<u8> {
    let kind = 8_u32.to_le_bytes();
    let mut bytes = [&ino.to_le_bytes()[..], &offset.to_le_bytes(), &name_len.to_le_bytes(), &kind, name].concat();
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}
