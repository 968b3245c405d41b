//! virtio devices on either transport, and how their interrupts reach the processor.

use crate::{
    arch::{
        apic,
        ioapic::{self, Line, RouteError, Trigger},
        vectors::DeviceVector,
    },
    cmdline::{Interrupts, MmioWord},
    hal::KernelMemory,
    memory::{
        PhysRange,
        paging::{self, Caching, MapError},
    },
    pci::{self, ConfigPorts},
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::{fmt, ptr::NonNull};
use spin::Mutex;
use thiserror::Error;
use transport_mmio::{MmioError, MmioTransport};
use transport_pci::{MsixMessage, PciError, PciTransport};
use virtio_fs::{
    ConfigError, ConfigurationAccess, DeviceStatus, InterruptStatus, PciFunction, PhysAddr, ShmError, ShmId, ShmRegion,
    ShmTransport, Transport,
};
use virtio_transport::VolatileRegisters;

/// PCI vendor of virtio devices (virtio 1.3, 4.1.2).
const PCI_VENDOR: u16 = 0x1af4;
/// PCI device id of a modern virtio device, less its virtio id.
const PCI_MODERN: u16 = 0x1040;
/// Offset of the word with the interrupt line that the firmware chose (PCI 3.0, 6.2.4).
const PCI_INTERRUPT_LINE: u8 = 0x3c;
/// Where messages that interrupt a processor go; its id belongs from bit 12 on.
const MESSAGE_ADDRESS: u64 = 0xfee0_0000;

/// Where a device was found. Nothing in it was touched yet.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// A PCI function.
    Pci(PciFunction),
    /// A register block.
    Mmio(MmioWord),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pci(function) => write!(f, "PCI {function}"),
            Self::Mmio(word) => write!(f, "virtio-mmio at {:#x}", word.address),
        }
    }
}

/// Why a device cannot be used.
#[derive(Debug, Error)]
pub(crate) enum DeviceError {
    /// The PCI transport refused it.
    #[error("the PCI device cannot be driven")]
    Pci(#[from] PciError),
    /// The MMIO transport refused it.
    #[error("the virtio-mmio device cannot be driven")]
    Mmio(#[from] MmioError),
    /// Its registers cannot be mapped.
    #[error("its registers cannot be mapped")]
    Map(#[from] MapError),
    /// Its interrupt cannot be routed.
    #[error("its interrupt cannot be routed")]
    Route(#[from] RouteError),
    /// It has no such kind of interrupt.
    #[error("it has no interrupts of the kind that was asked for")]
    NoInterrupt,
    /// All vectors are taken.
    #[error("no interrupt vector is left")]
    NoVector,
}

/// Every place where a virtio device with this id may be: PCI functions that say so, and virtio-mmio blocks that were
/// looked into.
pub(crate) fn find(virtio_id: u16, mmio: &[MmioWord]) -> Vec<Place> {
    let mut places: Vec<Place> = pci::functions()
        .into_iter()
        .filter(|(_, info)| info.vendor_id == PCI_VENDOR && info.device_id == PCI_MODERN + virtio_id)
        .map(|(function, _)| Place::Pci(function.into()))
        .collect();
    for &word in mmio {
        match open_mmio(word) {
            Ok(transport) if transport.device_id() == virtio_id => places.push(Place::Mmio(word)),
            Ok(_) | Err(DeviceError::Mmio(MmioError::NoDevice)) => {}
            Err(error) => log::warn!("{}: {error:?}", Place::Mmio(word)),
        }
    }
    places
}

/// Takes a device: resets it and makes it ready for a driver.
///
/// # Errors
/// When the transport refuses it.
pub(crate) fn open(place: Place) -> Result<Device, DeviceError> {
    let bus = match place {
        Place::Pci(function) => Bus::Pci(Box::new(PciTransport::new(&mut ConfigPorts, function, &KernelMemory)?)),
        Place::Mmio(word) => Bus::Mmio(open_mmio(word)?),
    };
    Ok(Device { place, inner: Arc::new(Mutex::new(Inner { bus, queue_vector: None })) })
}

fn open_mmio(word: MmioWord) -> Result<MmioTransport<VolatileRegisters<'static>>, DeviceError> {
    let range = PhysRange { start: word.address, end: word.address.saturating_add(word.size) };
    paging::map_range(range, Caching::Uncached)?;
    let base = NonNull::new(word.address as *mut u8).ok_or(DeviceError::Map(MapError::OutOfReach(range)))?;
    let size = usize::try_from(word.size).map_err(|_| DeviceError::Map(MapError::OutOfReach(range)))?;
    // SAFETY: the firmware or VMM says that a virtio device is there; the range is mapped, uncached, for good. `find`
    // drops what it opens before anyone else opens it.
    Ok(unsafe { MmioTransport::from_base(base, size) }?)
}

/// How a device interrupts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeviceInterrupt {
    /// The vector that it raises.
    pub(crate) vector: DeviceVector,
    /// The line, which stays masked after each interrupt until the device was acknowledged.
    pub(crate) line: Option<Line>,
}

/// A virtio device on either transport. Clones are the same device: the driver has one, and whoever acknowledges
/// interrupts another.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    place: Place,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    bus: Bus,
    /// The MSI-X entry that queues are given when they are set up: a reset takes it from them.
    queue_vector: Option<u16>,
}

#[derive(Debug)]
enum Bus {
    Pci(Box<PciTransport>),
    Mmio(MmioTransport<VolatileRegisters<'static>>),
}

impl Device {
    /// Where it is.
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// Makes the device interrupt in the given way; `None` when it is to be polled.
    ///
    /// # Errors
    /// When it cannot, or no vector is left.
    pub(crate) fn connect(&self, way: Interrupts) -> Result<Option<DeviceInterrupt>, DeviceError> {
        let inner = &mut *self.inner.lock();
        let way = match (way, &inner.bus) {
            (Interrupts::Best, Bus::Pci(transport)) if transport.msix_vectors() > 0 => Interrupts::MsiX,
            (Interrupts::Best, _) => Interrupts::Line,
            (chosen, _) => chosen,
        };
        match (way, &mut inner.bus) {
            (Interrupts::Poll, Bus::Pci(transport)) => {
                transport.set_line_enabled(&mut ConfigPorts, false);
                Ok(None)
            }
            (Interrupts::Poll, Bus::Mmio(_)) => Ok(None),
            (Interrupts::MsiX, Bus::Pci(transport)) => {
                if transport.msix_vectors() == 0 {
                    return Err(DeviceError::NoInterrupt);
                }
                let vector = DeviceVector::take().ok_or(DeviceError::NoVector)?;
                let address = MESSAGE_ADDRESS | u64::from(apic::id()) << 12;
                transport.set_msix_message(0, MsixMessage { address, data: u32::from(vector.number()) })?;
                transport.enable_msix(&mut ConfigPorts)?;
                inner.queue_vector = Some(0);
                Ok(Some(DeviceInterrupt { vector, line: None }))
            }
            (Interrupts::MsiX, Bus::Mmio(_)) => Err(DeviceError::NoInterrupt),
            (Interrupts::Best | Interrupts::Line, Bus::Pci(transport)) => {
                let irq = u32::from(ConfigPorts.read8(transport.function(), PCI_INTERRUPT_LINE));
                if irq == 0 || irq == 0xff {
                    return Err(DeviceError::NoInterrupt);
                }
                let interrupt = line(irq)?;
                transport.set_line_enabled(&mut ConfigPorts, true);
                Ok(Some(interrupt))
            }
            (Interrupts::Best | Interrupts::Line, Bus::Mmio(_)) => match self.place {
                Place::Mmio(word) => line(word.irq).map(Some),
                Place::Pci(_) => Err(DeviceError::NoInterrupt),
            },
        }
    }

    /// Has the device's messages go to a processor that does not exist, so that every interrupt is lost.
    ///
    /// # Errors
    /// When it does not interrupt by messages.
    pub(crate) fn lose_interrupts(&self) -> Result<(), DeviceError> {
        /// No local controller has this id.
        const NOBODY: u64 = 0xfe;
        match &mut self.inner.lock().bus {
            Bus::Pci(transport) if transport.msix_vectors() > 0 => {
                Ok(transport
                    .set_msix_message(0, MsixMessage { address: MESSAGE_ADDRESS | NOBODY << 12, data: 0x30 })?)
            }
            Bus::Pci(_) | Bus::Mmio(_) => Err(DeviceError::NoInterrupt),
        }
    }

    /// Gives a queue its MSI-X entry, if interrupts come that way.
    fn give_vector(&self, queue: u16) {
        let inner = &mut *self.inner.lock();
        if let (Some(vector), Bus::Pci(transport)) = (inner.queue_vector, &mut inner.bus)
            && let Err(error) = transport.set_queue_vector(queue, Some(vector))
        {
            log::error!("queue {queue} gets no interrupt: {error}");
        }
    }
}

fn line(irq: u32) -> Result<DeviceInterrupt, DeviceError> {
    let vector = DeviceVector::take().ok_or(DeviceError::NoVector)?;
    let line = ioapic::route(irq, vector.number(), apic::id(), Trigger::Level)?;
    // Every interrupt masks the line from its first on; whoever made the device content unmasks it.
    vector.set_line(line);
    line.unmask();
    Ok(DeviceInterrupt { vector, line: Some(line) })
}

/// Passes a call on to whichever transport it is.
macro_rules! pass_on {
    ($self:ident, $transport:ident => $call:expr) => {
        match &mut $self.inner.lock().bus {
            Bus::Pci($transport) => $call,
            Bus::Mmio($transport) => $call,
        }
    };
}

impl Transport for Device {
    fn device_id(&self) -> u16 {
        pass_on!(self, transport => transport.device_id())
    }

    fn read_device_features(&mut self) -> u64 {
        pass_on!(self, transport => transport.read_device_features())
    }

    fn write_driver_features(&mut self, features: u64) {
        pass_on!(self, transport => transport.write_driver_features(features));
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        pass_on!(self, transport => transport.max_queue_size(queue))
    }

    fn notify(&mut self, queue: u16) {
        pass_on!(self, transport => transport.notify(queue));
    }

    fn get_status(&self) -> DeviceStatus {
        pass_on!(self, transport => transport.get_status())
    }

    fn set_status(&mut self, status: DeviceStatus) {
        pass_on!(self, transport => transport.set_status(status));
    }

    fn begin_reset(&mut self) {
        pass_on!(self, transport => transport.begin_reset());
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver_area: PhysAddr,
        device_area: PhysAddr,
    ) {
        self.give_vector(queue);
        pass_on!(self, transport => transport.queue_set(queue, size, descriptors, driver_area, device_area));
    }

    fn queue_unset(&mut self, queue: u16) {
        pass_on!(self, transport => transport.queue_unset(queue));
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        pass_on!(self, transport => transport.queue_used(queue))
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        pass_on!(self, transport => transport.ack_interrupt())
    }

    fn read_config_generation(&self) -> u32 {
        pass_on!(self, transport => transport.read_config_generation())
    }

    fn read_config(&self, offset: usize, width: usize, bytes: &mut [u8]) -> Result<(), ConfigError> {
        pass_on!(self, transport => transport.read_config(offset, width, bytes))
    }

    fn write_config(&mut self, offset: usize, width: usize, bytes: &[u8]) -> Result<(), ConfigError> {
        pass_on!(self, transport => transport.write_config(offset, width, bytes))
    }
}

impl ShmTransport for Device {
    fn shm_region(&mut self, id: ShmId) -> Result<Option<ShmRegion>, ShmError> {
        pass_on!(self, transport => transport.shm_region(id))
    }

    fn for_each_shm_region(&mut self, visit: &mut dyn FnMut(Result<ShmRegion, ShmError>)) {
        pass_on!(self, transport => transport.for_each_shm_region(visit));
    }
}
