//! The structures of `linux/fuse.h` 7.45 as they lie in memory.
//!
//! Field for field and byte for byte what the header declares, in native byte order, with the header's field names; the
//! [operations](crate::ops) document what the fields mean. Every structure is a multiple of its alignment with no
//! implicit padding (checked by the derive of `IntoBytes`), so it can be copied to and from bytes as it is.
#![expect(missing_debug_implementations, reason = "the derive of KnownLayout makes a hidden type for each field")]
#![expect(missing_docs, reason = "the fields carry the names of linux/fuse.h, and the operations document them")]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{ByteOrder, DecodeError};

/// A structure with a fixed layout and integers that can change their byte order.
pub trait Layout: FromBytes + IntoBytes + Immutable + KnownLayout + Copy {
    /// The structure's name in `linux/fuse.h`.
    const NAME: &'static str;

    /// Reverses the bytes of every integer.
    fn swap_bytes(&mut self);

    /// The value with its integers in `order`, from native order or back.
    #[must_use]
    fn in_order(mut self, order: ByteOrder) -> Self {
        if !order.is_native() {
            self.swap_bytes();
        }
        self
    }

    /// Reads the structure from the beginning of `bytes`, and gives what follows it.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if `bytes` is too short.
    fn read_prefix(order: ByteOrder, bytes: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        match Self::read_from_prefix(bytes) {
            Ok((value, rest)) => Ok((value.in_order(order), rest)),
            Err(_) => Err(DecodeError::Truncated {
                what: Self::NAME,
                need: size_of::<Self>() as u64,
                have: bytes.len() as u64,
            }),
        }
    }

    /// Reads the first `len` bytes of the structure, as older versions of the protocol send it; the fields beyond are
    /// zero. Gives what follows.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if `bytes` is shorter than `len`.
    fn read_compat(order: ByteOrder, bytes: &[u8], len: usize) -> Result<(Self, &[u8]), DecodeError> {
        if len >= size_of::<Self>() {
            return Self::read_prefix(order, bytes);
        }
        let Some((bytes, rest)) = bytes.split_at_checked(len) else {
            return Err(DecodeError::Truncated { what: Self::NAME, need: len as u64, have: bytes.len() as u64 });
        };
        let mut value = Self::new_zeroed();
        value.as_mut_bytes()[..len].copy_from_slice(bytes);
        Ok((value.in_order(order), rest))
    }
}

trait Swap {
    fn swap(&mut self);
}

macro_rules! swap_integers {
    ($($ty:ty)*) => { $(
        impl Swap for $ty {
            fn swap(&mut self) {
                *self = <$ty>::swap_bytes(*self);
            }
        }
    )* };
}
swap_integers!(u16 u32 u64 i32 i64);

impl<T: Swap, const N: usize> Swap for [T; N] {
    fn swap(&mut self) {
        for item in self {
            item.swap();
        }
    }
}

/// Where a field lies, for the tests that compare the layouts with others'.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct FieldInfo {
    pub(crate) name: &'static str,
    pub(crate) offset: usize,
    pub(crate) size: usize,
}

/// A structure's layout, for the tests that compare the layouts with others'.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct StructInfo {
    pub(crate) name: &'static str,
    pub(crate) size: usize,
    pub(crate) align: usize,
    pub(crate) fields: &'static [FieldInfo],
}

macro_rules! layouts {
    ($($(#[$meta:meta])* $name:ident = $c_name:literal { $($field:ident $(= $c_field:literal)? : $ty:ty),* $(,)? })*) => {
        $(
            #[doc = concat!("`struct ", $c_name, "`.")]
            $(#[$meta])*
            #[repr(C)]
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
            pub struct $name {
                $(pub $field: $ty,)*
            }

            impl Layout for $name {
                const NAME: &'static str = $c_name;

                fn swap_bytes(&mut self) {
                    $(Swap::swap(&mut self.$field);)*
                }
            }

            impl Swap for $name {
                fn swap(&mut self) {
                    Layout::swap_bytes(self);
                }
            }
        )*

        /// Every structure of this module.
        #[cfg(test)]
        pub(crate) const STRUCTS: &[StructInfo] = &[
            $(StructInfo {
                name: $c_name,
                size: size_of::<$name>(),
                align: align_of::<$name>(),
                fields: &[$(FieldInfo {
                    name: layouts!(@name $field $($c_field)?),
                    offset: core::mem::offset_of!($name, $field),
                    size: size_of::<$ty>(),
                }),*],
            }),*
        ];
    };
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $c_field:literal) => { $c_field };
}

layouts! {
    InHeader = "fuse_in_header" {
        len: u32, opcode: u32, unique: u64, nodeid: u64, uid: u32, gid: u32, pid: u32, total_extlen: u16, padding: u16,
    }
    OutHeader = "fuse_out_header" { len: u32, error: i32, unique: u64 }
    Attr = "fuse_attr" {
        ino: u64, size: u64, blocks: u64, atime: u64, mtime: u64, ctime: u64, atimensec: u32, mtimensec: u32,
        ctimensec: u32, mode: u32, nlink: u32, uid: u32, gid: u32, rdev: u32, blksize: u32, flags: u32,
    }
    SxTime = "fuse_sx_time" { tv_sec: i64, tv_nsec: u32, reserved = "__reserved": i32 }
    Statx = "fuse_statx" {
        mask: u32, blksize: u32, attributes: u64, nlink: u32, uid: u32, gid: u32, mode: u16, spare0 = "__spare0": [u16; 1],
        ino: u64, size: u64, blocks: u64, attributes_mask: u64, atime: SxTime, btime: SxTime, ctime: SxTime,
        mtime: SxTime, rdev_major: u32, rdev_minor: u32, dev_major: u32, dev_minor: u32, spare2 = "__spare2": [u64; 14],
    }
    KStatfs = "fuse_kstatfs" {
        blocks: u64, bfree: u64, bavail: u64, files: u64, ffree: u64, bsize: u32, namelen: u32, frsize: u32,
        padding: u32, spare: [u32; 6],
    }
    FileLock = "fuse_file_lock" { start: u64, end: u64, kind = "type": u32, pid: u32 }
    EntryOut = "fuse_entry_out" {
        nodeid: u64, generation: u64, entry_valid: u64, attr_valid: u64, entry_valid_nsec: u32, attr_valid_nsec: u32,
        attr: Attr,
    }
    ForgetIn = "fuse_forget_in" { nlookup: u64 }
    ForgetOne = "fuse_forget_one" { nodeid: u64, nlookup: u64 }
    BatchForgetIn = "fuse_batch_forget_in" { count: u32, dummy: u32 }
    GetattrIn = "fuse_getattr_in" { getattr_flags: u32, dummy: u32, fh: u64 }
    AttrOut = "fuse_attr_out" { attr_valid: u64, attr_valid_nsec: u32, dummy: u32, attr: Attr }
    StatxIn = "fuse_statx_in" { getattr_flags: u32, reserved: u32, fh: u64, sx_flags: u32, sx_mask: u32 }
    StatxOut = "fuse_statx_out" { attr_valid: u64, attr_valid_nsec: u32, flags: u32, spare: [u64; 2], stat: Statx }
    MknodIn = "fuse_mknod_in" { mode: u32, rdev: u32, umask: u32, padding: u32 }
    MkdirIn = "fuse_mkdir_in" { mode: u32, umask: u32 }
    RenameIn = "fuse_rename_in" { newdir: u64 }
    Rename2In = "fuse_rename2_in" { newdir: u64, flags: u32, padding: u32 }
    LinkIn = "fuse_link_in" { oldnodeid: u64 }
    SetattrIn = "fuse_setattr_in" {
        valid: u32, padding: u32, fh: u64, size: u64, lock_owner: u64, atime: u64, mtime: u64, ctime: u64,
        atimensec: u32, mtimensec: u32, ctimensec: u32, mode: u32, unused4: u32, uid: u32, gid: u32, unused5: u32,
    }
    OpenIn = "fuse_open_in" { flags: u32, open_flags: u32 }
    CreateIn = "fuse_create_in" { flags: u32, mode: u32, umask: u32, open_flags: u32 }
    OpenOut = "fuse_open_out" { fh: u64, open_flags: u32, backing_id: i32 }
    ReleaseIn = "fuse_release_in" { fh: u64, flags: u32, release_flags: u32, lock_owner: u64 }
    FlushIn = "fuse_flush_in" { fh: u64, unused: u32, padding: u32, lock_owner: u64 }
    ReadIn = "fuse_read_in" {
        fh: u64, offset: u64, size: u32, read_flags: u32, lock_owner: u64, flags: u32, padding: u32,
    }
    WriteIn = "fuse_write_in" {
        fh: u64, offset: u64, size: u32, write_flags: u32, lock_owner: u64, flags: u32, padding: u32,
    }
    WriteOut = "fuse_write_out" { size: u32, padding: u32 }
    StatfsOut = "fuse_statfs_out" { st: KStatfs }
    FsyncIn = "fuse_fsync_in" { fh: u64, fsync_flags: u32, padding: u32 }
    SetxattrIn = "fuse_setxattr_in" { size: u32, flags: u32, setxattr_flags: u32, padding: u32 }
    GetxattrIn = "fuse_getxattr_in" { size: u32, padding: u32 }
    GetxattrOut = "fuse_getxattr_out" { size: u32, padding: u32 }
    LkIn = "fuse_lk_in" { fh: u64, owner: u64, lk: FileLock, lk_flags: u32, padding: u32 }
    LkOut = "fuse_lk_out" { lk: FileLock }
    AccessIn = "fuse_access_in" { mask: u32, padding: u32 }
    InitIn = "fuse_init_in" { major: u32, minor: u32, max_readahead: u32, flags: u32, flags2: u32, unused: [u32; 11] }
    InitOut = "fuse_init_out" {
        major: u32, minor: u32, max_readahead: u32, flags: u32, max_background: u16, congestion_threshold: u16,
        max_write: u32, time_gran: u32, max_pages: u16, map_alignment: u16, flags2: u32, max_stack_depth: u32,
        request_timeout: u16, unused: [u16; 11],
    }
    InterruptIn = "fuse_interrupt_in" { unique: u64 }
    BmapIn = "fuse_bmap_in" { block: u64, blocksize: u32, padding: u32 }
    BmapOut = "fuse_bmap_out" { block: u64 }
    IoctlIn = "fuse_ioctl_in" { fh: u64, flags: u32, cmd: u32, arg: u64, in_size: u32, out_size: u32 }
    IoctlIovec = "fuse_ioctl_iovec" { base: u64, len: u64 }
    IoctlOut = "fuse_ioctl_out" { result: i32, flags: u32, in_iovs: u32, out_iovs: u32 }
    PollIn = "fuse_poll_in" { fh: u64, kh: u64, flags: u32, events: u32 }
    PollOut = "fuse_poll_out" { revents: u32, padding: u32 }
    FallocateIn = "fuse_fallocate_in" { fh: u64, offset: u64, length: u64, mode: u32, padding: u32 }
    /// The fixed part; the name follows at offset 24.
    Dirent = "fuse_dirent" { ino: u64, off: u64, namelen: u32, kind = "type": u32 }
    /// The fixed part; the name follows at offset 152.
    Direntplus = "fuse_direntplus" { entry_out: EntryOut, dirent: Dirent }
    NotifyPollWakeupOut = "fuse_notify_poll_wakeup_out" { kh: u64 }
    NotifyInvalInodeOut = "fuse_notify_inval_inode_out" { ino: u64, off: i64, len: i64 }
    NotifyInvalEntryOut = "fuse_notify_inval_entry_out" { parent: u64, namelen: u32, flags: u32 }
    NotifyDeleteOut = "fuse_notify_delete_out" { parent: u64, child: u64, namelen: u32, padding: u32 }
    NotifyStoreOut = "fuse_notify_store_out" { nodeid: u64, offset: u64, size: u32, padding: u32 }
    NotifyRetrieveOut = "fuse_notify_retrieve_out" {
        notify_unique: u64, nodeid: u64, offset: u64, size: u32, padding: u32,
    }
    NotifyRetrieveIn = "fuse_notify_retrieve_in" {
        dummy1: u64, offset: u64, size: u32, dummy2: u32, dummy3: u64, dummy4: u64,
    }
    NotifyPruneOut = "fuse_notify_prune_out" { count: u32, padding: u32, spare: u64 }
    LseekIn = "fuse_lseek_in" { fh: u64, offset: u64, whence: u32, padding: u32 }
    LseekOut = "fuse_lseek_out" { offset: u64 }
    CopyFileRangeIn = "fuse_copy_file_range_in" {
        fh_in: u64, off_in: u64, nodeid_out: u64, fh_out: u64, off_out: u64, len: u64, flags: u64,
    }
    CopyFileRangeOut = "fuse_copy_file_range_out" { bytes_copied: u64 }
    SetupmappingIn = "fuse_setupmapping_in" { fh: u64, foffset: u64, len: u64, flags: u64, moffset: u64 }
    /// Four bytes only: the entries that follow are not aligned for their 64-bit fields.
    RemovemappingIn = "fuse_removemapping_in" { count: u32 }
    RemovemappingOne = "fuse_removemapping_one" { moffset: u64, len: u64 }
    SyncfsIn = "fuse_syncfs_in" { padding: u64 }
    Secctx = "fuse_secctx" { size: u32, padding: u32 }
    SecctxHeader = "fuse_secctx_header" { size: u32, nr_secctx: u32 }
    ExtHeader = "fuse_ext_header" { size: u32, kind = "type": u32 }
    /// The fixed part; the 32-bit group ids follow at offset 4.
    SuppGroups = "fuse_supp_groups" { nr_groups: u32 }
}

#[cfg(test)]
mod tests;
