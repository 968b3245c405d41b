//! Paths: how they are walked, and by which rules.
//!
//! - Components are separated by one or more `/`; a leading `/` changes nothing, every path starts at the root of the
//!   file system. The empty path is an error (ENOENT), `/` is the root.
//! - `.` is skipped. `..` is the directory that the walk came from, as in POSIX, not a cut of the text: after a symbolic
//!   link it is the parent of the link's target. At the root `..` stays at the root, so no path leaves the file system.
//! - Symbolic links are followed, except the last component where an operation says so. An absolute target starts at the
//!   root of the file system, a relative one at the directory that holds the link. At most [`MAX_SYMLINKS`] are followed
//!   in one walk, then it is ELOOP.
//! - A path that ends in `/` must name a directory (ENOTDIR).
//! - A component longer than [`NAME_MAX`] bytes is ENAMETOOLONG, as is a path longer than [`PATH_MAX`].

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use fuse_proto::Errno;
use lock_api::RawMutex;

use crate::inode::Inode;
use crate::shared::Shared;
use crate::{Credentials, Error};

/// The longest name in bytes (FUSE_NAME_MAX is 1024, but file systems on the host have 255).
pub const NAME_MAX: usize = 255;
/// The longest path in bytes.
pub const PATH_MAX: usize = 4096;
/// The most symbolic links followed in one walk.
pub const MAX_SYMLINKS: usize = 40;

/// Where a walk ended.
pub(crate) struct Walked<R> {
    /// The directory of the last component.
    pub(crate) parent: Arc<Inode<R>>,
    /// The last component; empty for the root and for paths that end in `.` or `..`.
    pub(crate) name: Vec<u8>,
    /// What it names, if it exists.
    pub(crate) inode: Option<Arc<Inode<R>>>,
    /// Whether the path ends in `/`: it must be a directory.
    pub(crate) must_be_dir: bool,
}

impl<R: RawMutex + Send + Sync + 'static> Shared<R> {
    /// Walks `path` to an inode that exists.
    pub(crate) fn walk_to(&self, who: Credentials, path: &[u8], follow: bool) -> Result<Arc<Inode<R>>, Error> {
        let walked = self.walk(who, path, follow)?;
        walked.inode.ok_or(Error::Os(Errno::ENOENT))
    }

    /// Walks `path` up to its last component, for an operation that creates or removes it; what it names is not looked up.
    pub(crate) fn walk_to_parent(&self, who: Credentials, path: &[u8]) -> Result<Walked<R>, Error> {
        let walked = self.walk_components(who, path, false, false)?;
        if walked.name.is_empty() {
            return Err(Error::refused(Errno::EBUSY, "the path names no entry of a directory"));
        }
        Ok(walked)
    }

    /// Walks `path`; the last component need not exist.
    pub(crate) fn walk(&self, who: Credentials, path: &[u8], follow: bool) -> Result<Walked<R>, Error> {
        self.walk_components(who, path, follow, true)
    }

    /// Walks `path`; what its last component names is looked up only if asked for, and followed only if asked for that, too.
    pub(crate) fn walk_components(
        &self,
        who: Credentials,
        path: &[u8],
        follow_last: bool,
        look_up_last: bool,
    ) -> Result<Walked<R>, Error> {
        if path.is_empty() {
            return Err(Error::refused(Errno::ENOENT, "an empty path"));
        }
        let mut rest = components(path)?;
        let mut must_be_dir = path.ends_with(b"/");
        let mut links = 0;
        // The directories from the root to where the walk is; `..` goes back one.
        let mut stack = Vec::from([self.root()?]);
        loop {
            let here = match stack.last() {
                Some(here) => here.clone(),
                None => self.root()?,
            };
            let Some(name) = rest.pop_front() else {
                return Ok(Walked { parent: here.clone(), name: Vec::new(), inode: Some(here), must_be_dir: false });
            };
            if name == b"." {
                continue;
            }
            if name == b".." {
                if stack.len() > 1 {
                    stack.pop();
                }
                continue;
            }
            let last = rest.is_empty();
            if last && !look_up_last {
                return Ok(Walked { parent: here, name, inode: None, must_be_dir });
            }
            let inode = match self.look_up(who, &here, &name) {
                Ok(inode) => inode,
                Err(error) if last && error.errno() == Errno::ENOENT => {
                    return Ok(Walked { parent: here, name, inode: None, must_be_dir });
                }
                Err(error) => return Err(error),
            };
            if inode.is_symlink() && (!last || follow_last || must_be_dir) {
                links += 1;
                if links > MAX_SYMLINKS {
                    return Err(Error::refused(Errno::ELOOP, "too many symbolic links"));
                }
                let target = self.read_link(who, &inode)?;
                if target.is_empty() {
                    return Err(Error::refused(Errno::ENOENT, "a symbolic link with an empty target"));
                }
                if target.starts_with(b"/") {
                    stack.truncate(1);
                }
                must_be_dir |= last && target.ends_with(b"/");
                let mut target = components(&target)?;
                target.append(&mut rest);
                rest = target;
                if rest.len() > PATH_MAX {
                    return Err(Error::refused(Errno::ENAMETOOLONG, "symbolic links expand to too long a path"));
                }
                continue;
            }
            if last {
                if must_be_dir && !inode.is_dir() {
                    return Err(Error::refused(Errno::ENOTDIR, "a path that ends in / names no directory"));
                }
                return Ok(Walked { parent: here, name, inode: Some(inode), must_be_dir });
            }
            if !inode.is_dir() {
                return Err(Error::refused(Errno::ENOTDIR, "a component of the path is no directory"));
            }
            stack.push(inode);
        }
    }
}

/// The components of a path, in order.
fn components(path: &[u8]) -> Result<VecDeque<Vec<u8>>, Error> {
    if path.len() > PATH_MAX {
        return Err(Error::refused(Errno::ENAMETOOLONG, "the path is too long"));
    }
    path.split(|&byte| byte == b'/')
        .filter(|name| !name.is_empty())
        .map(|name| check_name(name).map(Vec::from))
        .collect()
}

/// Refuses names that no directory can hold. `.` and `..` pass: a walk handles them.
fn check_name(name: &[u8]) -> Result<&[u8], Error> {
    if name.len() > NAME_MAX {
        return Err(Error::refused(Errno::ENAMETOOLONG, "a name of more than 255 bytes"));
    }
    if name.contains(&0) {
        return Err(Error::refused(Errno::EINVAL, "a name with a NUL byte"));
    }
    Ok(name)
}
