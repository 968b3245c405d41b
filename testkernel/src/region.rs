//! Memory that several machines share: a BAR of an ivshmem device, or what a virtio-pmem device has.

use crate::{
    arch::copy::Copy,
    devices::{self, Place},
    machine::Machine,
    memory::{
        LARGE_PAGE, PhysRange,
        paging::{self, Caching},
    },
    outcome::{Stop, ensure},
    pci::{self, ConfigPorts},
};
use core::ptr::NonNull;
use fs_dax::{MappedMemory, Pages, PhysAddr, X86Flush};
use testkernel_protocol::command_line::{MEMORY, READ_ONLY};
use transport_pci::bar_region;
use virtio_fs::{DeviceStatus, Transport};
use virtio_shm::{ShmId, ShmRegion};

/// PCI vendor and device of ivshmem, and the BAR that its memory is.
const IVSHMEM: (u16, u16) = (0x1af4, 0x1110);
const IVSHMEM_BAR: u8 = 2;
/// virtio id of a persistent-memory device (virtio 1.3, 5.19).
const PMEM: u16 = 27;
/// The feature that every modern device has (virtio 1.3, 6).
const VERSION_1: u64 = 1 << 32;

/// The memory, as a file system uses it. Copies are the same memory.
pub(crate) type Memory = MappedMemory<'static, X86Flush>;

/// Finds the memory of the machine, if there is one.
///
/// # Errors
/// When the device that has it cannot be used.
pub(crate) fn find(machine: &Machine) -> Result<Option<ShmRegion>, Stop> {
    let ivshmem = |(_, info): &(_, virtio_drivers::transport::pci::bus::DeviceFunctionInfo)| {
        (info.vendor_id, info.device_id) == IVSHMEM
    };
    if let Some((function, _)) = pci::functions().into_iter().find(ivshmem) {
        return Ok(Some(bar_region(&mut ConfigPorts, function.into(), IVSHMEM_BAR)?));
    }
    devices::find(PMEM, &machine.command_line.mmio).first().map(|place| pmem(*place)).transpose()
}

/// The memory of a virtio-pmem device, as its configuration says. Its queue, by which stores are made durable on the host, is
/// not used.
fn pmem(place: Place) -> Result<ShmRegion, Stop> {
    let mut device = devices::open(place)?;
    device.set_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER);
    let offered = device.read_device_features();
    device.write_driver_features(offered & VERSION_1);
    let chosen = DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER | DeviceStatus::FEATURES_OK;
    device.set_status(chosen);
    ensure!(device.get_status().contains(DeviceStatus::FEATURES_OK), "{place} refuses to be a modern device");
    let number = |offset| -> Result<u64, Stop> {
        let mut bytes = [0; 8];
        for (at, half) in bytes.chunks_mut(4).enumerate() {
            device.read_config(offset + 4 * at, 4, half)?;
        }
        Ok(u64::from_le_bytes(bytes))
    };
    Ok(ShmRegion::new(ShmId(0), number(0)?, number(8)?)?)
}

/// The fastest copy of this machine.
unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    unsafe { Copy::best().copy(from, to, len) };
}

/// Maps the memory, write-back cached, for loads and, unless the host says that they are lost, for stores.
///
/// # Errors
/// When it lies in the machine's RAM, is not whole pages of 2 MiB, or cannot be mapped.
pub(crate) fn map(machine: &Machine, region: &ShmRegion) -> Result<Memory, Stop> {
    region.check_outside(machine.ram())?;
    region.check_aligned(LARGE_PAGE)?;
    let range = PhysRange { start: region.addr(), end: region.end() };
    paging::map_range(range, Caching::WriteBack)?;
    let flush = X86Flush::detect().ok_or_else(|| Stop::Fail("this processor cannot flush a cache line".into()))?;
    let base = NonNull::new(region.addr() as *mut u8).ok_or_else(|| Stop::Fail("memory at address 0".into()))?;
    let writable = machine.command_line.parameter(MEMORY) != Some(READ_ONLY);
    // SAFETY: the range is mapped one to one for good, outside RAM, and nothing but this module's users knows of it.
    let memory = unsafe { MappedMemory::new(base, usize::try_from(region.len())?, writable, flush) }?;
    // SAFETY: it copies by assembly, and just that.
    let memory = unsafe { memory.with_copy(copy) };
    Ok(memory.with_phys(PhysAddr(region.addr()), Pages::Full)?)
}
