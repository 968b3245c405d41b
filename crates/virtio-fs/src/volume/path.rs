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

use super::Volume;
use super::inode::Inode;
use crate::rpc::credentials::Credentials;
use crate::{Error, Lock};

/// The longest name in bytes (FUSE_NAME_MAX is 1024, but file systems on the host have 255).
pub const NAME_MAX: usize = 255;
/// The longest path in bytes.
pub const PATH_MAX: usize = 4096;
/// The most symbolic links followed in one walk.
pub const MAX_SYMLINKS: usize = 40;

/// Where a walk ended.
pub(crate) struct Walked<R: Lock> {
    /// The directory of the last component.
    pub(crate) parent: Arc<Inode<R>>,
    /// The last component; empty for the root and for paths that end in `.` or `..`.
    pub(crate) name: Vec<u8>,
    /// What it names, if it exists.
    pub(crate) inode: Option<Arc<Inode<R>>>,
    /// Whether the path ends in `/`: it must be a directory.
    pub(crate) must_be_dir: bool,
}

/// What becomes of the last component of a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Last {
    /// It is looked up, and followed if it is a symbolic link.
    Follow,
    /// It is looked up.
    LookUp,
    /// It is returned as it is.
    Leave,
}

/// Walks `path` from the directory `start` to an inode that exists.
pub(crate) fn walk_to<R: Lock>(
    volume: &Volume<R>,
    who: Credentials,
    start: Arc<Inode<R>>,
    path: &[u8],
    last: Last,
) -> Result<Arc<Inode<R>>, Error> {
    walk(volume, who, start, path, last)?.inode.ok_or(Error::Os(Errno::ENOENT))
}

/// Walks `path` up to its last component, for an operation that creates or removes it; what it names is not looked up.
pub(crate) fn walk_to_parent<R: Lock>(
    volume: &Volume<R>,
    who: Credentials,
    start: Arc<Inode<R>>,
    path: &[u8],
) -> Result<Walked<R>, Error> {
    let walked = walk(volume, who, start, path, Last::Leave)?;
    if walked.name.is_empty() {
        return Err(Error::refused(Errno::EBUSY, "the path names no entry of a directory"));
    }
    Ok(walked)
}

/// Walks `path`; the last component need not exist.
pub(crate) fn walk<R: Lock>(
    volume: &Volume<R>,
    who: Credentials,
    start: Arc<Inode<R>>,
    path: &[u8],
    last: Last,
) -> Result<Walked<R>, Error> {
    if path.is_empty() {
        return Err(Error::refused(Errno::ENOENT, "an empty path"));
    }
    let mut walk = Walk {
        volume,
        who,
        rest: components(path)?,
        must_be_dir: path.ends_with(b"/"),
        links: 0,
        here: start,
        above: Vec::new(),
    };
    loop {
        if let Some(walked) = walk.step(last)? {
            return Ok(walked);
        }
    }
}

/// A walk under way.
struct Walk<'v, R: Lock> {
    volume: &'v Volume<R>,
    who: Credentials,
    /// The components still to go.
    rest: VecDeque<Vec<u8>>,
    must_be_dir: bool,
    /// Symbolic links followed so far.
    links: usize,
    here: Arc<Inode<R>>,
    /// The directories from where the walk began to above where it is; `..` goes back one.
    above: Vec<Arc<Inode<R>>>,
}

impl<R: Lock> Walk<'_, R> {
    /// Goes one component further. Returns where the walk ended if it did.
    fn step(&mut self, at_end: Last) -> Result<Option<Walked<R>>, Error> {
        let Some(name) = self.rest.pop_front() else {
            let inode = Some(self.here.clone());
            return Ok(Some(Walked { parent: self.here.clone(), name: Vec::new(), inode, must_be_dir: false }));
        };
        if name == b"." {
            return Ok(None);
        }
        if name == b".." {
            if let Some(above) = self.above.pop() {
                self.here = above;
            }
            return Ok(None);
        }
        let last = self.rest.is_empty();
        if last && at_end == Last::Leave {
            return Ok(Some(self.ended(name, None)));
        }
        let inode = match self.volume.look_up(self.who, &self.here, &name) {
            Ok(inode) => inode,
            Err(error) if last && error.errno() == Errno::ENOENT => return Ok(Some(self.ended(name, None))),
            Err(error) => return Err(error),
        };
        if inode.is_symlink() && (!last || at_end == Last::Follow || self.must_be_dir) {
            self.follow(&inode, last)?;
            return Ok(None);
        }
        if last {
            if self.must_be_dir && !inode.is_dir() {
                return Err(Error::refused(Errno::ENOTDIR, "a path that ends in / names no directory"));
            }
            return Ok(Some(self.ended(name, Some(inode))));
        }
        if !inode.is_dir() {
            return Err(Error::refused(Errno::ENOTDIR, "a component of the path is no directory"));
        }
        self.above.push(core::mem::replace(&mut self.here, inode));
        Ok(None)
    }

    fn ended(&self, name: Vec<u8>, inode: Option<Arc<Inode<R>>>) -> Walked<R> {
        Walked { parent: self.here.clone(), name, inode, must_be_dir: self.must_be_dir }
    }

    /// Puts the target of a symbolic link before the components still to go.
    fn follow(&mut self, link: &Inode<R>, last: bool) -> Result<(), Error> {
        self.links += 1;
        if self.links > MAX_SYMLINKS {
            return Err(Error::refused(Errno::ELOOP, "too many symbolic links"));
        }
        let target = self.volume.read_link(self.who, link)?;
        if target.is_empty() {
            return Err(Error::refused(Errno::ENOENT, "a symbolic link with an empty target"));
        }
        if target.starts_with(b"/") {
            self.here = self.volume.root()?;
            self.above.clear();
        }
        self.must_be_dir |= last && target.ends_with(b"/");
        let mut target = components(&target)?;
        target.append(&mut self.rest);
        self.rest = target;
        if self.rest.len() > PATH_MAX {
            return Err(Error::refused(Errno::ENAMETOOLONG, "symbolic links expand to too long a path"));
        }
        Ok(())
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
