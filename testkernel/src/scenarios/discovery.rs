//! Devices and their shared-memory regions are found, wherever the firmware put them.

use crate::{
    arch::clock::Clock,
    cmdline,
    devices::{self, Device, Place},
    events,
    machine::Machine,
    memory::{
        LARGE_PAGE, PhysRange,
        paging::{self, Caching},
    },
    outcome::{Outcome, Stop, ensure},
};
use virtio_shm::{FILE_SYSTEM, GPU, ShmId, ShmRegion, ShmTransport};

/// The id of a GPU's host-visible memory (virtio 1.3, 5.7.6.10).
const GPU_HOST_VISIBLE: ShmId = ShmId(1);

/// Machine: a file system device with a window. Info `window` is address and length; `window=BYTES` on the command line
/// says how long it must be.
pub(crate) fn pci_window_found(machine: &Machine) -> Outcome {
    let (_, region) = window(machine)?;
    expect_length(machine, region)?;
    Ok(())
}

/// Machine: a file system device without a window, on PCI or virtio-mmio. Having none is not an error.
pub(crate) fn no_window_is_normal(machine: &Machine) -> Outcome {
    let mut device = file_system(machine)?;
    let region = device.shm_region(ShmId::FS_DAX_WINDOW)?;
    ensure!(region.is_none(), "{}: there is a window: {region:?}", device.place());
    let mut count = 0;
    device.for_each_shm_region(&mut |_| count += 1);
    ensure!(count == 0, "{}: {count} shared-memory regions", device.place());
    Ok(())
}

/// Machine: a file system device with a window of 16 MiB, 256 MiB, 1 GiB or 4 GiB (`window=BYTES`), which the firmware
/// puts below or above 4 GiB. Both ends of it can be mapped in large pages and read.
pub(crate) fn window_sizes(machine: &Machine) -> Outcome {
    let (_, region) = window(machine)?;
    expect_length(machine, region)?;
    region.check_aligned(LARGE_PAGE)?;
    region.check_outside(machine.ram())?;
    let begin = Clock::now_ns();
    paging::map_range(PhysRange { start: region.addr(), end: region.end() }, Caching::WriteBack)?;
    events::metric("map_window", Clock::now_ns() - begin, "ns");
    for address in [region.addr(), region.end() - LARGE_PAGE, region.end() - 8] {
        let page = paging::lookup(address);
        ensure!(page == Some((LARGE_PAGE, Caching::WriteBack)), "{address:#x} is mapped as {page:?}");
        let word = paging::read_word(address);
        ensure!(word == Some(0), "a part of the window that nothing is mapped into reads {word:?}");
    }
    Ok(())
}

/// Machine: a virtio-gpu with host memory of 256 MiB (`window=BYTES`): region 1, and no other.
pub(crate) fn second_device(machine: &Machine) -> Outcome {
    let region = gpu_region(machine)?;
    expect_length(machine, region)
}

/// Machine: a virtio-gpu with host memory of 8 GiB, so that the length doesn't fit 32 bits.
pub(crate) fn region_over_4g(machine: &Machine) -> Outcome {
    let region = gpu_region(machine)?;
    ensure!(region.len() == 8 << 30, "the region has {:#x} bytes", region.len());
    Ok(())
}

/// The first file system device.
fn file_system(machine: &Machine) -> Result<Device, Stop> {
    Ok(devices::open(first(machine, FILE_SYSTEM)?)?)
}

fn first(machine: &Machine, virtio_id: u16) -> Result<Place, Stop> {
    let places = devices::find(virtio_id, &machine.command_line.mmio);
    match places.first() {
        Some(&place) => Ok(place),
        None => Err(Stop::Fail(alloc::format!("there is no virtio device {virtio_id}"))),
    }
}

fn window(machine: &Machine) -> Result<(Device, ShmRegion), Stop> {
    let mut device = file_system(machine)?;
    let region = device.shm_region(ShmId::FS_DAX_WINDOW)?;
    let Some(region) = region else {
        return Err(Stop::Fail(alloc::format!("{}: there is no window", device.place())));
    };
    let mut regions = 0;
    device.for_each_shm_region(&mut |_| regions += 1);
    ensure!(regions == 1, "{}: {regions} shared-memory regions", device.place());
    report(region);
    Ok((device, region))
}

fn gpu_region(machine: &Machine) -> Result<ShmRegion, Stop> {
    let mut device = devices::open(first(machine, GPU)?)?;
    let window = device.shm_region(ShmId::FS_DAX_WINDOW)?;
    ensure!(window.is_none(), "region 0 of a GPU is {window:?}");
    let Some(region) = device.shm_region(GPU_HOST_VISIBLE)? else {
        return Err(Stop::Fail("the GPU has no region 1".into()));
    };
    region.check_outside(machine.ram())?;
    report(region);
    Ok(region)
}

fn report(region: ShmRegion) {
    events::info("window", &format_args!("{:#x} {:#x}", region.addr(), region.len()));
}

fn expect_length(machine: &Machine, region: ShmRegion) -> Outcome {
    if let Some(text) = machine.command_line.parameter("window") {
        let expected = cmdline::number(text);
        ensure!(expected == Some(region.len()), "the region has {:#x} bytes, not {text}", region.len());
    }
    Ok(())
}
