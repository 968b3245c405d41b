//! Calls of the driver's public functions, drawn one after the other.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use fastrand::Rng;
use virtio_fs::fs_dax::{Area, Sharing, SyncMode, VirtAddr, Wanted};
use virtio_fs::{
    AccessMask, FallocateMode, Fault, FaultAccess, FaultOutcome, InterruptHandle, LockRange, NodeId, OpenOptions,
    RenameFlags, SetAttr, Sparse, StatxMask, XattrFlags, ops,
};

use crate::handles::{Fs, Handles};
use crate::lock::Watched;

const PATHS: [&str; 10] = ["/", "f0", "f1", "d0", "l0", "n0", "d0/f1", "d0/d1/d2/f0", "l0/f0", "d0/l1"];
const OFFSETS: [u64; 8] = [0, 1, 4095, 4096, 70_000, 2 << 20, 50 << 20, i64::MAX as u64 - 4096];
const LENGTHS: [usize; 6] = [0, 1, 100, 4096, 9000, 50_000];

/// Calls that are made of others, each with a budget of its own.
pub(crate) const WHOLE_READ: &str = "read of a whole file";
pub(crate) const FAULT: &str = "fault";
pub(crate) const WHOLE_WRITE: &str = "write of a whole file";

/// A call, and whether a request of it may take long.
pub(crate) type Call = (&'static str, bool);
const SHORT: bool = false;
const LONG: bool = true;

/// Who calls.
pub(crate) struct Caller {
    pub(crate) rng: Rng,
    pub(crate) fs: Fs,
    pub(crate) interrupt: InterruptHandle<Watched>,
    pub(crate) handles: Handles,
}

fn any<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.usize(..of.len())]
}

impl Caller {
    /// Makes a call. Handles that have to go for new ones are left in `handles` for [`Caller::drop_one`].
    pub(crate) fn call(&mut self) -> Call {
        match self.rng.u8(..100) {
            0..30 => self.by_path(),
            30..45 => self.by_node(),
            45..75 => self.by_file(),
            75..82 => self.by_listing(),
            82..88 => self.by_view(),
            88..94 => self.by_session(),
            _ => self.drop_one().unwrap_or(("nothing", SHORT)),
        }
    }

    fn options(&mut self) -> OpenOptions {
        let rng = &mut self.rng;
        let options = OpenOptions::new().read(rng.u8(..8) > 0).write(rng.bool()).create(rng.u8(..4) == 0);
        options.truncate(rng.u8(..6) == 0).append(rng.u8(..10) == 0)
    }

    fn by_path(&mut self) -> Call {
        let (path, other) = (any(&mut self.rng, &PATHS), any(&mut self.rng, &PATHS));
        let options = self.options();
        let (fs, rng) = (&self.fs, &mut self.rng);
        let named = match rng.u8(..16) {
            0..4 => {
                // What is dropped for it is closed, which may take long.
                let before = fs.open(path, options).ok().and_then(|file| self.handles.files.keep(rng, file));
                drop(before);
                return ("open", LONG);
            }
            4 | 5 => {
                drop(fs.lookup(path).ok().and_then(|node| self.handles.nodes.keep(rng, node)));
                "lookup"
            }
            6 => (fs.attr(path).is_ok(), "attr").1,
            7 => {
                let _ = fs.read_up_to(path, 1 << 20);
                return (WHOLE_READ, LONG);
            }
            8 => {
                let _ = fs.write(path, &vec![1; any(rng, &LENGTHS)]);
                return (WHOLE_WRITE, LONG);
            }
            9 => {
                drop(fs.read_dir(path).ok().and_then(|listing| self.handles.listings.keep(rng, listing)));
                "read_dir"
            }
            10 => (fs.create_dir(path, 0o755).is_ok(), "create_dir").1,
            11 => (fs.symlink(path, other).is_ok(), "symlink").1,
            12 => (fs.hard_link(path, other).is_ok(), "hard_link").1,
            13 => (fs.rename(path, other).is_ok(), "rename").1,
            14 => (fs.remove_file(path).is_ok(), "remove_file").1,
            _ => (fs.read_link(path).is_ok(), "read_link").1,
        };
        (named, SHORT)
    }

    fn by_node(&mut self) -> Call {
        let options = self.options();
        let rng = &mut self.rng;
        let name = any(rng, &PATHS[1..6]);
        let Some(node) = self.handles.nodes.any(rng) else { return ("nothing", SHORT) };
        let named = match rng.u8(..14) {
            0 => (node.refresh_attr().is_ok(), "refresh_attr").1,
            1 => {
                let changes =
                    SetAttr { mode: Some(0o640), size: rng.bool().then(|| any(rng, &OFFSETS)), ..SetAttr::default() };
                return (("set_attr", node.set_attr(&changes).is_ok()).0, LONG);
            }
            2 => (node.statx(StatxMask::from_bits_retain(0x7ff)).is_ok(), "statx").1,
            3 => (node.access(AccessMask::from_bits_retain(4)).is_ok(), "access").1,
            4 => (node.xattr("user.a").is_ok(), "xattr").1,
            5 => (node.xattr_names().is_ok(), "xattr_names").1,
            6 => (node.set_xattr("user.a", &[1; 100], XattrFlags::empty()).is_ok(), "set_xattr").1,
            7 => (node.remove_xattr("user.a").is_ok(), "remove_xattr").1,
            8 => return (("sync_dir", node.sync_dir().is_ok()).0, LONG),
            9 => (node.create_node(name, 0o010_644, 0).is_ok(), "create_node").1,
            10 => (node.statfs().is_ok(), "statfs").1,
            11 => {
                let node = node.clone();
                (node.rename_with(name, &node, "f9", RenameFlags::EXCHANGE).is_ok(), "rename_with").1
            }
            12 => {
                let made = node.create_unnamed(options.create(false).write(true));
                drop(made.ok().and_then(|file| self.handles.files.keep(rng, file)));
                return ("create_unnamed", LONG);
            }
            _ => {
                drop(node.open(options).ok().and_then(|file| self.handles.files.keep(rng, file)));
                return ("open of a node", LONG);
            }
        };
        (named, SHORT)
    }

    fn by_file(&mut self) -> Call {
        let rng = &mut self.rng;
        let (offset, len) = (any(rng, &OFFSETS), any(rng, &LENGTHS));
        let Some(file) = self.handles.files.any(rng) else { return ("nothing", SHORT) };
        match rng.u8(..20) {
            0..4 => {
                let _ = file.read_at(&mut vec![0; len], offset);
                ("read_at", SHORT)
            }
            // A write of a file that is open for that by O_DSYNC, or has holes, is followed by FSYNC, or comes after FALLOCATE.
            4..7 => (("write_at", file.write_at(&vec![1; len], offset).is_ok()).0, LONG),
            7 => (("sync_all", file.sync_all().is_ok()).0, LONG),
            8 => (("set_len", file.set_len(offset).is_ok()).0, LONG),
            9 => {
                let modes = [FallocateMode::empty(), FallocateMode::PUNCH_HOLE | FallocateMode::KEEP_SIZE];
                (("allocate", file.allocate(any(rng, &modes), offset, 5000).is_ok()).0, LONG)
            }
            10 => (("copy_range", file.copy_range(offset, file, 0, 5000).is_ok()).0, LONG),
            11 => (("seek_sparse", file.seek_sparse(offset, Sparse::Hole).is_ok()).0, SHORT),
            12 => (("try_lock", file.try_lock(LockRange::SHARED).is_ok()).0, LONG),
            13 => (("ioctl", file.ioctl(1, 2, &[3; 16]).is_ok()).0, SHORT),
            14 => {
                drop(file.map(offset, len.max(1)).ok().and_then(|view| self.handles.views.keep(rng, view)));
                ("map", SHORT)
            }
            15 => {
                drop(file.map_mut(offset, len.max(1)).ok().and_then(|view| self.handles.stores.keep(rng, view)));
                ("map_mut", LONG)
            }
            16 | 17 => {
                fault(rng, file, offset);
                (FAULT, LONG)
            }
            18 => {
                poll_some(&self.fs, file.read_async(&mut vec![0; len], offset));
                ("read_async", LONG)
            }
            _ => {
                poll_some(&self.fs, file.write_async(&vec![1; len], offset));
                ("write_async", LONG)
            }
        }
    }

    fn by_listing(&mut self) -> Call {
        let rng = &mut self.rng;
        let Some(listing) = self.handles.listings.any(rng) else { return ("nothing", SHORT) };
        match rng.u8(..8) {
            0 => listing.seek(u64::from(rng.u8(..4))),
            1 => {
                if let Some(listing) = self.handles.listings.take(rng) {
                    drop(self.handles.listings.keep(rng, listing.with_attributes()));
                }
            }
            _ => {
                if let Some(Ok(entry)) = listing.next() {
                    check_name(&entry.name);
                }
                return ("next entry", SHORT);
            }
        }
        ("seek", SHORT)
    }

    fn by_view(&mut self) -> Call {
        let rng = &mut self.rng;
        if let Some(view) = self.handles.views.any(rng) {
            let mut bytes = [0; 100];
            view.copy_to(rng.usize(..5000), &mut bytes);
            view.words().take(8).for_each(drop);
        }
        if let Some(view) = self.handles.stores.any(rng) {
            view.store(rng.usize(..5000), &[1; 100]);
        }
        ("a view", SHORT)
    }

    fn by_session(&mut self) -> Call {
        let rng = &mut self.rng;
        match rng.u8(..8) {
            0 | 1 => {
                self.fs.poll();
                // A notification, or a late answer, is acted upon by requests.
                ("poll", SHORT)
            }
            2 => {
                self.interrupt.handle();
                ("an interrupt", SHORT)
            }
            3 => (("reclaim_step", self.fs.reclaim_step().is_ok()).0, SHORT),
            4 => (("sync", self.fs.sync().is_ok()).0, LONG),
            5 | 6 => {
                let sent = self.fs.submit(ops::Statfs { node: NodeId::ROOT });
                drop(sent.ok().and_then(|sent| self.handles.sent.keep(rng, sent)));
                ("submit", SHORT)
            }
            _ => {
                if let Some(sent) = self.handles.sent.any(rng) {
                    let _ =
                        sent.poll_answer(Some(Waker::noop())).map(|answer| answer.map(|answer| answer.reply().is_ok()));
                }
                ("poll of an answer", SHORT)
            }
        }
    }

    /// Drops a handle; `None` if there is none left.
    pub(crate) fn drop_one(&mut self) -> Option<Call> {
        let rng = &mut self.rng;
        match rng.u8(..3) {
            0 => drop(self.handles.files.take(rng)?.close()),
            1 => drop(self.handles.files.take(rng)?),
            _ => drop(self.handles.nodes.take(rng)?),
        }
        Some(("a drop", LONG))
    }

    /// Drops any handle, while there is one.
    pub(crate) fn drop_last(&mut self) -> Option<Call> {
        let handles = &mut self.handles;
        let dropped = handles.views.pop().map(drop).or_else(|| handles.stores.pop().map(drop));
        let dropped = dropped.or_else(|| handles.sent.pop().map(drop)).or_else(|| handles.listings.pop().map(drop));
        let dropped = dropped.or_else(|| handles.files.pop().map(drop)).or_else(|| handles.nodes.pop().map(drop));
        dropped.map(|()| ("a drop", LONG))
    }
}

/// A name that came from the server is one component of a path.
fn check_name(name: &[u8]) {
    let dots = name == b"." || name == b"..";
    if name.is_empty() || dots || name.contains(&b'/') || name.contains(&0) || name.len() > 4095 {
        crate::rules::broken(|| format!("a listing has the name {:?}", name.escape_ascii().to_string()));
    }
}

/// Polls a future a few times, with the device working in between, and drops it.
fn poll_some<F: Future>(fs: &Fs, future: F) {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..8 {
        if future.as_mut().poll(&mut context).is_ready() {
            return;
        }
        fs.poll();
    }
}

/// A page fault of a program that mapped a file.
fn fault(rng: &mut Rng, file: &virtio_fs::File<Watched>, offset: u64) {
    let Ok(area) = Area::new(VirtAddr(1 << 40), 1 << 46, 0) else { return };
    let fault = Fault {
        area,
        at: VirtAddr((1 << 40) + offset % (1 << 40)),
        access: if rng.bool() { FaultAccess::Write } else { FaultAccess::Read },
        sharing: if rng.bool() { Sharing::Shared } else { Sharing::Private },
        sync: if rng.u8(..4) == 0 { SyncMode::MetadataDurable } else { SyncMode::None },
        wanted: if rng.bool() { Wanted::Base } else { Wanted::Largest },
    };
    match file.fault(&fault) {
        FaultOutcome::NeedsSync(sync) => drop(file.finish_sync(&fault, sync)),
        FaultOutcome::NeedsAllocation(allocate) => drop(file.finish_allocation(&fault, allocate)),
        FaultOutcome::Map(mapping) if mapping.guard.is_current() => {
            mapping.guard.installed(&mapping.page, mapping.writable);
        }
        _ => {}
    }
}
