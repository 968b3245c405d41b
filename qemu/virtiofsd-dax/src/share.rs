//! virtiofsd's file system with DAX added: attributes that say so, and the files behind nodes.

use std::collections::HashMap;
use std::ffi::CStr;
use std::fs::File;
use std::io;
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
use crate::record::Record;

/// What a [`Share`] can wrap: virtiofsd's file system, read-only or not.
pub trait HostFs: FileSystem<Inode = u64, Handle = u64> + Send + Sync {}

impl<F: FileSystem<Inode = u64, Handle = u64> + Send + Sync> HostFs for F {}

/// What the guest holds of one node.
#[derive(Debug, Default, Clone, Copy)]
struct Held {
    /// References by look-ups.
    lookups: u64,
    /// Whether the guest was told to use DAX for it.
    announced: bool,
}

#[derive(Debug, Default)]
struct Nodes {
    held: HashMap<u64, Held>,
    /// Nodes whose size went to the guest since the last call of [`Share::take_seen`].
    seen: Vec<u64>,
    /// Nodes of which the guest holds nothing more, since the last call of [`Share::take_gone`].
    gone: Vec<u64>,
}

/// A file system that is served with a window.
///
/// It passes everything on to the one it wraps, and keeps count of what the guest holds. A clone is the same one.
#[derive(Debug)]
pub struct Share<F>(Arc<Inner<F>>);

#[derive(Debug)]
struct Inner<F> {
    fs: F,
    record: Arc<Record>,
    /// Whether there is a window to map files into.
    dax: AtomicBool,
    /// Whether the guest understands per-inode DAX.
    inode_dax: AtomicBool,
    nodes: Mutex<Nodes>,
}

impl<F> Clone for Share<F> {
    fn clone(&self) -> Self {
        Share(Arc::clone(&self.0))
    }
}

impl<F: HostFs> Share<F> {
    /// Wraps a file system. No DAX is offered until [`offer`](Self::offer) says so.
    pub fn new(fs: F, record: Arc<Record>) -> Self {
        Share(Arc::new(Inner {
            fs,
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

    /// Whether the guest was told to use DAX for this node, and so has no other way to read it.
    pub fn is_announced(&self, node: u64) -> bool {
        self.nodes().held.get(&node).is_some_and(|held| held.announced)
    }

    /// Nodes whose attributes the request at hand gave to the guest.
    pub fn take_seen(&self) -> Vec<u64> {
        std::mem::take(&mut self.nodes().seen)
    }

    /// Nodes that the guest let go of.
    pub fn take_gone(&self) -> Vec<u64> {
        std::mem::take(&mut self.nodes().gone)
    }

    /// Opens the regular file behind a node for reading and writing.
    ///
    /// # Errors
    ///
    /// `ENODEV` if it is not a regular file; else what the host says.
    pub fn open_file(&self, ctx: Context, node: u64) -> io::Result<File> {
        let (attr, _) = self.0.fs.getattr(ctx, node, None)?;
        if !access::is_regular(attr.mode) {
            return Err(io::Error::from_raw_os_error(libc::ENODEV));
        }
        let flags = (libc::O_RDWR | libc::O_NONBLOCK).cast_unsigned();
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

    /// The node behind a name, without the guest holding it.
    ///
    /// # Errors
    ///
    /// What the host says.
    pub fn find(&self, ctx: Context, parent: u64, name: &CStr) -> io::Result<u64> {
        names::check(name, Purpose::Open)?;
        let entry = self.0.fs.lookup(ctx, parent, name)?;
        self.0.fs.forget(ctx, entry.inode, 1);
        Ok(entry.inode)
    }

    /// The size of the file behind a node, in bytes.
    ///
    /// # Errors
    ///
    /// What the host says.
    pub fn size(&self, ctx: Context, node: u64) -> io::Result<u64> {
        Ok(self.0.fs.getattr(ctx, node, None)?.0.size)
    }

    /// The inode number of the file behind a node, on its own device.
    ///
    /// # Errors
    ///
    /// What the host says.
    pub fn inode(&self, ctx: Context, node: u64) -> io::Result<u64> {
        Ok(self.0.fs.getattr(ctx, node, None)?.0.ino)
    }

    fn nodes(&self) -> MutexGuard<'_, Nodes> {
        self.0.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn describe(&self, ctx: Context, node: u64, attr: &mut Attr) {
        self.nodes().seen.push(node);
        if !self.0.dax.load(Ordering::Relaxed) || !self.0.inode_dax.load(Ordering::Relaxed) {
            return;
        }
        let attributes =
            Attributes { mode: attr.mode, uid: attr.uid.into_inner(), gid: attr.gid.into_inner(), size: attr.size };
        // Once announced, a file stays so while all its readers may map it: the guest changes its mind late.
        let announced = access::all_readers_may_map(attr.mode)
            && (self.is_announced(node) || access::qualifies(&attributes) && self.is_writable(ctx, node));
        if let Some(held) = self.nodes().held.get_mut(&node) {
            held.announced = announced;
            if announced {
                attr.flags |= ATTR_DAX;
            }
        }
    }

    /// Whether the file behind a node lies where anything can be written at all.
    fn is_writable(&self, ctx: Context, node: u64) -> bool {
        self.0.fs.statfs(ctx, node).is_ok_and(|status| status.f_flag & libc::ST_RDONLY == 0)
    }

    fn hold(&self, ctx: Context, mut entry: Entry) -> Entry {
        self.count(&entry);
        if entry.inode != 0 {
            self.describe(ctx, entry.inode, &mut entry.attr);
        }
        entry
    }

    fn count(&self, entry: &Entry) {
        if entry.inode != 0 {
            self.nodes().held.entry(entry.inode).or_default().lookups += 1;
            self.0.record.lookups(1);
        }
    }

    fn let_go(&self, node: u64, count: u64) {
        let mut nodes = self.nodes();
        let Some(held) = nodes.held.get_mut(&node) else { return };
        let count = count.min(held.lookups);
        held.lookups -= count;
        if held.lookups == 0 {
            nodes.held.remove(&node);
            nodes.gone.push(node);
        }
        self.0.record.lookups(-count.cast_signed());
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
        self.nodes().held.clear();
        self.0.fs.destroy();
    }

    fn lookup(&self, ctx: Context, parent: u64, name: &CStr) -> io::Result<Entry> {
        names::check(name, Purpose::Find)?;
        self.0.fs.lookup(ctx, parent, name).map(|entry| self.hold(ctx, entry))
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
        self.describe(ctx, inode, &mut attr);
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
        let (mut attr, timeout) = self.0.fs.setattr(ctx, inode, attr, handle, valid)?;
        self.describe(ctx, inode, &mut attr);
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
        self.0.fs.symlink(ctx, linkname, parent, name, extensions).map(|entry| self.hold(ctx, entry))
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
        self.0.fs.mknod(ctx, inode, name, mode, rdev, umask, extensions).map(|entry| self.hold(ctx, entry))
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
        self.0.fs.mkdir(ctx, parent, name, mode, umask, extensions).map(|entry| self.hold(ctx, entry))
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
        self.0.fs.link(ctx, inode, newparent, newname).map(|entry| self.hold(ctx, entry))
    }

    fn open(&self, ctx: Context, inode: u64, kill_priv: bool, flags: u32) -> io::Result<(Option<u64>, OpenOptions)> {
        self.0.fs.open(ctx, inode, kill_priv, flags)
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
        let (entry, handle, options) =
            self.0.fs.create(ctx, parent, name, mode, kill_priv, flags, umask, extensions)?;
        Ok((self.hold(ctx, entry), handle, options))
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
        self.0.fs.write(ctx, inode, handle, r, size, offset, lock_owner, delayed_write, kill_priv, flags)
    }

    fn flush(&self, ctx: Context, inode: u64, handle: u64, lock_owner: u64) -> io::Result<()> {
        self.0.fs.flush(ctx, inode, handle, lock_owner)
    }

    fn fsync(&self, ctx: Context, inode: u64, datasync: bool, handle: u64) -> io::Result<()> {
        self.0.fs.fsync(ctx, inode, datasync, handle)
    }

    fn fallocate(&self, ctx: Context, inode: u64, handle: u64, mode: u32, offset: u64, length: u64) -> io::Result<()> {
        self.0.fs.fallocate(ctx, inode, handle, mode, offset, length)
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
        self.0.fs.copyfilerange(ctx, inode_in, handle_in, offset_in, inode_out, handle_out, offset_out, len, flags)
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
        // Nobody says who asks, so nothing is said of DAX.
        let (entry, handle, options) = self.0.fs.tmpfile()?;
        self.count(&entry);
        Ok((entry, handle, options))
    }
}
