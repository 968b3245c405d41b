//! How a run ends: the kernel writes a value to QEMU's isa-debug-exit device, and QEMU ends with a status of its own making.

/// I/O port of QEMU's isa-debug-exit device.
pub const PORT: u16 = 0xf4;

/// Written when the command or scenario succeeded, or does not apply.
pub const PASSED: u32 = 16;
/// Written when it failed.
pub const FAILED: u32 = 17;

/// The status that QEMU ends with after `value` was written. Those of [`PASSED`] and [`FAILED`], 33 and 35, are none that
/// QEMU's own failures have.
pub const fn status(value: u32) -> i32 {
    (2 * value + 1) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_differ_from_those_of_qemu() {
        assert_eq!([status(PASSED), status(FAILED)], [33, 35]);
    }
}
