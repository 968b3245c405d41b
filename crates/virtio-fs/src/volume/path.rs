//! Paths: how they are walked, and by which rules.
//!
//! - Components are separated by one or more `/`; a leading `/` changes nothing, every path starts at the root of the
//!   file system. The empty path is an error (ENOENT), `/` is the root.
//! - `.` is skipped. As the last component of a path, if its last entry is made, removed or renamed, `.`, `..` and `/` are
//!   the errors of the host's own calls. `..` is the directory that the walk came from, as in POSIX, not a cut of the text: after a symbolic
//!   link it is the parent of the link's target. At the root `..` stays at the root, so no path leaves the file system.
//! - Symbolic links are followed, except the last component where an operation says so. An absolute target starts at the
//!   root of the file system, a relative one at the directory that holds the link. At most [`MAX_SYMLINKS`] are followed
//!   in one walk, then it is ELOOP.
//! - A path that ends in `/` must name a directory (ENOTDIR).
//! - A component longer than [`NAME_MAX`] bytes is ENAMETOOLONG once the walk reaches it, as is a path of [`PATH_MAX`]
//!   bytes or more.

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
/// The length in bytes that a path must stay below, as on Linux, where it counts the NUL at the end.
pub const PATH_MAX: usize = 4096;
/// The most symbolic links followed in one walk.
pub const MAX_SYMLINKS: usize = 40;

/// Where a walk ended.
pub(crate) struct Walked<R: Lock> {
    /// The directory of the last component.
    pub(crate) parent: Arc<Inode<R>>,
    /// The last component; empty for the root and for paths that end in `.` or `..`.
    pub(crate) name: Vec<u8>,
    /// What the last component is.
    pub(crate) ending: Ending,
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
    /// It is looked up and followed, and created if it does not exist: a path that ends in `/` is EISDIR.
    Create,
    /// It is returned as it is.
    Leave,
}

/// What the last component of a path is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ending {
    /// A name.
    Name,
    /// `.`.
    Dot,
    /// `..`.
    DotDot,
    /// There is none: the path is `/`.
    Root,
}

/// Walks `path` from the directory `start` to an inode that exists.
// One frame less of the stack, on the way to everything that has a path.
#[inline(always)]
pub(crate) fn walk_to<R: Lock>(
    volume: &Volume<R>,
    who: Credentials,
    start: Arc<Inode<R>>,
    path: &[u8],
    last: Last,
) -> Result<Arc<Inode<R>>, Error> {
    walk(volume, who, start, path, last)?.inode.ok_or(Error::Os(Errno::ENOENT))
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
        ending: Ending::Root,
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
    /// What the component before is.
    ending: Ending,
    here: Arc<Inode<R>>,
    /// The directories from where the walk began to above where it is; `..` goes back one.
    above: Vec<Arc<Inode<R>>>,
}

impl<R: Lock> Walk<'_, R> {
    /// Goes one component further. Returns where the walk ended if it did.
    fn step(&mut self, at_end: Last) -> Result<Option<Walked<R>>, Error> {
        let Some(name) = self.rest.pop_front() else {
            let (parent, inode, ending) = (self.here.clone(), Some(self.here.clone()), self.ending);
            return Ok(Some(Walked { parent, name: Vec::new(), ending, inode, must_be_dir: false }));
        };
        if name == b"." {
            self.ending = Ending::Dot;
            return Ok(None);
        }
        if name == b".." {
            self.ending = Ending::DotDot;
            if let Some(above) = self.above.pop() {
                self.here = above;
            }
            return Ok(None);
        }
        check_name(&name)?;
        let last = self.rest.is_empty();
        if last && at_end == Last::Leave {
            return Ok(Some(self.ended(name, None)));
        }
        if last && at_end == Last::Create && self.must_be_dir {
            return Err(Error::refused(Errno::EISDIR, "a file cannot have a name that ends in /"));
        }
        let inode = match self.volume.look_up(self.who, &self.here, &name) {
            Ok(inode) => inode,
            Err(error) if last && error.errno() == Errno::ENOENT => return Ok(Some(self.ended(name, None))),
            Err(error) => return Err(error),
        };
        if inode.is_symlink() && (!last || matches!(at_end, Last::Follow | Last::Create) || self.must_be_dir) {
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
        Walked { parent: self.here.clone(), name, ending: Ending::Name, inode, must_be_dir: self.must_be_dir }
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
    if path.len() >= PATH_MAX {
        return Err(Error::refused(Errno::ENAMETOOLONG, "the path is too long"));
    }
    if path.contains(&0) {
        return Err(Error::refused(Errno::EINVAL, "a path with a NUL byte"));
    }
    Ok(path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()).map(Vec::from).collect())
}

/// Refuses names that no directory can hold.
fn check_name(name: &[u8]) -> Result<(), Error> {
    if name.len() > NAME_MAX {
        return Err(Error::refused(Errno::ENAMETOOLONG, "a name of more than 255 bytes"));
    }
    Ok(())
}
