//! A device's structures in memory: the only module here that maps and accesses any.
#![expect(unsafe_code, reason = "registers are accessed through pointers that the embedder's Hal gives")]

use core::{ops::Deref, ptr::NonNull};

use safe_mmio::{
    UniqueMmioPointer, field, field_shared,
    fields::{ReadOnly, ReadPure, ReadPureWrite, WriteOnly},
};
use virtio_drivers::Hal;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::{
    PciError, Structure,
    layout::{COMMON_LEN, Layout, Span},
};

/// `virtio_pci_common_cfg` (virtio 1.3, 4.1.4.3). The 64-bit fields are accessed by halves, as that section allows:
/// nothing says that the structure is aligned to more than 4.
#[repr(C)]
struct CommonConfig {
    device_feature_select: ReadPureWrite<u32>,
    device_feature: ReadPure<u32>,
    driver_feature_select: ReadPureWrite<u32>,
    driver_feature: ReadPureWrite<u32>,
    config_msix_vector: ReadPureWrite<u16>,
    num_queues: ReadPure<u16>,
    device_status: ReadPureWrite<u8>,
    config_generation: ReadPure<u8>,
    queue_select: ReadPureWrite<u16>,
    queue_size: ReadPureWrite<u16>,
    queue_msix_vector: ReadPureWrite<u16>,
    queue_enable: ReadPureWrite<u16>,
    queue_notify_off: ReadPure<u16>,
    queue_desc: [ReadPureWrite<u32>; 2],
    queue_driver: [ReadPureWrite<u32>; 2],
    queue_device: [ReadPureWrite<u32>; 2],
}

const _: () = assert!(size_of::<CommonConfig>() as u64 == COMMON_LEN);

/// An entry of the MSI-X table (PCI 3.0, 6.8.2).
#[repr(C)]
struct MsixEntry {
    address: [ReadPureWrite<u32>; 2],
    data: ReadPureWrite<u32>,
    control: ReadPureWrite<u32>,
}

/// The bit of an entry's control that masks it.
const MSIX_MASKED: u32 = 1;

/// The structures of one device, mapped.
#[derive(Debug)]
pub(crate) struct Mapped {
    common: UniqueMmioPointer<'static, CommonConfig>,
    notify: UniqueMmioPointer<'static, [WriteOnly<u16>]>,
    isr: UniqueMmioPointer<'static, ReadOnly<u8>>,
    config: Option<UniqueMmioPointer<'static, [u8]>>,
    msix: Option<UniqueMmioPointer<'static, [MsixEntry]>>,
}

// SAFETY: through a shared reference only registers that don't change by it are read, which may happen from several
// threads at once.
unsafe impl Sync for Mapped {}

/// The most bytes that are mapped of a notification structure, which a device may claim to have gigabytes of.
const NOTIFY_MAX: u64 = 16 << 20;

/// The most bytes that are mapped of a device configuration.
const CONFIG_MAX: u64 = 64 << 10;

/// The pointer to the first of the `T`s in the first `max` bytes of `span`, and how many there are.
fn map<H: Hal, T>(structure: Structure, span: Span, max: u64) -> Result<NonNull<[T]>, PciError> {
    // The limits are far below what any usize holds.
    let len = span.len.min(max) as usize;
    // SAFETY: the span is inside a memory BAR of this device, which has an address and decodes it, and only one
    // structure claims it.
    let base = unsafe { H::mmio_phys_to_virt(span.addr, len) };
    let addr = base.addr().get();
    let align = align_of::<T>();
    if !addr.is_multiple_of(align) {
        return Err(PciError::Mapping { structure, addr, align });
    }
    Ok(NonNull::slice_from_raw_parts(base.cast(), len / size_of::<T>()))
}

impl Mapped {
    /// Maps what `layout` names, which must come from a device that decodes its memory now.
    pub(crate) fn new<H: Hal>(layout: &Layout) -> Result<Self, PciError> {
        let common = map::<H, CommonConfig>(Structure::CommonConfig, layout.common, COMMON_LEN)?;
        let isr = map::<H, ReadOnly<u8>>(Structure::Isr, layout.isr, 1)?;
        let notify = map::<H, WriteOnly<u16>>(Structure::Notify, layout.notify, NOTIFY_MAX)?;
        let config = layout.config.map(|span| map::<H, u8>(Structure::DeviceConfig, span, CONFIG_MAX)).transpose()?;
        let msix = layout
            .msix
            .map(|msix| map::<H, MsixEntry>(Structure::MsixTable, msix.table, msix.table.len))
            .transpose()?;
        Ok(Self {
            // SAFETY: the Hal gave a valid pointer to the structure's length, aligned as checked; no structures overlap.
            common: unsafe { UniqueMmioPointer::new(common.cast()) },
            // SAFETY: as above.
            notify: unsafe { UniqueMmioPointer::new(notify) },
            // SAFETY: as above.
            isr: unsafe { UniqueMmioPointer::new(isr.cast()) },
            config: config.map(|config| {
                // SAFETY: as above.
                unsafe { UniqueMmioPointer::new(config) }
            }),
            msix: msix.map(|msix| {
                // SAFETY: as above.
                unsafe { UniqueMmioPointer::new(msix) }
            }),
        })
    }

    pub(crate) fn device_features(&mut self) -> u64 {
        field!(self.common, device_feature_select).write(0);
        let low = field_shared!(self.common, device_feature).read();
        field!(self.common, device_feature_select).write(1);
        let high = field_shared!(self.common, device_feature).read();
        u64::from(high) << 32 | u64::from(low)
    }

    pub(crate) fn set_driver_features(&mut self, features: u64) {
        field!(self.common, driver_feature_select).write(0);
        field!(self.common, driver_feature).write(features as u32);
        field!(self.common, driver_feature_select).write(1);
        field!(self.common, driver_feature).write((features >> 32) as u32);
    }

    pub(crate) fn status(&self) -> u8 {
        field_shared!(self.common, device_status).read()
    }

    pub(crate) fn set_status(&mut self, status: u8) {
        field!(self.common, device_status).write(status);
    }

    pub(crate) fn config_generation(&self) -> u8 {
        field_shared!(self.common, config_generation).read()
    }

    pub(crate) fn queue_count(&self) -> u16 {
        field_shared!(self.common, num_queues).read()
    }

    /// Selects the queue that the following calls are about.
    pub(crate) fn select_queue(&mut self, queue: u16) {
        field!(self.common, queue_select).write(queue);
    }

    pub(crate) fn queue_size(&self) -> u16 {
        field_shared!(self.common, queue_size).read()
    }

    pub(crate) fn set_queue_size(&mut self, size: u16) {
        field!(self.common, queue_size).write(size);
    }

    pub(crate) fn queue_notify_off(&self) -> u16 {
        field_shared!(self.common, queue_notify_off).read()
    }

    pub(crate) fn queue_enabled(&self) -> bool {
        field_shared!(self.common, queue_enable).read() != 0
    }

    pub(crate) fn enable_queue(&mut self, descriptors: u64, driver_area: u64, device_area: u64) {
        write_halves(field!(self.common, queue_desc), descriptors);
        write_halves(field!(self.common, queue_driver), driver_area);
        write_halves(field!(self.common, queue_device), device_area);
        field!(self.common, queue_enable).write(1);
    }

    /// Sets the MSI-X vector of the queue, and says which one the device took.
    pub(crate) fn set_queue_vector(&mut self, vector: u16) -> u16 {
        field!(self.common, queue_msix_vector).write(vector);
        field_shared!(self.common, queue_msix_vector).read()
    }

    /// Sets the MSI-X vector of configuration changes, and says which one the device took.
    pub(crate) fn set_config_vector(&mut self, vector: u16) -> u16 {
        field!(self.common, config_msix_vector).write(vector);
        field_shared!(self.common, config_msix_vector).read()
    }

    /// The bytes of the notification structure that are mapped.
    pub(crate) fn notify_len(&self) -> usize {
        self.notify.len() * size_of::<u16>()
    }

    /// Notifies `queue` at the byte offset `offset`; outside the structure nothing happens.
    pub(crate) fn notify(&mut self, offset: usize, queue: u16) {
        if let Some(mut place) = self.notify.get(offset / size_of::<u16>()) {
            place.write(queue);
        }
    }

    /// The pending interrupts, which reading clears.
    pub(crate) fn take_isr(&mut self) -> u8 {
        self.isr.read()
    }

    /// The bytes of the device configuration, if there is one.
    pub(crate) fn config_len(&self) -> Option<usize> {
        self.config.as_ref().map(|config| config.len())
    }

    /// Reads the device configuration; `None` outside of it, or if `offset` isn't aligned.
    pub(crate) fn read_config<T: FromBytes + IntoBytes>(&self, offset: usize) -> Option<T> {
        let config = self.config.as_ref()?;
        let place = config_place(config.ptr(), offset)?;
        // SAFETY: `place` is inside the structure, and aligned.
        let field = unsafe { config.deref().child(place) };
        // SAFETY: a device configuration doesn't change by being read.
        Some(unsafe { field.read_unsafe() })
    }

    /// Writes the device configuration; `None` outside of it, or if `offset` isn't aligned.
    pub(crate) fn write_config<T: IntoBytes + Immutable>(&mut self, offset: usize, value: T) -> Option<()> {
        let config = self.config.as_mut()?;
        let place = config_place(config.ptr(), offset)?;
        // SAFETY: `place` is inside the structure, and aligned.
        let mut field = unsafe { config.child(place) };
        // SAFETY: writing a device configuration is memory-safe by itself.
        unsafe { field.write_unsafe(value) };
        Some(())
    }

    /// Fills an entry of the MSI-X table and sets whether it is masked; `None` if there is no such entry.
    pub(crate) fn set_msix_entry(&mut self, vector: u16, address: u64, data: u32, masked: bool) -> Option<()> {
        let mut entry = self.msix.as_mut()?.get(vector.into())?;
        // An entry must not change while it is unmasked (PCI 3.0, 6.8.3.5).
        mask(entry.reborrow(), true);
        write_halves(field!(entry, address), address);
        field!(entry, data).write(data);
        mask(entry.reborrow(), masked);
        Some(())
    }

    /// Masks or unmasks an entry of the MSI-X table; `None` if there is no such entry.
    pub(crate) fn mask_msix_entry(&mut self, vector: u16, masked: bool) -> Option<()> {
        let mut entry = self.msix.as_mut()?.get(vector.into())?;
        mask(entry.reborrow(), masked);
        Some(())
    }
}

/// Sets the mask bit of an entry; the other bits are reserved and stay.
fn mask(mut entry: UniqueMmioPointer<'_, MsixEntry>, masked: bool) {
    let old = field_shared!(entry, control).read();
    let new = if masked { old | MSIX_MASKED } else { old & !MSIX_MASKED };
    field!(entry, control).write(new);
}

/// Writes a 64-bit field, low half first.
fn write_halves(mut field: UniqueMmioPointer<'_, [ReadPureWrite<u32>; 2]>, value: u64) {
    if let Some(mut low) = field.get(0) {
        low.write(value as u32);
    }
    if let Some(mut high) = field.get(1) {
        high.write((value >> 32) as u32);
    }
}

/// The pointer to a `T` at `offset` in the device configuration `config`.
fn config_place<T>(config: *const [u8], offset: usize) -> Option<NonNull<T>> {
    let end = offset.checked_add(size_of::<T>())?;
    if end > config.len() {
        return None;
    }
    let start = config.cast::<u8>().cast_mut();
    // SAFETY: `offset` is inside the structure, which is one mapping.
    let place = unsafe { start.add(offset) };
    if !place.addr().is_multiple_of(align_of::<T>()) {
        return None;
    }
    NonNull::new(place.cast())
}
