//! virtiofsd's file system with DAX added: attributes that say so, and the files behind nodes.

use std::collections::HashMap;
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use virtiofsd::filesystem::{
    Context, Entry, Extensions, FileSystem, FsOptions, GetxattrReply, ListxattrReply, OpenOptions, SetattrValid,
    SetxattrFlags, ZeroCopyReader, ZeroCopyWriter,
};
use virtiofsd::fuse::{ATTR_DAX, Attr, SetattrIn};
use virtiofsd::oslib::ReadvFlags;
use virtiofsd::soft_idmap::Id as _;

use crate::access::{self, Attributes};
use crate::names::{self, Purpose};
use crate::policy::Policy;
use crate::record::Record;
use crate::sys;
use crate::table::{Shrink, Table};
use crate::window::FileKey;

/// Most nodes that a guest may hold at a time: virtiofsd keeps something of each.
const MAX_NODES: usize = 1 << 20;

/// What a [`Share`] can wrap: virtiofsd's file system, read-only or not.
pub trait HostFs: FileSystem<Inode = u64, Handle = u64> + Send + Sync {}

impl<F: FileSystem<Inode = u64, Handle = u64> + Send + Sync> HostFs for F {}

/// What the guest holds of one node.
#[derive(Debug, Default, Clone, Copy)]
struct Held {
    /// References by look-ups.
    lookups: u64,
    /// What its file is, once that was asked.
    known: Option<Known>,
}

/// What a node's file is, whatever becomes of its attributes.
#[derive(Debug, Clone, Copy)]
struct Known {
    key: FileKey,
    /// Whether it lies on an overlay, where whoever opens a file for writing copies it.
    overlay: bool,
}

/// A file system that is served with a window.
///
/// It passes everything on to the one it wraps, and keeps count of what the guest holds. A clone is the same one.
#[derive(Debug)]
pub struct Share<F>(Arc<Inner<F>>);

#[derive(Debug)]
struct Inner<F> {
    fs: F,
    policy: Policy,
    table: Arc<Table>,
    record: Arc<Record>,
    /// Whether there is a window to map files into.
    dax: AtomicBool,
    /// Whether the guest understands per-inode DAX.
    inode_dax: AtomicBool,
    nodes: Mutex<HashMap<u64, Held>>,
}

impl<F> Clone for Share<F> {
    fn clone(&self) -> Self {
        Share(Arc::clone(&self.0))
    }
}

impl<F: HostFs> Share<F> {
    /// Wraps a file system; `table` maps its files. No DAX is offered until [`offer`](Self::offer) says so.
    pub fn new(fs: F, policy: Policy, table: Arc<Table>, record: Arc<Record>) -> Self {
        Share(Arc::new(Inner {
            fs,
            policy,
            table,
            record,
            dax: AtomicBool::new(false),
            inode_dax: AtomicBool::new(false),
            nodes: Mutex::default(),
        }))
    }

    /// Whether guests that begin a session from now on are offered DAX.
    pub fn offer(&self, dax: bool) {
        self.0.dax.store(dax, Ordering::Relaxed);
    }

    /// The regular file behind a node, open for reading and writing, and what it is known by. It is opened for writing
    /// only once it is certain that the requester may write it and that it may be mapped.
    ///
    /// # Errors
    ///
    /// `ENODEV` if it is not a regular file; `EACCES` if the requester may not both read and write it, or the policy
    /// leaves it to READ; else what the host says.
    pub fn open_for_mapping(&self, ctx: Context, node: u64) -> io::Result<(Arc<File>, FileKey)> {
        let (attr, _) = self.0.fs.getattr(ctx, node, None)?;
        let attributes = attributes(&attr);
        if !access::is_regular(attributes.mode) {
            return Err(io::Error::from_raw_os_error(libc::ENODEV));
        }
        let allowed = access::may_map(&attributes, ctx.uid.into_inner(), ctx.gid.into_inner())
            && self.0.policy.maps_mode(attributes.mode);
        let known = if allowed { Some(self.known(ctx, node)?) } else { None };
        let Some(known) = known.filter(|known| self.0.policy.maps_overlay(known.overlay)) else {
            return Err(io::Error::from_raw_os_error(libc::EACCES));
        };
        if let Some(file) = self.0.table.file(known.key) {
            return Ok((file, known.key));
        }
        let file = self.open_file(ctx, node, libc::O_RDWR)?;
        match file_key(&file)? == known.key {
            true => Ok((Arc::new(file), known.key)),
            false => Err(io::Error::from_raw_os_error(libc::ESTALE)),
        }
    }

    /// Opens the regular file behind a node.
    fn open_file(&self, ctx: Context, node: u64, access: i32) -> io::Result<File> {
        let flags = (access | libc::O_NONBLOCK).cast_unsigned();
        let (handle, _) = self.0.fs.open(ctx, node, false, flags)?;
        let handle = handle.ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))?;
        // Only a transfer is given the file that the handle stands for.
        let mut capture = Capture(None);
        let read = self.0.fs.read(ctx, node, handle, &mut capture, 1, 0, None, flags);
        let released = self.0.fs.release(ctx, node, flags, handle, false, false, None);
        let file = capture.0.ok_or_else(|| io::Error::from_raw_os_error(libc::EIO))?;
        read?;
        released?;
        Ok(file)
    }

    fn nodes(&self) -> MutexGuard<'_, HashMap<u64, Held>> {
        self.0.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, ctx: Context, node: u64) -> io::Result<Known> {
        if let Some(known) = self.nodes().get(&node).and_then(|held| held.known) {
            return Ok(known);
        }
        let file = self.open_file(ctx, node, libc::O_RDONLY)?;
        let known = Known { key: file_key(&file)?, overlay: sys::is_overlay(&file)? };
        if let Some(held) = self.nodes().get_mut(&node) {
            held.known = Some(known);
        }
        Ok(known)
    }

    /// Must come before a file is made shorter: the right to do so, and what is mapped past its new end is unmapped.
    /// `len` is given the file's size now and says the new one, in bytes.
    fn shrink(&self, ctx: Context, node: u64, len: impl FnOnce(u64) -> u64) -> io::Result<Option<Shrink<'_>>> {
        if !self.0.table.is_offered() {
            return Ok(None);
        }
        let inode = self.0.fs.getattr(ctx, node, None)?.0.ino;
        let shrink = self.0.table.shrink(inode);
        let size = len(self.0.fs.getattr(ctx, node, None)?.0.size);
        let kept = |error| {
            log::error!("node {node}: it keeps its size, since it cannot be unmapped: {error}");
            io::Error::from_raw_os_error(libc::EIO)
        };
        // A mapping that is made just now comes either before this, and is cut, or after, and ends with the file.
        shrink.announce(size).map_err(kept)?;
        if self.0.table.has_inode(inode) {
            shrink.cut(self.known(ctx, node)?.key, size).map_err(kept)?;
        }
        Ok(Some(shrink))
    }

    /// Must come before the guest hears of anything that may have made a file longer; `inode` is the file's number if
    /// that is known.
    fn grown(&self, ctx: Context, node: u64, inode: Option<u64>) -> io::Result<()> {
        if !self.0.table.has_incomplete() {
            return Ok(());
        }
        let inode = match inode {
            Some(inode) => inode,
            None => self.0.fs.getattr(ctx, node, None)?.0.ino,
        };
        if !self.0.table.is_incomplete(inode) {
            return Ok(());
        }
        self.0.table.grown(self.known(ctx, node)?.key).map_err(|error| {
            log::warn!("node {node}: it grew, and what the guest believes mapped is not: {error}");
            io::Error::from_raw_os_error(libc::EIO)
        })
    }

    fn describe(&self, ctx: Context, node: u64, attr: &mut Attr) -> io::Result<()> {
        self.grown(ctx, node, Some(attr.ino))?;
        if !self.0.dax.load(Ordering::Relaxed) || !self.0.inode_dax.load(Ordering::Relaxed) {
            return Ok(());
        }
        if self.is_announced(ctx, node, &attributes(attr)) {
            attr.flags |= ATTR_DAX;
        }
        Ok(())
    }

    /// Whether the guest is asked to use DAX for a file, and so has no other way to read it.
    fn is_announced(&self, ctx: Context, node: u64, attributes: &Attributes) -> bool {
        access::qualifies(attributes)
            && self.0.policy.maps_mode(attributes.mode)
            && self.is_writable(ctx, node)
            && self.known(ctx, node).is_ok_and(|known| self.0.policy.maps_overlay(known.overlay))
    }

    /// Whether the file behind a node lies where anything can be written at all.
    fn is_writable(&self, ctx: Context, node: u64) -> bool {
        self.0.fs.statfs(ctx, node).is_ok_and(|status| status.f_flag & libc::ST_RDONLY == 0)
    }

    fn hold(&self, ctx: Context, mut entry: Entry) -> io::Result<Entry> {
        if entry.inode == 0 {
            return Ok(entry);
        }
        let node = entry.inode;
        let described = self.count(node).and_then(|()| self.describe(ctx, node, &mut entry.attr));
        if let Err(error) = described {
            self.forget(ctx, node, 1);
            return Err(error);
        }
        Ok(entry)
    }

    fn count(&self, node: u64) -> io::Result<()> {
        let mut nodes = self.nodes();
        if nodes.len() >= MAX_NODES && !nodes.contains_key(&node) {
            log::warn!("the guest holds {MAX_NODES} nodes and may have no more");
            return Err(io::Error::from_raw_os_error(libc::ENFILE));
        }
        nodes.entry(node).or_default().lookups += 1;
        self.0.record.lookups(1);
        Ok(())
    }

    fn let_go(&self, node: u64, count: u64) {
        let mut nodes = self.nodes();
        let Some(held) = nodes.get_mut(&node) else { return };
        let count = count.min(held.lookups);
        held.lookups -= count;
        if held.lookups == 0 {
            nodes.remove(&node);
        }
        self.0.record.lookups(-count.cast_signed());
    }

    /// Whether the rights that a file lends to whoever runs it end when it is changed, as the host's kernel has it for all
    /// but root: else a guest would fill the host's own setuid files.
    fn clears_rights(&self, asked: bool) -> bool {
        asked || !self.0.policy.setuid
    }

    /// Refuses to change a file that lends rights where they would be kept.
    fn check_rights_kept(&self, ctx: Context, node: u64) -> io::Result<()> {
        let mode = self.0.fs.getattr(ctx, node, None)?.0.mode;
        match self.0.policy.check_mode(mode) {
            // A guest writes instead, which ends them.
            Err(_) => Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP)),
            Ok(()) => Ok(()),
        }
    }

    /// Whether a file of this mode may be made of the file behind a node.
    fn check_mode(&self, ctx: Context, node: u64, mode: u32) -> io::Result<()> {
        if !Policy::is_privileged(mode) {
            return Ok(());
        }
        let kind = self.0.fs.getattr(ctx, node, None)?.0.mode & libc::S_IFMT;
        self.0.policy.check_mode(kind | mode & !libc::S_IFMT)
    }
}

fn attributes(attr: &Attr) -> Attributes {
    Attributes { mode: attr.mode, uid: attr.uid.into_inner(), gid: attr.gid.into_inner(), size: attr.size }
}

fn file_key(file: &File) -> io::Result<FileKey> {
    let metadata = file.metadata()?;
    Ok(FileKey { device: metadata.dev(), inode: metadata.ino() })
}

/// Whether a request for flags asks that the file be emptied.
fn truncates(flags: u32) -> bool {
    flags & libc::O_TRUNC.cast_unsigned() != 0
}

/// virtiofsd does not survive an offset from 2^63 on.
fn check_offset(offset: u64, size: u32) -> io::Result<()> {
    match i64::try_from(offset).ok().and_then(|offset| offset.checked_add(i64::from(size))) {
        Some(_) => Ok(()),
        None => Err(io::Error::from_raw_os_error(libc::EINVAL)),
    }
}

/// Takes the file instead of reading from it.
struct Capture(Option<File>);

impl ZeroCopyWriter for Capture {
    fn read_from_file_at(
        &mut self,
        file: &File,
        _count: usize,
        _offset: u64,
        _flags: Option<ReadvFlags>,
    ) -> io::Result<usize> {
        self.0 = Some(file.try_clone()?);
        Ok(0)
    }
}

impl<F: HostFs> Share<F> {
    /// Makes an existing file empty, for a request that opens it so; returns its new attributes.
    fn empty(&self, ctx: Context, node: u64, kill_priv: bool) -> io::Result<Attr> {
        let mut valid = SetattrValid::SIZE;
        valid.set(SetattrValid::KILL_SUIDGID, kill_priv);
        let request = SetattrIn { valid: valid.bits(), size: 0, ..SetattrIn::default() };
        let shrink = self.shrink(ctx, node, |_| 0)?;
        let emptied = self.0.fs.setattr(ctx, node, request, None, valid);
        drop(shrink);
        Ok(emptied?.0)
    }
}

impl<F: HostFs> FileSystem for Share<F> {
    type Inode = u64;
    type Handle = u64;
    type DirIter = F::DirIter;

    fn init(&self, capable: FsOptions) -> io::Result<FsOptions> {
        let mut wanted = self.0.fs.init(capable)?;
        let inode_dax = self.0.dax.load(Ordering::Relaxed) && capable.contains(FsOptions::HAS_INODE_DAX);
        self.0.inode_dax.store(inode_dax, Ordering::Relaxed);
        if inode_dax {
            wanted |= FsOptions::HAS_INODE_DAX;
        }
        Ok(wanted)
    }

    fn destroy(&self) {
        self.nodes().clear();
        self.0.fs.destroy();
    }

    fn lookup(&self, ctx: Context, parent: u64, name: &CStr) -> io::Result<Entry> {
        names::check(name, Purpose::Find)?;
        self.0.fs.lookup(ctx, parent, name).and_then(|entry| self.hold(ctx, entry))
    }

    fn forget(&self, ctx: Context, inode: u64, count: u64) {
        self.let_go(inode, count);
        self.0.fs.forget(ctx, inode, count);
    }

    fn batch_forget(&self, ctx: Context, requests: Vec<(u64, u64)>) {
        for &(inode, count) in &requests {
            self.let_go(inode, count);
        }
        self.0.fs.batch_forget(ctx, requests);
    }

    fn getattr(&self, ctx: Context, inode: u64, handle: Option<u64>) -> io::Result<(Attr, Duration)> {
        let (mut attr, timeout) = self.0.fs.getattr(ctx, inode, handle)?;
        self.describe(ctx, inode, &mut attr)?;
        Ok((attr, timeout))
    }

    fn setattr(
        &self,
        ctx: Context,
        inode: u64,
        attr: SetattrIn,
        handle: Option<u64>,
        valid: SetattrValid,
    ) -> io::Result<(Attr, Duration)> {
        if valid.contains(SetattrValid::MODE) {
            self.check_mode(ctx, inode, attr.mode)?;
        }
        let size = attr.size;
        let resizes = valid.contains(SetattrValid::SIZE);
        let shrink = if resizes { self.shrink(ctx, inode, |_| size)? } else { None };
        let kills =
            if resizes && self.clears_rights(false) { SetattrValid::KILL_SUIDGID } else { SetattrValid::empty() };
        let set = self.0.fs.setattr(ctx, inode, attr, handle, valid | kills);
        drop(shrink);
        let (mut attr, timeout) = set.map_err(|error| {
            // In a user namespace of its own, the daemon's host has no such owner: to the guest that is no other
            // error than that the daemon may not.
            let gives = valid.intersects(SetattrValid::UID | SetattrValid::GID) && !sys::is_root();
            match error.raw_os_error() {
                Some(libc::EINVAL) if gives => io::Error::from_raw_os_error(libc::EPERM),
                _ => error,
            }
        })?;
        self.describe(ctx, inode, &mut attr)?;
        Ok((attr, timeout))
    }

    fn readlink(&self, ctx: Context, inode: u64) -> io::Result<Vec<u8>> {
        self.0.fs.readlink(ctx, inode)
    }

    fn symlink(
        &self,
        ctx: Context,
        linkname: &CStr,
        parent: u64,
        name: &CStr,
        extensions: Extensions,
    ) -> io::Result<Entry> {
        names::check(name, Purpose::Make)?;
        self.0.fs.symlink(ctx, linkname, parent, name, extensions).and_then(|entry| self.hold(ctx, entry))
    }

    fn mknod(
        &self,
        ctx: Context,
        inode: u64,
        name: &CStr,
        mode: u32,
        rdev: u32,
        umask: u32,
        extensions: Extensions,
    ) -> io::Result<Entry> {
        names::check(name, Purpose::Make)?;
        self.0.policy.check_node(mode, rdev)?;
        self.0.fs.mknod(ctx, inode, name, mode, rdev, umask, extensions).and_then(|entry| self.hold(ctx, entry))
    }

    fn mkdir(
        &self,
        ctx: Context,
        parent: u64,
        name: &CStr,
        mode: u32,
        umask: u32,
        extensions: Extensions,
    ) -> io::Result<Entry> {
        names::check(name, Purpose::Make)?;
        self.0.fs.mkdir(ctx, parent, name, mode, umask, extensions).and_then(|entry| self.hold(ctx, entry))
    }

    fn unlink(&self, ctx: Context, parent: u64, name: &CStr) -> io::Result<()> {
        names::check(name, Purpose::Unlink)?;
        self.0.fs.unlink(ctx, parent, name)
    }

    fn rmdir(&self, ctx: Context, parent: u64, name: &CStr) -> io::Result<()> {
        names::check(name, Purpose::RemoveFolder)?;
        self.0.fs.rmdir(ctx, parent, name)
    }

    fn rename(
        &self,
        ctx: Context,
        olddir: u64,
        oldname: &CStr,
        newdir: u64,
        newname: &CStr,
        flags: u32,
    ) -> io::Result<()> {
        names::check(oldname, Purpose::Rename)?;
        names::check(newname, Purpose::Rename)?;
        self.0.fs.rename(ctx, olddir, oldname, newdir, newname, flags)
    }

    fn link(&self, ctx: Context, inode: u64, newparent: u64, newname: &CStr) -> io::Result<Entry> {
        names::check(newname, Purpose::Make)?;
        self.0.fs.link(ctx, inode, newparent, newname).and_then(|entry| self.hold(ctx, entry))
    }

    fn open(&self, ctx: Context, inode: u64, kill_priv: bool, flags: u32) -> io::Result<(Option<u64>, OpenOptions)> {
        let shrink = if truncates(flags) { self.shrink(ctx, inode, |_| 0)? } else { None };
        let opened = self.0.fs.open(ctx, inode, self.clears_rights(kill_priv), flags);
        drop(shrink);
        opened
    }

    fn create(
        &self,
        ctx: Context,
        parent: u64,
        name: &CStr,
        mode: u32,
        kill_priv: bool,
        flags: u32,
        umask: u32,
        extensions: Extensions,
    ) -> io::Result<(Entry, Option<u64>, OpenOptions)> {
        names::check(name, Purpose::Open)?;
        self.0.policy.check_mode(libc::S_IFREG | mode & !libc::S_IFMT)?;
        let kill_priv = self.clears_rights(kill_priv);
        // Which file is emptied is known only once it is open.
        let emptied = truncates(flags);
        let opening = flags & !libc::O_TRUNC.cast_unsigned();
        let (mut entry, handle, options) =
            self.0.fs.create(ctx, parent, name, mode, kill_priv, opening, umask, extensions)?;
        let node = entry.inode;
        let finished = match emptied && entry.attr.size > 0 {
            true => self.empty(ctx, node, kill_priv).map(|attr| entry.attr = attr),
            false => Ok(()),
        };
        // Whoever is refused the entry holds nothing of it.
        let held = match finished {
            Ok(()) => self.hold(ctx, entry),
            Err(error) => {
                self.0.fs.forget(ctx, node, 1);
                Err(error)
            }
        };
        match (held, handle) {
            (Err(error), Some(handle)) => {
                // It is only given back.
                let _ = self.0.fs.release(ctx, node, opening, handle, false, false, None);
                Err(error)
            }
            (held, handle) => Ok((held?, handle, options)),
        }
    }

    fn read<W: ZeroCopyWriter>(
        &self,
        ctx: Context,
        inode: u64,
        handle: u64,
        w: W,
        size: u32,
        offset: u64,
        lock_owner: Option<u64>,
        flags: u32,
    ) -> io::Result<usize> {
        check_offset(offset, size)?;
        self.0.fs.read(ctx, inode, handle, w, size, offset, lock_owner, flags)
    }

    fn write<R: ZeroCopyReader>(
        &self,
        ctx: Context,
        inode: u64,
        handle: u64,
        r: R,
        size: u32,
        offset: u64,
        lock_owner: Option<u64>,
        delayed_write: bool,
        kill_priv: bool,
        flags: u32,
    ) -> io::Result<usize> {
        check_offset(offset, size)?;
        let kill_priv = self.clears_rights(kill_priv);
        let written =
            self.0.fs.write(ctx, inode, handle, r, size, offset, lock_owner, delayed_write, kill_priv, flags)?;
        self.grown(ctx, inode, None)?;
        Ok(written)
    }

    fn flush(&self, ctx: Context, inode: u64, handle: u64, lock_owner: u64) -> io::Result<()> {
        self.0.fs.flush(ctx, inode, handle, lock_owner)
    }

    fn fsync(&self, ctx: Context, inode: u64, datasync: bool, handle: u64) -> io::Result<()> {
        self.0.fs.fsync(ctx, inode, datasync, handle)
    }

    fn fallocate(&self, ctx: Context, inode: u64, handle: u64, mode: u32, offset: u64, length: u64) -> io::Result<()> {
        self.check_rights_kept(ctx, inode)?;
        let collapses = mode & libc::FALLOC_FL_COLLAPSE_RANGE.cast_unsigned() != 0;
        let shrink = if collapses { self.shrink(ctx, inode, |size| size.saturating_sub(length))? } else { None };
        self.0.fs.fallocate(ctx, inode, handle, mode, offset, length)?;
        drop(shrink);
        self.grown(ctx, inode, None)
    }

    fn release(
        &self,
        ctx: Context,
        inode: u64,
        flags: u32,
        handle: u64,
        flush: bool,
        flock_release: bool,
        lock_owner: Option<u64>,
    ) -> io::Result<()> {
        self.0.fs.release(ctx, inode, flags, handle, flush, flock_release, lock_owner)
    }

    fn statfs(&self, ctx: Context, inode: u64) -> io::Result<libc::statvfs64> {
        self.0.fs.statfs(ctx, inode)
    }

    fn setxattr(
        &self,
        ctx: Context,
        inode: u64,
        name: &CStr,
        value: &[u8],
        flags: u32,
        extra_flags: SetxattrFlags,
    ) -> io::Result<()> {
        self.0.policy.check_xattr(name)?;
        self.0.fs.setxattr(ctx, inode, name, value, flags, extra_flags)
    }

    fn getxattr(&self, ctx: Context, inode: u64, name: &CStr, size: u32) -> io::Result<GetxattrReply> {
        self.0.fs.getxattr(ctx, inode, name, size)
    }

    fn listxattr(&self, ctx: Context, inode: u64, size: u32) -> io::Result<ListxattrReply> {
        self.0.fs.listxattr(ctx, inode, size)
    }

    fn removexattr(&self, ctx: Context, inode: u64, name: &CStr) -> io::Result<()> {
        self.0.fs.removexattr(ctx, inode, name)
    }

    fn opendir(&self, ctx: Context, inode: u64, flags: u32) -> io::Result<(Option<u64>, OpenOptions)> {
        self.0.fs.opendir(ctx, inode, flags)
    }

    fn readdir(&self, ctx: Context, inode: u64, handle: u64, size: u32, offset: u64) -> io::Result<F::DirIter> {
        self.0.fs.readdir(ctx, inode, handle, size, offset)
    }

    fn fsyncdir(&self, ctx: Context, inode: u64, datasync: bool, handle: u64) -> io::Result<()> {
        self.0.fs.fsyncdir(ctx, inode, datasync, handle)
    }

    fn releasedir(&self, ctx: Context, inode: u64, flags: u32, handle: u64) -> io::Result<()> {
        self.0.fs.releasedir(ctx, inode, flags, handle)
    }

    fn access(&self, ctx: Context, inode: u64, mask: u32) -> io::Result<()> {
        self.0.fs.access(ctx, inode, mask)
    }

    fn lseek(&self, ctx: Context, inode: u64, handle: u64, offset: u64, whence: u32) -> io::Result<u64> {
        self.0.fs.lseek(ctx, inode, handle, offset, whence)
    }

    fn copyfilerange(
        &self,
        ctx: Context,
        inode_in: u64,
        handle_in: u64,
        offset_in: u64,
        inode_out: u64,
        handle_out: u64,
        offset_out: u64,
        len: u64,
        flags: u64,
    ) -> io::Result<usize> {
        self.check_rights_kept(ctx, inode_out)?;
        let copied = self
            .0
            .fs
            .copyfilerange(ctx, inode_in, handle_in, offset_in, inode_out, handle_out, offset_out, len, flags)?;
        self.grown(ctx, inode_out, None)?;
        Ok(copied)
    }

    fn syncfs(&self, ctx: Context, inode: u64) -> io::Result<()> {
        self.0.fs.syncfs(ctx, inode)
    }

    fn getlk(&self) -> io::Result<()> {
        self.0.fs.getlk()
    }

    fn setlk(&self) -> io::Result<()> {
        self.0.fs.setlk()
    }

    fn setlkw(&self) -> io::Result<()> {
        self.0.fs.setlkw()
    }

    fn ioctl(&self) -> io::Result<()> {
        self.0.fs.ioctl()
    }

    fn bmap(&self) -> io::Result<()> {
        self.0.fs.bmap()
    }

    fn poll(&self) -> io::Result<()> {
        self.0.fs.poll()
    }

    fn notify_reply(&self) -> io::Result<()> {
        self.0.fs.notify_reply()
    }

    fn tmpfile(&self) -> io::Result<(Entry, Option<u64>, OpenOptions)> {
        // Nobody says who asks, so it cannot be served.
        Err(io::Error::from_raw_os_error(libc::ENOSYS))
    }
}
