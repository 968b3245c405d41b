//! The user that requests are made for.

/// The user that a request is made for.
///
/// What comes of it is up to the server. Those that run as root (libkrun, fuse-backend-rs) take the user's part when
/// something is made, and answer ACCESS by the user's rights; a file that exists they open as root. A kernel that has users of
/// its own checks modes and owners itself, as Linux does (`default_permissions`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Credentials {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Process id, for the server's locks and logs.
    pub pid: u32,
}

impl From<Credentials> for fuse_proto::Context {
    fn from(who: Credentials) -> Self {
        Self { uid: who.uid, gid: who.gid, pid: who.pid }
    }
}
