//! What the embedder does.

use transport_pci::PciTransport;
use virtio_fs::{Config, OpenOptions, PciFunction, VirtioFs};

use crate::kernel::Kernel;

/// Mounts, reads the begin of a file by copying and by mapping, and unmounts. Returns whether the two are the same.
pub(crate) fn run(kernel: Kernel, name: &str) -> Option<bool> {
    let function = PciFunction { bus: 0, device: 1, function: 0 };
    let transport = PciTransport::new(&mut kernel.clone(), function, &kernel).ok()?;
    let fs = VirtioFs::mount(transport, kernel.clone(), kernel, Config::small()).ok()?;
    let file = fs.open(name, OpenOptions::new().read(true)).ok()?;
    let (mut read, mut mapped) = ([0; 64], [0; 64]);
    file.read_at(&mut read, 0).ok()?;
    file.map(0, 64).ok()?.copy_to(0, &mut mapped);
    drop(file);
    fs.unmount().ok()?;
    Some(read == mapped)
}
