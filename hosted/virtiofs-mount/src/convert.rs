//! The driver's words in the kernel's, and back.

use std::time::{Duration, SystemTime};

use fuse_proto::Timestamp;
use fuser::{Errno, FileAttr, FileType, INodeNo, TimeOrNow};
use virtio_fs::{Credentials, OpenOptions, SetTime};

use crate::driver::{Attr, Error};

/// The bits of a mode that are permissions.
const PERMISSIONS: u32 = 0o7777;
/// Flags of an open file that the server gets: the others are the kernel's affair.
const PASSED_ON: i32 = libc::O_SYNC | libc::O_DSYNC | libc::O_NOATIME;

pub(crate) fn errno(error: &Error) -> Errno {
    Errno::from_i32(error.errno().number())
}

pub(crate) fn credentials(request: &fuser::Request) -> Credentials {
    Credentials { uid: request.uid(), gid: request.gid(), pid: request.pid() }
}

pub(crate) fn attr(number: INodeNo, attr: &Attr) -> FileAttr {
    FileAttr {
        ino: number,
        size: attr.size,
        blocks: attr.blocks,
        atime: time(attr.atime),
        mtime: time(attr.mtime),
        ctime: time(attr.ctime),
        crtime: SystemTime::UNIX_EPOCH,
        kind: attr.file_type().map_or(FileType::RegularFile, kind),
        perm: (attr.mode & PERMISSIONS) as u16,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev,
        blksize: attr.blksize,
        flags: 0,
    }
}

pub(crate) fn kind(kind: fuse_proto::FileType) -> FileType {
    match kind {
        fuse_proto::FileType::Fifo => FileType::NamedPipe,
        fuse_proto::FileType::CharDevice => FileType::CharDevice,
        fuse_proto::FileType::Directory => FileType::Directory,
        fuse_proto::FileType::BlockDevice => FileType::BlockDevice,
        fuse_proto::FileType::Symlink => FileType::Symlink,
        fuse_proto::FileType::Socket => FileType::Socket,
        _ => FileType::RegularFile,
    }
}

fn time(time: Timestamp) -> SystemTime {
    let whole = Duration::from_secs(time.secs.unsigned_abs());
    let start = if time.secs < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(whole)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(whole)
    };
    let time = start.and_then(|start| start.checked_add(Duration::from_nanos(time.nanos.into())));
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

pub(crate) fn set_time(time: TimeOrNow) -> SetTime {
    match time {
        TimeOrNow::Now => SetTime::Now,
        TimeOrNow::SpecificTime(time) => {
            let Timestamp { secs, nanos } = timestamp(time);
            // The wire has the bits of a signed number in an unsigned field.
            SetTime::At { secs: secs as u64, nanos }
        }
    }
}

fn timestamp(time: SystemTime) -> Timestamp {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => Timestamp::new(i64::try_from(after.as_secs()).unwrap_or(i64::MAX), after.subsec_nanos()),
        Err(error) => {
            let before = error.duration();
            let secs = -i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
            match before.subsec_nanos() {
                0 => Timestamp::new(secs, 0),
                nanos => Timestamp::new(secs - 1, 1_000_000_000 - nanos),
            }
        }
    }
}

/// How the driver opens a file for these flags of `open(2)`. Appending is not among it: the kernel says with each write where
/// it goes, except where it means the end.
pub(crate) fn open_options(flags: i32) -> OpenOptions {
    let (read, write) = match flags & libc::O_ACCMODE {
        libc::O_WRONLY => (false, true),
        libc::O_RDWR => (true, true),
        _ => (true, false),
    };
    let passed_on = (flags & PASSED_ON).cast_unsigned();
    OpenOptions::new().read(read).write(write).custom_flags(passed_on)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_both_ways() {
        for stamp in [(0, 0), (1, 999_999_999), (-1, 500_000_000), (-1, 0), (i64::from(i32::MAX) + 1, 1), (-7, 1)] {
            let stamp = Timestamp::new(stamp.0, stamp.1);
            assert_eq!(timestamp(time(stamp)), stamp);
        }
        assert_eq!(
            set_time(TimeOrNow::SpecificTime(time(Timestamp::new(-1, 5)))),
            SetTime::At { secs: u64::MAX, nanos: 5 }
        );
    }

    #[test]
    fn what_the_server_is_told_of_an_open_file() {
        let options = open_options(libc::O_RDWR | libc::O_APPEND | libc::O_DIRECT | libc::O_SYNC | libc::O_CREAT);
        let expected = OpenOptions::new().read(true).write(true).custom_flags(libc::O_SYNC.cast_unsigned());
        assert_eq!(options, expected);
        assert!(!open_options(libc::O_WRONLY).is_readable());
        assert!(!open_options(libc::O_RDONLY).is_writable());
    }
}
