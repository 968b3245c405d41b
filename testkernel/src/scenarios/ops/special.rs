//! What files have besides bytes and names: attributes, extended attributes, locks, the file system around them.

use crate::{
    events,
    machine::Machine,
    outcome::{Outcome, Stop, ensure},
    scenarios::steps::{
        host::wait_for_host,
        operations::{MAKE, begin, end, refused},
    },
};
use fuse_proto::{AccessMask, Errno, Timestamp, XattrFlags};
use testkernel_protocol::content::stream;
use virtio_fs::{LockRange, SetAttr, SetTime};

/// Mode, owner and times are set; sync `set`: the host looks. Then the times become now: sync `now`. Info `owner`: whether
/// the daemon could give the file away.
pub(crate) fn attributes(machine: &Machine) -> Outcome {
    const NAME: &str = "ops/attributes";
    let fs = begin(machine)?;
    let file = fs.open(NAME, MAKE.mode(0o600))?;
    file.write_all_at(&stream(NAME, 100), 0)?;
    let node = fs.lookup(NAME)?;
    let attr = node.set_attr(&SetAttr { mode: Some(0o4755), ..SetAttr::default() })?;
    ensure!(attr.permissions() == 0o4755, "the mode is {:o}", attr.mode);
    let owned = node.set_attr(&SetAttr { uid: Some(1234), gid: Some(5678), ..SetAttr::default() });
    match &owned {
        Ok(attr) => ensure!((attr.uid, attr.gid) == (1234, 5678), "the owner is {}:{}", attr.uid, attr.gid),
        Err(error) => ensure!(error.errno() == Errno::EPERM, "giving a file away: {error}"),
    }
    events::info("owner", &owned.is_ok());
    // Giving a file away takes its set-user-id bit.
    node.set_attr(&SetAttr { mode: Some(0o640), ..SetAttr::default() })?;
    let attr = file.set_attr(&SetAttr {
        atime: Some(SetTime::At { secs: 1_000_000_000, nanos: 123_456_789 }),
        mtime: Some(SetTime::At { secs: 1_500_000_000, nanos: 987_654_321 }),
        ..SetAttr::default()
    })?;
    let mtime = Timestamp { secs: 1_500_000_000, nanos: 987_654_321 };
    ensure!(attr.mtime == mtime, "the time of the last change is {:?}", attr.mtime);
    ensure!(attr.permissions() == 0o640 && attr.size == 100, "mode {:o}, {} bytes", attr.mode, attr.size);
    ensure!(node.refresh_attr()?.mtime == mtime, "asked again, it is another");
    wait_for_host("set")?;
    let now = Some(SetTime::Now);
    let attr = node.set_attr(&SetAttr { atime: now, mtime: now, size: Some(50), ..SetAttr::default() })?;
    ensure!(attr.mtime.secs > mtime.secs && attr.atime.secs > 1_000_000_000, "now is {:?}", attr.mtime);
    ensure!(attr.size == 50 && file.len()? == 50, "{} bytes", attr.size);
    wait_for_host("now")?;
    node.access(AccessMask::READ)?;
    drop(file);
    end(&fs)
}

/// Extended attributes are set by all rules, read, listed and removed; sync `set`: the host looks and sets one of its
/// own, which is here afterwards. Skipped where the host's file system has none.
pub(crate) fn xattrs(machine: &Machine) -> Outcome {
    const NAME: &str = "ops/xattrs";
    let fs = begin(machine)?;
    drop(fs.open(NAME, MAKE)?);
    let node = fs.lookup(NAME)?;
    match node.set_xattr("user.colour", b"blue", XattrFlags::empty()) {
        Err(error) if error.errno() == Errno::EOPNOTSUPP => {
            return Err(Stop::Skip("the host's file system has no extended attributes".into()));
        }
        done => done?,
    }
    node.set_xattr("user.colour", b"green", XattrFlags::REPLACE)?;
    node.set_xattr("user.large", &stream("user.large", 2000), XattrFlags::CREATE)?;
    node.set_xattr("user.empty", b"", XattrFlags::empty())?;
    node.set_xattr("user.gone", b"x", XattrFlags::empty())?;
    node.remove_xattr("user.gone")?;
    refused("creating one twice", node.set_xattr("user.colour", b"x", XattrFlags::CREATE), Errno::EEXIST)?;
    refused("replacing none", node.set_xattr("user.none", b"x", XattrFlags::REPLACE), Errno::ENODATA)?;
    refused("removing none", node.remove_xattr("user.gone"), Errno::ENODATA)?;
    refused("reading none", node.xattr("user.none"), Errno::ENODATA)?;
    ensure!(node.xattr("user.colour")? == b"green", "user.colour is not what was set");
    ensure!(node.xattr("user.large")? == stream("user.large", 2000), "user.large is not what was set");
    ensure!(node.xattr("user.empty")?.is_empty(), "user.empty is not empty");
    let mut names = node.xattr_names()?;
    names.retain(|name| name.starts_with(b"user."));
    names.sort();
    ensure!(names == [b"user.colour".as_slice(), b"user.empty", b"user.large"], "{} names", names.len());
    wait_for_host("set")?;
    ensure!(node.xattr("user.host")? == b"seen", "what the host set is not here");
    end(&fs)
}

/// The size of the host's file system (info `statfs`: block size, blocks, longest name) is the host's; files, folders and the
/// whole are made durable.
pub(crate) fn statfs_sync(machine: &Machine) -> Outcome {
    let fs = begin(machine)?;
    let statfs = fs.statfs()?;
    events::info("statfs", &format_args!("{} {} {}", statfs.frsize, statfs.blocks, statfs.namelen));
    ensure!(statfs.bfree <= statfs.blocks && statfs.bavail <= statfs.blocks, "more free than there is: {statfs:?}");
    let file = fs.open("ops/synced", MAKE)?;
    file.write_all_at(&stream("ops/synced", 8192), 0)?;
    file.sync_data()?;
    file.sync_all()?;
    fs.lookup("ops")?.sync_dir()?;
    fs.sync()?;
    file.close()?;
    end(&fs)
}

/// Record locks hold off others, or the server says that it keeps none: info `locks`.
pub(crate) fn locks(machine: &Machine) -> Outcome {
    let fs = begin(machine)?;
    let one = fs.open("ops/locked", MAKE)?;
    let other = fs.open("ops/locked", MAKE)?;
    let taken = one.try_lock(LockRange::EXCLUSIVE);
    match &taken {
        Ok(()) => {
            refused("a lock that somebody else has", other.try_lock(LockRange::SHARED), Errno::EAGAIN)?;
            ensure!(other.test_lock(LockRange::SHARED)?.is_some(), "nobody has the lock that was taken");
            one.unlock(LockRange::EXCLUSIVE)?;
            other.try_lock(LockRange::SHARED)?;
        }
        Err(error) => {
            ensure!(error.errno() == Errno::EOPNOTSUPP, "a lock: {error}");
            refused("another lock", other.try_lock(LockRange::SHARED), Errno::EOPNOTSUPP)?;
            refused("looking for a lock", other.test_lock(LockRange::SHARED), Errno::EOPNOTSUPP)?;
            refused("giving a lock back", one.unlock(LockRange::EXCLUSIVE), Errno::EOPNOTSUPP)?;
        }
    }
    events::info("locks", &if taken.is_ok() { "kept" } else { "unsupported" });
    drop((one, other));
    end(&fs)
}
