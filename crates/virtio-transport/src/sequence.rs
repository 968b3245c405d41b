//! The status sequence of virtio 1.3, 3.1.1, for those who write a transport.

use core::hint::spin_loop;

use crate::DeviceStatus;

/// How often a register is read, unless the embedder says otherwise, before the device counts as stuck.
pub const POLL_LIMIT: u32 = 1_000_000;

/// The order in which status bits are set (virtio 1.3, 3.1.1), each by a write of its own. Anything else follows.
const STATUS_ORDER: [DeviceStatus; 4] =
    [DeviceStatus::ACKNOWLEDGE, DeviceStatus::DRIVER, DeviceStatus::FEATURES_OK, DeviceStatus::DRIVER_OK];

/// The status register of a transport.
pub trait StatusRegister {
    /// Reads the register.
    fn read_status(&self) -> u32;

    /// Writes the register.
    fn write_status(&mut self, status: u32);

    /// Called before DRIVER_OK is set.
    fn before_driver_ok(&mut self) {}
}

/// A device did not finish its reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResetTimeout {
    /// What the status register says.
    pub status: u32,
    /// How often it was read.
    pub polls: u32,
}

/// The status bits that were written since the last reset: the driver's own copy, not what the device says.
///
/// The type is `Copy`: a transport takes it out of itself, lets it write to itself, and stores what comes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatusSequence {
    written: DeviceStatus,
}

impl StatusSequence {
    /// The sequence of a device that was not touched yet.
    pub const fn new() -> Self {
        Self { written: DeviceStatus::empty() }
    }

    /// Whether nothing was written since the last reset.
    pub const fn is_empty(self) -> bool {
        self.written.is_empty()
    }

    /// Sets the bits of `status`, each newly set one by a write of its own; bits that are set already stay set, as
    /// virtio 1.3, 2.1.1 demands. FEATURES_OK is read back: if the device does not accept the features, nothing else is
    /// set.
    #[must_use]
    pub fn set(mut self, register: &mut impl StatusRegister, status: DeviceStatus) -> Self {
        for bit in STATUS_ORDER {
            if !status.contains(bit) || self.written.contains(bit) {
                continue;
            }
            if bit == DeviceStatus::DRIVER_OK {
                register.before_driver_ok();
            }
            self.write(register, bit);
            if bit == DeviceStatus::FEATURES_OK && register.read_status() & bit.bits() == 0 {
                self.written -= bit;
                return self;
            }
        }
        if !self.written.contains(status) {
            self.write(register, status);
        }
        self
    }

    fn write(&mut self, register: &mut impl StatusRegister, bits: DeviceStatus) {
        self.written |= bits;
        register.write_status(self.written.bits());
    }
}

/// Waits until a device has done the reset that was asked for, for as long as `keep_waiting` says so.
///
/// # Errors
///
/// [`ResetTimeout`] if the status is not 0 by then.
pub fn wait_for_reset(
    register: &impl StatusRegister,
    mut keep_waiting: impl FnMut() -> bool,
) -> Result<(), ResetTimeout> {
    let mut polls = 0;
    loop {
        let status = register.read_status();
        if status == 0 {
            return Ok(());
        }
        polls += 1;
        if !keep_waiting() {
            return Err(ResetTimeout { status, polls });
        }
        spin_loop();
    }
}

/// A `keep_waiting` that allows this many reads.
pub fn at_most(mut polls: u32) -> impl FnMut() -> bool {
    move || {
        polls = polls.saturating_sub(1);
        polls > 0
    }
}
