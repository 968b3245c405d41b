//! The names of the machines that scenarios run on, and sets of them. What each one is, the rig knows.

/// PCI, a DAX window of 256 MiB; the driver polls.
pub const Q35_DAX: &str = "q35-dax";
/// The same with a window of 16 MiB.
pub const Q35_DAX_SMALL: &str = "q35-dax-small";
/// The same with a window of 1 GiB.
pub const Q35_DAX_1G: &str = "q35-dax-1g";
/// The same with a window of 4 GiB.
pub const Q35_DAX_4G: &str = "q35-dax-4g";
/// A window of 256 MiB and two processors.
pub const Q35_DAX_2CPU: &str = "q35-dax-2cpu";
/// A window of 16 MiB and two processors.
pub const Q35_DAX_SMALL_2CPU: &str = "q35-dax-small-2cpu";
/// A window of 16 MiB and four processors.
pub const Q35_DAX_SMALL_4CPU: &str = "q35-dax-small-4cpu";
/// A window of 256 MiB, message-signalled interrupts.
pub const Q35_DAX_MSIX: &str = "q35-dax-msix";
/// A window of 256 MiB, an interrupt line.
pub const Q35_DAX_LINE: &str = "q35-dax-line";
/// An unmodified virtiofsd and no window, message-signalled interrupts.
pub const Q35_PLAIN: &str = "q35-plain";
/// virtio-mmio, an unmodified virtiofsd and no window, an interrupt line.
pub const MICROVM_PLAIN: &str = "microvm-plain";
/// A GPU with 256 MiB of host memory.
pub const Q35_GPU: &str = "q35-gpu";
/// A GPU with 8 GiB of host memory.
pub const Q35_GPU_8G: &str = "q35-gpu-8g";
/// A window of 16 MiB, two processors that have the x2APIC mode, message-signalled interrupts.
pub const Q35_X2APIC: &str = "q35-x2apic";
/// One of several machines over one memory, which is a BAR of an ivshmem device; two processors.
pub const FAMFS_PAIR: &str = "famfs-pair";
/// One of several machines over one memory, which a virtio-pmem device has; two processors.
pub const FAMFS_PMEM: &str = "famfs-pmem";
/// Nothing but what the rig needs.
pub const Q35_BARE: &str = "q35-bare";

/// With a window.
pub const WITH_WINDOW: &[&str] = &[Q35_DAX];
/// With a window of 256 MiB, and two processors.
pub const TWO_PROCESSORS: &[&str] = &[Q35_DAX_2CPU];
/// With a window of every size.
pub const WINDOWS: &[&str] = &[Q35_DAX_SMALL, Q35_DAX, Q35_DAX_1G, Q35_DAX_4G];
/// With a small window.
pub const SMALL_WINDOW: &[&str] = &[Q35_DAX_SMALL];
/// With a small window, and one, two and four processors.
pub const SMALL_WINDOWS: &[&str] = &[Q35_DAX_SMALL, Q35_DAX_SMALL_2CPU, Q35_DAX_SMALL_4CPU];
/// Every way to reach a share.
pub const EVERYWHERE: &[&str] = &[Q35_DAX, Q35_DAX_MSIX, Q35_DAX_LINE, Q35_PLAIN, MICROVM_PLAIN];
/// With interrupts from the device.
pub const WITH_INTERRUPTS: &[&str] = &[Q35_DAX_MSIX, Q35_DAX_LINE, Q35_PLAIN, MICROVM_PLAIN];
/// With a share and no window.
pub const WITHOUT_WINDOW: &[&str] = &[Q35_PLAIN, MICROVM_PLAIN];
/// With a window, a small one, and none: all sides of the driver's operations.
pub const OPERATIONS: &[&str] = &[Q35_DAX, Q35_DAX_SMALL, Q35_PLAIN, MICROVM_PLAIN];
/// Those with a daemon that keeps a record.
pub const RECORDED: &[&str] = &[Q35_DAX, Q35_DAX_SMALL];
/// Those with a daemon that can have a small disk.
pub const SMALL_DISK: &[&str] = &[Q35_DAX, Q35_DAX_SMALL, Q35_PLAIN];
/// With a window and without one.
pub const BOTH_DAEMONS: &[&str] = &[Q35_DAX, Q35_PLAIN];
/// With a GPU.
pub const GPU: &[&str] = &[Q35_GPU];
/// With a GPU that has more than 4 GiB.
pub const LARGE_GPU: &[&str] = &[Q35_GPU_8G];
/// With processors that have the x2APIC mode.
pub const X2APIC: &[&str] = &[Q35_X2APIC];
/// With message-signalled interrupts.
pub const WITH_MESSAGES: &[&str] = &[Q35_DAX_MSIX, Q35_PLAIN];
/// With memory that machines share.
pub const SHARED_MEMORY: &[&str] = &[FAMFS_PAIR];
/// With every device that such memory comes from.
pub const SHARED_MEMORIES: &[&str] = &[FAMFS_PAIR, FAMFS_PMEM];
/// Without a device.
pub const BARE: &[&str] = &[Q35_BARE];
