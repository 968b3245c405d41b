//! How much stack and memory the driver takes. A limit that an embedder is told holds here.

use transport_pci::PciTransport;
use transport_pci::model::PciModel;
use virtio_fs::Config;
use virtio_transport::model::{Device, Spec};

use crate::rig::footprint::{heap_of, stack_of};
use crate::rig::peer::{Kind, Peer};

const KIB: usize = 1 << 10;

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
    assert!(stack <= limit(24 * KIB, 48 * KIB), "{stack} bytes");
}

#[test]
fn opening_a_pci_device_takes_little_stack() {
    let device = Device::new(Spec::file_system("tag", 1).with_region(0, 0x1_0000_0000, 256 << 20));
    let mut model = PciModel::new(&device);
    let (transport, stack) = stack_of(|| model.open().unwrap());
    println!("a PCI transport has {} bytes, its making takes {stack} bytes of stack", size_of::<PciTransport>());
    drop(transport);
    assert_eq!(device.mistakes(), [""; 0]);
    assert!(stack <= limit(6 * KIB, 16 * KIB), "{stack} bytes");
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
