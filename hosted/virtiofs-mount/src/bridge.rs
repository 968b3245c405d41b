//! The kernel's requests as calls of the driver, each in the requester's name.
//!
//! What the kernel's protocol has and `fuser` does not pass on is missing here: TMPFILE, SYNCFS, STATX, and interrupts of
//! requests.

mod answer;
mod data;
mod entries;
mod locks;
mod names;
mod state;
mod xattrs;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use fuse_proto::InitFlags as ServerFlags;
use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, FopenFlags, INodeNo, InitFlags,
    IoctlFlags, KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLock, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite,
    ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use virtio_fs::SetAttr;

pub(crate) use self::state::Options;
use self::state::State;
use crate::convert;
use crate::driver::{Error, FileSystem};

/// The most bytes of a READ or a WRITE.
const MAX_IO: u32 = 1 << 20;

/// See the module. Clones are handles to the same state.
#[derive(Clone, Debug)]
pub(crate) struct Bridge(Arc<State>);

impl Bridge {
    /// A bridge to a mounted file system.
    pub(crate) fn new(fs: &FileSystem, options: Options) -> Result<Self, Error> {
        Ok(Self(Arc::new(State::new(fs, options)?)))
    }

    /// Gives up all that the kernel held, once it can ask no more.
    pub(crate) fn clear(&self) {
        self.0.clear();
    }
}

/// What to ask of the kernel: what it can do, and what the server has too.
fn capabilities(kernel: InitFlags, fs: &FileSystem) -> InitFlags {
    let mut wanted = InitFlags::FUSE_AUTO_INVAL_DATA
        | InitFlags::FUSE_PARALLEL_DIROPS
        | InitFlags::FUSE_ASYNC_DIO
        | InitFlags::FUSE_DO_READDIRPLUS
        | InitFlags::FUSE_READDIRPLUS_AUTO
        | InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP;
    // A kernel that does not ask us for locks keeps its own, among the programs of this machine.
    for (server, ours) in [
        (ServerFlags::POSIX_LOCKS, InitFlags::FUSE_POSIX_LOCKS),
        (ServerFlags::FLOCK_LOCKS, InitFlags::FUSE_FLOCK_LOCKS),
    ] {
        if fs.protocol().has(server) {
            wanted |= ours;
        }
    }
    wanted & kernel
}

impl Filesystem for Bridge {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        let wanted = capabilities(config.capabilities(), self.0.file_system());
        // All of them are the kernel's own, and the size is below the limit.
        let _ = config.add_capabilities(wanted);
        let _ = config.set_max_write(MAX_IO);
        Ok(())
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        answer::entry(reply, &self.0, self.0.look_up(request, parent, name.as_bytes()));
    }

    fn forget(&self, _: &Request, number: INodeNo, lookups: u64) {
        self.0.nodes.forget(number, lookups);
    }

    fn getattr(&self, request: &Request, number: INodeNo, handle: Option<FileHandle>, reply: ReplyAttr) {
        answer::attr(reply, &self.0, self.0.attributes(request, number, handle));
    }

    fn setattr(
        &self,
        request: &Request,
        number: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let changes =
            SetAttr { mode, uid, gid, size, atime: atime.map(convert::set_time), mtime: mtime.map(convert::set_time) };
        answer::attr(reply, &self.0, self.0.change(request, number, handle, changes));
    }

    fn readlink(&self, request: &Request, number: INodeNo, reply: ReplyData) {
        answer::data(reply, self.0.read_link(request, number));
    }

    fn mknod(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, rdev: u32, reply: ReplyEntry) {
        answer::entry(reply, &self.0, self.0.make_node(request, parent, name.as_bytes(), mode, rdev));
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, reply: ReplyEntry) {
        answer::entry(reply, &self.0, self.0.make_dir(request, parent, name.as_bytes(), mode));
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer::empty(reply, self.0.unlink(request, parent, name.as_bytes()));
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer::empty(reply, self.0.remove_dir(request, parent, name.as_bytes()));
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let target = target.as_os_str().as_bytes();
        answer::entry(reply, &self.0, self.0.symlink(request, parent, name.as_bytes(), target));
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (from, to) = ((parent, name.as_bytes()), (new_parent, new_name.as_bytes()));
        answer::empty(reply, self.0.rename(request, from, to, flags));
    }

    fn link(&self, request: &Request, number: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        answer::entry(reply, &self.0, self.0.link(request, number, parent, name.as_bytes()));
    }

    fn open(&self, request: &Request, number: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        answer::opened(reply, self.0.open_flags(), self.0.open(request, number, flags));
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        answer::data(reply, self.0.read(handle, offset, size));
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        answer::written(reply, self.0.write(handle, offset, data, write_flags));
    }

    fn flush(&self, _: &Request, _: INodeNo, handle: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // All writes went to the server when they were made: there is nothing left that could fail.
        answer::empty(reply, self.0.file(handle).map(drop));
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        answer::empty(reply, self.0.files.remove(handle).map(drop).ok_or(Errno::EBADF));
    }

    fn fsync(&self, _: &Request, _: INodeNo, handle: FileHandle, data_only: bool, reply: ReplyEmpty) {
        answer::empty(reply, self.0.sync(handle, data_only));
    }

    fn opendir(&self, request: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        answer::opened(reply, FopenFlags::empty(), self.0.open_dir(request, number));
    }

    fn readdir(&self, _: &Request, number: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        match self.0.list(number, handle, offset, &mut reply) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn readdirplus(
        &self,
        request: &Request,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        match self.0.list_plus(request, number, handle, offset, &mut reply) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn releasedir(&self, _: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        answer::empty(reply, self.0.directories.remove(handle).map(drop).ok_or(Errno::EBADF));
    }

    fn fsyncdir(&self, request: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        answer::empty(reply, self.0.sync_dir(request, number));
    }

    fn statfs(&self, request: &Request, number: INodeNo, reply: ReplyStatfs) {
        answer::statfs(reply, self.0.statfs(request, number));
    }

    fn setxattr(
        &self,
        request: &Request,
        number: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        answer::empty(reply, self.0.set_xattr(request, number, name.as_bytes(), value, flags));
    }

    fn getxattr(&self, request: &Request, number: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        answer::xattr(reply, size, self.0.xattr(request, number, name.as_bytes()));
    }

    fn listxattr(&self, request: &Request, number: INodeNo, size: u32, reply: ReplyXattr) {
        answer::xattr(reply, size, self.0.xattr_names(request, number));
    }

    fn removexattr(&self, request: &Request, number: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer::empty(reply, self.0.remove_xattr(request, number, name.as_bytes()));
    }

    fn access(&self, request: &Request, number: INodeNo, mask: AccessFlags, reply: ReplyEmpty) {
        answer::empty(reply, self.0.access(request, number, mask));
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        answer::created(reply, &self.0, self.0.create(request, parent, name.as_bytes(), mode, flags));
    }

    fn getlk(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: LockOwner,
        start: u64,
        end: u64,
        kind: i32,
        _: u32,
        reply: ReplyLock,
    ) {
        answer::lock(reply, self.0.test_lock(handle, start, end, kind));
    }

    fn setlk(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: LockOwner,
        start: u64,
        end: u64,
        kind: i32,
        _: u32,
        sleep: bool,
        reply: ReplyEmpty,
    ) {
        self.0.set_lock(handle, start, end, kind, sleep, reply);
    }

    fn ioctl(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: IoctlFlags,
        command: u32,
        data: &[u8],
        _: u32,
        reply: ReplyIoctl,
    ) {
        answer::ioctl(reply, self.0.ioctl(handle, command, data));
    }

    fn fallocate(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        len: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        answer::empty(reply, self.0.allocate(handle, offset, len, mode));
    }

    fn lseek(&self, _: &Request, _: INodeNo, handle: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        answer::offset(reply, self.0.seek(handle, offset, whence));
    }

    fn copy_file_range(
        &self,
        _: &Request,
        _: INodeNo,
        from: FileHandle,
        offset: u64,
        _: INodeNo,
        to: FileHandle,
        to_offset: u64,
        len: u64,
        _: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        answer::written(reply, self.0.copy_range((from, offset), (to, to_offset), len));
    }
}
