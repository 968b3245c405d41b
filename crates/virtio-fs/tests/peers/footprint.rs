//! How much stack and memory the driver takes. A limit that the documentation states holds here.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use fs_dax::{FaultOutcome, Sharing, SyncMode, Wanted};
use fuse_proto::{AccessMask, FallocateMode, NodeId, StatxMask, XattrFlags, ops};
use transport_pci::PciTransport;
use transport_pci::model::PciModel;
use virtio_fs::{Config, Credentials, LockRange, OpenOptions, SetAttr, Sparse, VirtioFs};
use virtio_transport::model::{Device, Spec};

use crate::faults::tables;
use crate::rig::footprint::{heap_of, stack_of};
use crate::rig::peer::{Kind, Peer};
use crate::sync_faults::store;

const KIB: usize = 1 << 10;
const RW: OpenOptions = OpenOptions::new().read(true).write(true);

/// A limit on stack: of optimised code, or of other code.
fn limit(optimised: usize, other: usize) -> usize {
    if cfg!(debug_assertions) { other } else { optimised }
}

#[test]
fn a_mount_takes_little_stack() {
    let peer = Peer::new(Kind::Strict).with_window(Some(256 << 20));
    // What is made on first use, by the device and by the process, is no stack of the driver's.
    let fs = peer.mount();
    fs.unmount().unwrap();
    drop(fs);
    let (fs, stack) = stack_of(|| peer.mount());
    println!("a mount takes {stack} bytes of stack");
    let (outcome, unmount) = stack_of(|| fs.unmount());
    println!("an unmount takes {unmount} bytes of stack");
    outcome.unwrap();
    drop(fs);
    peer.end();
    assert!(stack <= limit(8 * KIB, 32 * KIB), "{stack} bytes");
    assert!(unmount <= limit(4 * KIB, 32 * KIB), "{unmount} bytes for the unmount");
}

/// Operations of an embedder, each with what it takes of the stack, the deepest first.
#[derive(Default)]
struct Depths(Vec<(usize, &'static str)>);

impl Depths {
    fn of<T>(&mut self, name: &'static str, operation: impl FnOnce() -> T) -> T {
        let (value, stack) = stack_of(operation);
        self.0.push((stack, name));
        value
    }

    #[track_caller]
    fn assert_little(mut self) {
        self.0.sort_unstable_by(|one, other| other.cmp(one));
        println!("{:?}", self.0);
        let (deepest, name) = self.0[0];
        assert!(deepest <= limit(4 * KIB, 32 * KIB), "{name}: {deepest} bytes");
    }
}

// Long: a list of operations, one after the other.
#[test]
fn operations_take_little_stack() {
    const RANGE: usize = 2 << 20;
    let rw = RW;
    let peer = Peer::new(Kind::Strict).with_window(Some(4 * RANGE as u64));
    peer.put("file", &vec![7; 8 * RANGE]);
    let fs = peer.mount();
    let mut depths = Depths::default();
    let mut buffer = vec![0; RANGE];
    let file = depths.of("open", || fs.open("file", rw).unwrap());
    depths.of("read, mapping ahead", || file.read_at(&mut buffer, 0).unwrap());
    depths.of("read, a hit", || file.read_at(&mut buffer, 0).unwrap());
    // More than the window has room for.
    for chunk in 1..8 {
        depths.of("read, reclaiming", || file.read_exact_at(&mut buffer, chunk * RANGE as u64).unwrap());
    }
    depths.of("write inside", || file.write_at(&buffer[..5000], 100).unwrap());
    depths.of("write past the end", || file.write_at(&buffer, 8 * RANGE as u64 - 100).unwrap());
    depths.of("sync", || file.sync_all().unwrap());
    let view = depths.of("map", || file.map_mut(0, 4096).unwrap());
    depths.of("store", || view.store(3, b"bytes"));
    depths.of("unmap", || drop(view));
    let tables = tables(&fs);
    depths.of("fault", || tables.touch(&file, 4096, true, Wanted::Base).unwrap());
    depths.of("write-back", || file.sync_range(0, RANGE as u64).unwrap());
    depths.of("allocate", || file.allocate(FallocateMode::KEEP_SIZE, 0, 4096).unwrap());
    for dropped in [false, true] {
        depths.of("read, asynchronously", || {
            let mut read = pin!(file.read_async(&mut buffer, (4 + u64::from(dropped)) * RANGE as u64));
            while read.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() && !dropped {
                fs.poll();
            }
        });
    }
    depths.of("truncate", || file.set_len(100).unwrap());
    depths.of("read a few bytes, asynchronously", || {
        let mut read = pin!(file.read_async(&mut buffer, 0));
        while read.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            fs.poll();
        }
    });
    let answer = depths.of("a request without waiting", || {
        let mut request = fs.submit(ops::Statfs { node: NodeId::ROOT }).unwrap();
        loop {
            if let Some(answer) = request.poll_answer(None).unwrap() {
                return answer;
            }
        }
    });
    answer.reply().unwrap();
    depths.of("attributes", || file.node().refresh_attr().unwrap());
    depths.of("close", || file.close().unwrap());
    let root = fs.root().unwrap();
    let made = depths.of("create", || root.create("new", rw.create(true)).unwrap());
    drop(made);
    depths.of("make a directory", || root.create_dir("dir", 0o755).unwrap());
    depths.of("link", || root.symlink("link", "new").unwrap());
    depths.of("rename", || root.rename("new", &root, "newer").unwrap());
    depths.of("walk", || fs.attr("link").err());
    depths.of("list", || root.read_dir().unwrap().with_attributes().count());
    depths.of("remove", || root.remove_file("newer").unwrap());
    depths.of("remove a directory", || root.remove_dir("dir").unwrap());
    depths.of("space", || fs.statfs().unwrap());
    depths.of("a step of reclaim", || fs.reclaim_step().unwrap());
    depths.of("an interrupt", || fs.handle_interrupt());
    drop(root);
    fs.set_mappings(None);
    peer.finish(fs);
    depths.assert_little();
}

#[test]
fn rarer_operations_take_little_stack() {
    let peer = Peer::new(Kind::Strict).with_window(Some(8 << 20));
    peer.put("file", &[7; 3 << 20]);
    let fs = peer.mount();
    let user = fs.as_user(Credentials { uid: 1000, gid: 1000, pid: 1 });
    let mut depths = Depths::default();
    let tables = tables(&fs);
    of_nodes(&mut depths, &fs);
    of_files(&mut depths, &fs, &user);
    drop((tables, user));
    fs.set_mappings(None);
    peer.finish(fs);
    depths.assert_little();
}

/// Operations on names, attributes and extended attributes.
fn of_nodes(depths: &mut Depths, fs: &VirtioFs) {
    let root = fs.root().unwrap();
    let node = depths.of("look up", || root.lookup("file").unwrap());
    let mode = SetAttr { mode: Some(0o4777), ..SetAttr::default() };
    depths.of("change attributes", || node.set_attr(&mode).unwrap());
    depths.of("change attributes and size", || node.set_attr(&SetAttr { size: Some(3 << 20), ..mode }).unwrap());
    depths.of("extended statistics", || node.statx(StatxMask::BTIME).err());
    depths.of("access", || node.access(AccessMask::READ).unwrap());
    depths.of("set an extended attribute", || node.set_xattr("user.a", b"value", XattrFlags::empty()).err());
    depths.of("an extended attribute", || node.xattr("user.a").err());
    depths.of("names of extended attributes", || node.xattr_names().err());
    depths.of("remove an extended attribute", || node.remove_xattr("user.a").err());
    depths.of("hard link", || root.hard_link("other", &node).unwrap());
    depths.of("a special file", || root.create_node("pipe", 0o010_644, 0).unwrap());
    let link = depths.of("link", || root.symlink("link", "file").unwrap());
    depths.of("what a link says", || link.read_link().unwrap());
    depths.of("rename over", || root.rename("other", &root, "pipe").unwrap());
    depths.of("sync a directory", || root.sync_dir().unwrap());
    depths.of("space of a node", || node.statfs().unwrap());
    depths.of("an unnamed file", || root.create_unnamed(RW).err());
    depths.of("statistics", || fs.stats());
    depths.of("sync everything", || fs.sync().err());
    depths.of("rename by path", || fs.rename("pipe", "another").unwrap());
    depths.of("link by path", || fs.hard_link("another", "third").unwrap());
    depths.of("remove by path", || fs.remove_file("third").unwrap());
    depths.of("write a whole file", || fs.write("whole", &[1; 5000]).unwrap());
    depths.of("read a whole file", || fs.read("whole").unwrap());
}

/// Operations on open files; those of somebody without privileges take more requests.
fn of_files(depths: &mut Depths, fs: &VirtioFs, user: &VirtioFs) {
    let data = vec![3; 1 << 20];
    let file = depths.of("open", || user.open("file", RW).unwrap());
    depths.of("write, clearing bits", || file.write_at(&data[..100], 0).unwrap());
    let punch = FallocateMode::PUNCH_HOLE | FallocateMode::KEEP_SIZE;
    depths.of("punch a hole", || file.allocate(punch, 1 << 20, 8192).unwrap());
    depths.of("write into a hole", || file.write_at(&data[..100], (1 << 20) + 4096).unwrap());
    for (name, offset) in [("write, asynchronously", 2 << 20), ("write past the end, asynchronously", 3 << 20)] {
        depths.of(name, || {
            let mut write = pin!(file.write_async(&data, offset));
            while write.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
                fs.poll();
            }
        });
    }
    depths.of("dropped writes", || {
        for _ in 0..4 {
            let mut write = pin!(file.write_async(&data, 3 << 20));
            assert!(write.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
    });
    for offset in [0, 2 << 20] {
        let fault = store(offset, Sharing::Shared, SyncMode::MetadataDurable);
        let mapping = match depths.of("a store that is synced first", || file.fault(&fault)) {
            FaultOutcome::NeedsSync(sync) => depths.of("its sync", || file.finish_sync(&fault, sync)),
            FaultOutcome::NeedsAllocation(allocate) => {
                depths.of("its allocation", || file.finish_allocation(&fault, allocate))
            }
            outcome => outcome,
        };
        match mapping {
            FaultOutcome::Map(mapping) => mapping.guard.installed(&mapping.page, true),
            outcome => panic!("{outcome:?}"),
        }
    }
    depths.of("pin", || drop(file.pin(0, 4096).unwrap()));
    depths.of("seek", || file.seek_sparse(0, Sparse::Hole).unwrap());
    depths.of("lock", || file.try_lock(LockRange::EXCLUSIVE).err());
    depths.of("who has a lock", || file.test_lock(LockRange::EXCLUSIVE).err());
    depths.of("unlock", || file.unlock(LockRange::EXCLUSIVE).err());
    let log = user.open("log", RW.create(true).append(true)).unwrap();
    depths.of("append", || log.write_at(&data, 0).unwrap());
    depths.of("copy", || file.copy_range(0, &log, 0, 4096).err());
    depths.of("sync data", || log.sync_data().unwrap());
    depths.of("open, truncating", || user.open("log", RW.truncate(true)).unwrap());
    fs.remove_file("log").unwrap();
    depths.of("close what has no name", || log.close().unwrap());
}

#[test]
fn opening_a_pci_device_takes_little_stack() {
    let device = Device::new(Spec::file_system("tag", 1).with_region(0, 0x1_0000_0000, 256 << 20));
    let mut model = PciModel::new(&device);
    let (transport, stack) = stack_of(|| model.open().unwrap());
    println!("a PCI transport has {} bytes, its making takes {stack} bytes of stack", size_of::<PciTransport>());
    drop(transport);
    assert_eq!(device.mistakes(), [""; 0]);
    assert!(stack <= limit(4 * KIB, 32 * KIB), "{stack} bytes");
}

#[test]
fn a_small_kernel_gives_little_memory() {
    let peer = Peer::new(Kind::Strict).with_window(Some(256 << 20));
    let fs = peer.mount();
    fs.unmount().unwrap();
    drop(fs);
    assert_eq!(peer.dma(), 0);
    let config = Config::small().request_timeout(peer.config().request_timeout);
    let (fs, heap, most) = heap_of(|| peer.mount_with(config).unwrap());
    let dma = peer.dma();
    println!("after a mount {heap} bytes of heap and {dma} of DMA memory are in use; the most heap was {most}");
    peer.finish(fs);
    assert!(heap as usize + dma <= 64 * KIB, "{heap} + {dma} bytes");
}
