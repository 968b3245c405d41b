//! The layouts against those of the `fuse-abi` crate.

use crate::InitFlags;

#[test]
fn it_has_four_flags_that_a_header_may_lack() {
    use ::fuse_abi::linux as abi;
    assert_eq!(InitFlags::CREATE_SUPP_GROUP.bits(), abi::FUSE_CREATE_SUPP_GROUP);
    assert_eq!(InitFlags::DIRECT_IO_ALLOW_MMAP.bits(), abi::FUSE_DIRECT_IO_ALLOW_MMAP);
    assert_eq!(InitFlags::PASSTHROUGH.bits(), abi::FUSE_PASSTHROUGH);
    assert_eq!(InitFlags::HAS_RESEND.bits(), abi::FUSE_HAS_RESEND);
}

macro_rules! same_as_fuse_abi {
    ($($name:ident = $abi:ident { $($field:ident: $other:ident),* },)*) => {
        #[test]
        fn structures_lie_as_in_fuse_abi() {
            use ::fuse_abi::linux as abi;
            $(
                assert_eq!(size_of::<crate::raw::$name>(), size_of::<abi::$abi>(), stringify!($abi));
                $(assert_eq!(
                    core::mem::offset_of!(crate::raw::$name, $field),
                    core::mem::offset_of!(abi::$abi, $other),
                    "{}.{}", stringify!($abi), stringify!($field)
                );)*
            )*
        }
    };
}

// `fuse-abi` 0.2 is of 7.40: what came later is not there.
same_as_fuse_abi! {
    InHeader = fuse_in_header { len: len, opcode: opcode, unique: unique, nodeid: nodeid, uid: uid, gid: gid, pid: pid, total_extlen: total_extlen, padding: padding },
    OutHeader = fuse_out_header { len: len, error: error, unique: unique },
    Attr = fuse_attr { ino: ino, size: size, blocks: blocks, atime: atime, mtime: mtime, ctime: ctime, atimensec: atimensec, mtimensec: mtimensec, ctimensec: ctimensec, mode: mode, nlink: nlink, uid: uid, gid: gid, rdev: rdev, blksize: blksize, flags: flags },
    SxTime = fuse_sx_time { tv_sec: tv_sec, tv_nsec: tv_nsec, reserved: __reserved },
    Statx = fuse_statx { mask: mask, blksize: blksize, attributes: attributes, nlink: nlink, uid: uid, gid: gid, mode: mode, spare0: __spare0, ino: ino, size: size, blocks: blocks, attributes_mask: attributes_mask, atime: atime, btime: btime, ctime: ctime, mtime: mtime, rdev_major: rdev_major, rdev_minor: rdev_minor, dev_major: dev_major, dev_minor: dev_minor, spare2: __spare2 },
    KStatfs = fuse_kstatfs { blocks: blocks, bfree: bfree, bavail: bavail, files: files, ffree: ffree, bsize: bsize, namelen: namelen, frsize: frsize, padding: padding, spare: spare },
    FileLock = fuse_file_lock { start: start, end: end, kind: type_, pid: pid },
    EntryOut = fuse_entry_out { nodeid: nodeid, generation: generation, entry_valid: entry_valid, attr_valid: attr_valid, entry_valid_nsec: entry_valid_nsec, attr_valid_nsec: attr_valid_nsec, attr: attr },
    ForgetIn = fuse_forget_in { nlookup: nlookup },
    ForgetOne = fuse_forget_one { nodeid: nodeid, nlookup: nlookup },
    BatchForgetIn = fuse_batch_forget_in { count: count, dummy: dummy },
    GetattrIn = fuse_getattr_in { getattr_flags: getattr_flags, dummy: dummy, fh: fh },
    AttrOut = fuse_attr_out { attr_valid: attr_valid, attr_valid_nsec: attr_valid_nsec, dummy: dummy, attr: attr },
    StatxIn = fuse_statx_in { getattr_flags: getattr_flags, reserved: reserved, fh: fh, sx_flags: sx_flags, sx_mask: sx_mask },
    StatxOut = fuse_statx_out { attr_valid: attr_valid, attr_valid_nsec: attr_valid_nsec, flags: flags, spare: spare, stat: stat },
    MknodIn = fuse_mknod_in { mode: mode, rdev: rdev, umask: umask, padding: padding },
    MkdirIn = fuse_mkdir_in { mode: mode, umask: umask },
    RenameIn = fuse_rename_in { newdir: newdir },
    Rename2In = fuse_rename2_in { newdir: newdir, flags: flags, padding: padding },
    LinkIn = fuse_link_in { oldnodeid: oldnodeid },
    SetattrIn = fuse_setattr_in { valid: valid, padding: padding, fh: fh, size: size, lock_owner: lock_owner, atime: atime, mtime: mtime, ctime: ctime, atimensec: atimensec, mtimensec: mtimensec, ctimensec: ctimensec, mode: mode, unused4: unused4, uid: uid, gid: gid, unused5: unused5 },
    OpenIn = fuse_open_in { flags: flags, open_flags: open_flags },
    CreateIn = fuse_create_in { flags: flags, mode: mode, umask: umask, open_flags: open_flags },
    OpenOut = fuse_open_out { fh: fh, open_flags: open_flags, backing_id: backing_id },
    ReleaseIn = fuse_release_in { fh: fh, flags: flags, release_flags: release_flags, lock_owner: lock_owner },
    FlushIn = fuse_flush_in { fh: fh, unused: unused, padding: padding, lock_owner: lock_owner },
    ReadIn = fuse_read_in { fh: fh, offset: offset, size: size, read_flags: read_flags, lock_owner: lock_owner, flags: flags, padding: padding },
    WriteIn = fuse_write_in { fh: fh, offset: offset, size: size, write_flags: write_flags, lock_owner: lock_owner, flags: flags, padding: padding },
    WriteOut = fuse_write_out { size: size, padding: padding },
    StatfsOut = fuse_statfs_out { st: st },
    FsyncIn = fuse_fsync_in { fh: fh, fsync_flags: fsync_flags, padding: padding },
    SetxattrIn = fuse_setxattr_in { size: size, flags: flags, setxattr_flags: setxattr_flags, padding: padding },
    GetxattrIn = fuse_getxattr_in { size: size, padding: padding },
    GetxattrOut = fuse_getxattr_out { size: size, padding: padding },
    LkIn = fuse_lk_in { fh: fh, owner: owner, lk: lk, lk_flags: lk_flags, padding: padding },
    LkOut = fuse_lk_out { lk: lk },
    AccessIn = fuse_access_in { mask: mask, padding: padding },
    InitIn = fuse_init_in { major: major, minor: minor, max_readahead: max_readahead, flags: flags, flags2: flags2, unused: unused },
    InitOut = fuse_init_out { major: major, minor: minor, max_readahead: max_readahead, flags: flags, max_background: max_background, congestion_threshold: congestion_threshold, max_write: max_write, time_gran: time_gran, max_pages: max_pages, map_alignment: map_alignment, flags2: flags2, max_stack_depth: max_stack_depth },
    InterruptIn = fuse_interrupt_in { unique: unique },
    BmapIn = fuse_bmap_in { block: block, blocksize: blocksize, padding: padding },
    BmapOut = fuse_bmap_out { block: block },
    IoctlIn = fuse_ioctl_in { fh: fh, flags: flags, cmd: cmd, arg: arg, in_size: in_size, out_size: out_size },
    IoctlIovec = fuse_ioctl_iovec { base: base, len: len },
    IoctlOut = fuse_ioctl_out { result: result, flags: flags, in_iovs: in_iovs, out_iovs: out_iovs },
    PollIn = fuse_poll_in { fh: fh, kh: kh, flags: flags, events: events },
    PollOut = fuse_poll_out { revents: revents, padding: padding },
    FallocateIn = fuse_fallocate_in { fh: fh, offset: offset, length: length, mode: mode, padding: padding },
    Dirent = fuse_dirent { ino: ino, off: off, namelen: namelen, kind: type_ },
    Direntplus = fuse_direntplus { entry_out: entry_out, dirent: dirent },
    NotifyPollWakeupOut = fuse_notify_poll_wakeup_out { kh: kh },
    NotifyInvalInodeOut = fuse_notify_inval_inode_out { ino: ino, off: off, len: len },
    NotifyInvalEntryOut = fuse_notify_inval_entry_out { parent: parent, namelen: namelen, flags: flags },
    NotifyDeleteOut = fuse_notify_delete_out { parent: parent, child: child, namelen: namelen, padding: padding },
    NotifyStoreOut = fuse_notify_store_out { nodeid: nodeid, offset: offset, size: size, padding: padding },
    NotifyRetrieveOut = fuse_notify_retrieve_out { notify_unique: notify_unique, nodeid: nodeid, offset: offset, size: size, padding: padding },
    NotifyRetrieveIn = fuse_notify_retrieve_in { dummy1: dummy1, offset: offset, size: size, dummy2: dummy2, dummy3: dummy3, dummy4: dummy4 },
    LseekIn = fuse_lseek_in { fh: fh, offset: offset, whence: whence, padding: padding },
    LseekOut = fuse_lseek_out { offset: offset },
    CopyFileRangeIn = fuse_copy_file_range_in { fh_in: fh_in, off_in: off_in, nodeid_out: nodeid_out, fh_out: fh_out, off_out: off_out, len: len, flags: flags },
    SetupmappingIn = fuse_setupmapping_in { fh: fh, foffset: foffset, len: len, flags: flags, moffset: moffset },
    RemovemappingIn = fuse_removemapping_in { count: count },
    RemovemappingOne = fuse_removemapping_one { moffset: moffset, len: len },
    SyncfsIn = fuse_syncfs_in { padding: padding },
    Secctx = fuse_secctx { size: size, padding: padding },
    SecctxHeader = fuse_secctx_header { size: size, nr_secctx: nr_secctx },
    ExtHeader = fuse_ext_header { size: size, kind: type_ },
    SuppGroups = fuse_supp_groups { nr_groups: nr_groups },
}
