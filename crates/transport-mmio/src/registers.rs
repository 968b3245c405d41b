//! The registers of a virtio-mmio device (virtio 1.3, 4.2.2).

/// Offset of `MagicValue`: 0x74726976.
pub(crate) const MAGIC: usize = 0x000;
/// Offset of `Version`.
pub(crate) const VERSION: usize = 0x004;
/// Offset of `DeviceID`.
pub(crate) const DEVICE_ID: usize = 0x008;
/// Offset of `VendorID`.
pub(crate) const VENDOR_ID: usize = 0x00c;
/// Offset of `DeviceFeatures`.
pub(crate) const DEVICE_FEATURES: usize = 0x010;
/// Offset of `DeviceFeaturesSel`.
pub(crate) const DEVICE_FEATURES_SEL: usize = 0x014;
/// Offset of `DriverFeatures`.
pub(crate) const DRIVER_FEATURES: usize = 0x020;
/// Offset of `DriverFeaturesSel`.
pub(crate) const DRIVER_FEATURES_SEL: usize = 0x024;
/// Offset of `QueueSel`.
pub(crate) const QUEUE_SEL: usize = 0x030;
/// Offset of `QueueNumMax`.
pub(crate) const QUEUE_NUM_MAX: usize = 0x034;
/// Offset of `QueueNum`.
pub(crate) const QUEUE_NUM: usize = 0x038;
/// Offset of `QueueReady`.
pub(crate) const QUEUE_READY: usize = 0x044;
/// Offset of `QueueNotify`.
pub(crate) const QUEUE_NOTIFY: usize = 0x050;
/// Offset of `InterruptStatus`.
pub(crate) const INTERRUPT_STATUS: usize = 0x060;
/// Offset of `InterruptACK`.
pub(crate) const INTERRUPT_ACK: usize = 0x064;
/// Offset of `Status`.
pub(crate) const STATUS: usize = 0x070;
/// Offset of `QueueDescLow`, the high half follows.
pub(crate) const QUEUE_DESC: usize = 0x080;
/// Offset of `QueueDriverLow`, the high half follows.
pub(crate) const QUEUE_DRIVER: usize = 0x090;
/// Offset of `QueueDeviceLow`, the high half follows.
pub(crate) const QUEUE_DEVICE: usize = 0x0a0;
/// Offset of `SHMSel`.
pub(crate) const SHM_SEL: usize = 0x0ac;
/// Offset of `SHMLenLow`, the high half follows.
pub(crate) const SHM_LEN: usize = 0x0b0;
/// Offset of `SHMBaseLow`, the high half follows.
pub(crate) const SHM_BASE: usize = 0x0b8;
/// Offset of `ConfigGeneration`.
pub(crate) const CONFIG_GENERATION: usize = 0x0fc;
/// Offset of the device configuration.
pub(crate) const CONFIG: usize = 0x100;
