//! Where a device's structures and regions are, according to its configuration space.

use virtio_shm::{Neighbour, ShmError, ShmId, ShmRegion};
use virtio_transport::ConfigurationAccess;

use crate::{
    Note, PciError, Structure, StructureFault,
    bar::Bars,
    capability::{Capabilities, Capability, ID_MSIX, ID_VENDOR},
    config::Config,
    note::Notes,
    regions::{CAP64_LEN, Found, Regions, too_short},
    span::Span,
};

/// The PCI vendor id of virtio devices.
const VENDOR: u16 = 0x1af4;
/// The PCI device id of virtio device id 0, which doesn't exist.
const DEVICE_BASE: u16 = 0x1040;
/// The last PCI device id that belongs to virtio.
const DEVICE_LAST: u16 = 0x107f;
/// The first of the transitional ids, which reach up to `DEVICE_BASE`.
const TRANSITIONAL: u16 = 0x1000;

/// `cfg_type` of the structures (virtio 1.3, 4.1.4).
const CFG_COMMON: u8 = 1;
const CFG_NOTIFY: u8 = 2;
const CFG_ISR: u8 = 3;
const CFG_DEVICE: u8 = 4;
const CFG_SHARED_MEMORY: u8 = 8;

/// The length of `virtio_pci_cap`.
const CAP_LEN: u8 = 16;
/// The length of `virtio_pci_notify_cap`.
const NOTIFY_CAP_LEN: u8 = 20;
/// The offset of `id` in `virtio_pci_cap`.
const CAP_ID: u8 = 5;

/// The length of the common configuration as virtio 1.0 has it, up to and with `queue_device`.
pub(crate) const COMMON_LEN: u64 = 56;

/// MSI-X according to configuration space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Msix {
    /// Where its capability is.
    pub(crate) capability: u8,
    /// How many vectors there are.
    pub(crate) vectors: u16,
    pub(crate) table: Span,
    pba: Span,
}

/// Where everything is.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// The virtio device id.
    pub(crate) device_id: u16,
    pub(crate) common: Span,
    pub(crate) notify: Span,
    pub(crate) notify_multiplier: u32,
    pub(crate) isr: Span,
    pub(crate) config: Option<Span>,
    pub(crate) msix: Option<Msix>,
    pub(crate) regions: Regions,
    pub(crate) notes: Notes,
}

/// The first usable structure of a kind, or else why the first one isn't.
#[derive(Default)]
struct Candidate {
    taken: Option<(u8, Span)>,
    fault: Option<PciError>,
}

impl Candidate {
    fn offer(&mut self, capability: u8, found: Result<Span, PciError>, notes: &mut Notes) {
        match found {
            // The order of the list is the device's order of preference (virtio 1.3, 4.1.4.1).
            Ok(span) if self.taken.is_none() => self.taken = Some((capability, span)),
            Ok(_) => {}
            Err(error) => {
                notes.add(Note::Skipped(error));
                self.fault.get_or_insert(error);
            }
        }
    }

    fn require(self, structure: Structure) -> Result<(u8, Span), PciError> {
        self.taken.ok_or(self.fault.unwrap_or(PciError::Missing { structure }))
    }
}

impl Layout {
    /// That of no device yet.
    pub(crate) const fn new() -> Self {
        const NOWHERE: Span = Span { addr: 0, len: 0 };
        Self {
            device_id: 0,
            common: NOWHERE,
            notify: NOWHERE,
            notify_multiplier: 0,
            isr: NOWHERE,
            config: None,
            msix: None,
            regions: Regions::new(),
            notes: Notes::new(),
        }
    }

    /// Reads it into `self`, which saves the stack a second one. Nothing is changed, except that BARs which capabilities
    /// name are sized.
    pub(crate) fn read<C: ConfigurationAccess>(&mut self, config: &mut Config<'_, C>) -> Result<(), PciError> {
        self.device_id = device_id(config)?;
        let capabilities = Capabilities::read(config)?;
        let mut reader = Reader { config, bars: Bars::default() };
        let Self { regions, notes, msix, .. } = self;

        let mut common = Candidate::default();
        let mut notify = Candidate::default();
        let mut isr = Candidate::default();
        let mut device = Candidate::default();

        for capability in capabilities.iter() {
            match (capability.id, capability.cfg_type) {
                (ID_VENDOR, CFG_COMMON) => {
                    let found = reader.structure(capability, Structure::CommonConfig, CAP_LEN, COMMON_LEN);
                    common.offer(capability.offset, found, notes);
                }
                (ID_VENDOR, CFG_NOTIFY) => {
                    let found = reader.structure(capability, Structure::Notify, NOTIFY_CAP_LEN, 2);
                    notify.offer(capability.offset, found, notes);
                }
                (ID_VENDOR, CFG_ISR) => {
                    let found = reader.structure(capability, Structure::Isr, CAP_LEN, 1);
                    isr.offer(capability.offset, found, notes);
                }
                (ID_VENDOR, CFG_DEVICE) => {
                    let found = reader.structure(capability, Structure::DeviceConfig, CAP_LEN, 1);
                    device.offer(capability.offset, found, notes);
                }
                (ID_VENDOR, CFG_SHARED_MEMORY) => {
                    let found = reader.region(capability);
                    if let Found::Nameless { cap_len } = found {
                        notes.add(Note::MalformedRegion(too_short(capability.offset, cap_len)));
                    }
                    regions.add(capability.offset, found);
                }
                (ID_MSIX, _) if msix.is_none() => match reader.msix(capability) {
                    Ok(found) => *msix = Some(found),
                    Err(error) => notes.add(Note::NoMsix(error)),
                },
                _ => {}
            }
        }

        self.common = common.require(Structure::CommonConfig)?.1;
        let (notify_capability, notify) = notify.require(Structure::Notify)?;
        self.notify = notify;
        self.isr = isr.require(Structure::Isr)?.1;
        self.config = device.taken.map(|(_, span)| span);
        self.notify_multiplier = reader.config.read32(notify_capability + CAP_LEN);
        if !self.notify_multiplier.is_multiple_of(2) {
            let multiplier = self.notify_multiplier;
            return Err(PciError::NotifyMultiplier { capability: notify_capability, multiplier });
        }
        self.check_apart()
    }

    /// The structures other than shared memory.
    fn structures(&self) -> [(Structure, Option<Span>); 6] {
        [
            (Structure::CommonConfig, Some(self.common)),
            (Structure::Notify, Some(self.notify)),
            (Structure::Isr, Some(self.isr)),
            (Structure::DeviceConfig, self.config),
            (Structure::MsixTable, self.msix.map(|msix| msix.table)),
            (Structure::MsixPba, self.msix.map(|msix| msix.pba)),
        ]
    }

    /// Checks that nothing overlaps, by guest-physical addresses: two BARs could be at the same place, too.
    fn check_apart(&mut self) -> Result<(), PciError> {
        let structures = self.structures();
        for (index, &(structure, span)) in structures.iter().enumerate() {
            let Some(span) = span else { continue };
            for &(other, other_span) in &structures[..index] {
                let Some(other_span) = other_span else { continue };
                if !span.overlaps(other_span) {
                    continue;
                }
                let error = PciError::Overlap {
                    structure,
                    addr: span.addr,
                    len: span.len,
                    other,
                    other_addr: other_span.addr,
                    other_len: other_span.len,
                };
                if matches!(structure, Structure::MsixTable | Structure::MsixPba) {
                    // The device can be driven without. The regions must still stay out of the table.
                    if self.msix.is_some() {
                        self.notes.add(Note::NoMsix(error));
                    }
                    self.msix = None;
                } else {
                    return Err(error);
                }
            }
        }
        let neighbours = structures.map(|(structure, span)| (neighbour(structure), span));
        self.regions.settle(&neighbours, &mut self.notes);
        Ok(())
    }
}

/// The virtio device id, if this is a modern virtio device.
fn device_id<C: ConfigurationAccess>(config: &Config<'_, C>) -> Result<u16, PciError> {
    let vendor = config.read16(0);
    let device = config.read16(2);
    match (vendor, device) {
        (u16::MAX, _) => return Err(PciError::NoFunction),
        (VENDOR, TRANSITIONAL..DEVICE_BASE) => return Err(PciError::Transitional { device }),
        (VENDOR, DEVICE_BASE) => return Err(PciError::NotVirtio { device }),
        (VENDOR, DEVICE_BASE..=DEVICE_LAST) => {}
        (VENDOR, _) => return Err(PciError::NotVirtio { device }),
        _ => return Err(PciError::Vendor { vendor }),
    }
    // Bit 7 says that the device has several functions.
    let header = config.read8(0x0e) & 0x7f;
    if header != 0 {
        return Err(PciError::HeaderType { header });
    }
    Ok(device - DEVICE_BASE)
}

fn neighbour(structure: Structure) -> Neighbour {
    match structure {
        Structure::CommonConfig => Neighbour::CommonConfig,
        Structure::Notify => Neighbour::Notify,
        Structure::Isr => Neighbour::Isr,
        Structure::DeviceConfig => Neighbour::DeviceConfig,
        Structure::MsixTable => Neighbour::MsixTable,
        Structure::MsixPba => Neighbour::MsixPba,
    }
}

/// Reads the places that capabilities describe.
struct Reader<'a, 'b, C> {
    config: &'a mut Config<'b, C>,
    bars: Bars,
}

impl<C: ConfigurationAccess> Reader<'_, '_, C> {
    /// The place at `offset` in a BAR.
    fn place(&mut self, bar: u8, offset: u64, len: u64, need: u64, align: u64) -> Result<Span, StructureFault> {
        if len < need {
            return Err(StructureFault::TooShort { len, need });
        }
        if !offset.is_multiple_of(align) {
            return Err(StructureFault::Unaligned { offset, align });
        }
        let place = self.bars.get(self.config, bar).map_err(|fault| StructureFault::Bar { bar, fault })?;
        // Callers have 32-bit numbers, so this is exact.
        if offset.saturating_add(len) > place.size {
            return Err(StructureFault::PastBarEnd { bar, offset, len, bar_len: place.size });
        }
        Ok(Span { addr: place.addr + offset, len })
    }

    /// The structure that a `virtio_pci_cap` describes.
    fn structure(
        &mut self,
        capability: Capability,
        structure: Structure,
        need_cap: u8,
        need: u64,
    ) -> Result<Span, PciError> {
        let Capability { offset: at, len: cap_len, .. } = capability;
        let wrap = |fault| PciError::Structure { capability: at, structure, fault };
        if cap_len < need_cap {
            return Err(wrap(StructureFault::CapabilityTooShort { cap_len, need: need_cap }));
        }
        let bar = self.config.read8(at + 4);
        let offset = self.config.read32(at + 8).into();
        let len = self.config.read32(at + 12).into();
        self.place(bar, offset, len, need, structure.align()).map_err(wrap)
    }

    /// What a `virtio_pci_cap64` says (virtio 1.3, 4.1.4.7).
    fn region(&mut self, capability: Capability) -> Found {
        let Capability { offset: at, len: cap_len, .. } = capability;
        if cap_len <= CAP_ID {
            return Found::Nameless { cap_len };
        }
        let id = ShmId(self.config.read8(at + CAP_ID));
        if cap_len < CAP64_LEN {
            return Found::Short { id, cap_len };
        }
        let bar = self.config.read8(at + 4);
        let offset = u64::from(self.config.read32(at + 16)) << 32 | u64::from(self.config.read32(at + 8));
        let len = u64::from(self.config.read32(at + 20)) << 32 | u64::from(self.config.read32(at + 12));
        Found::Long { id, region: self.region_place(at, id, bar, offset, len) }
    }

    fn region_place(
        &mut self,
        capability: u8,
        id: ShmId,
        bar: u8,
        offset: u64,
        len: u64,
    ) -> Result<ShmRegion, ShmError> {
        let place = self.bars.get(self.config, bar).map_err(|fault| ShmError::Bar { id, capability, bar, fault })?;
        if len == 0 {
            return Err(ShmError::ZeroLength { id, addr: offset });
        }
        let end = offset.checked_add(len).ok_or(ShmError::OffsetOverflow { id, capability, offset, len })?;
        if end > place.size {
            return Err(ShmError::PastBarEnd { id, capability, bar, offset, len, bar_len: place.size });
        }
        // The BAR's end is below 2^64.
        ShmRegion::new(id, place.addr + offset, len)
    }

    /// The MSI-X capability (PCI 3.0, 6.8.2).
    fn msix(&mut self, capability: Capability) -> Result<Msix, PciError> {
        let at = capability.offset;
        let vectors = (self.config.read16(at + 2) & 0x7ff) + 1;
        let table = self.config.read32(at + 4);
        let pba = self.config.read32(at + 8);
        let mut find = |value: u32, structure: Structure, len| {
            let bar = (value & 7) as u8;
            self.place(bar, u64::from(value & !7), len, 1, structure.align()).map_err(|fault| PciError::Structure {
                capability: at,
                structure,
                fault,
            })
        };
        let table = find(table, Structure::MsixTable, u64::from(vectors) * 16)?;
        let pba = find(pba, Structure::MsixPba, u64::from(vectors).div_ceil(64) * 8)?;
        Ok(Msix { capability: at, vectors, table, pba })
    }
}
