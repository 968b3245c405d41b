//! A number of 64 bits that is read without a lock where it is known not to change.

use core::sync::atomic::Ordering;

/// 64 bits in one atomic.
#[cfg(target_has_atomic = "64")]
#[derive(Debug)]
pub(crate) struct Wide(core::sync::atomic::AtomicU64);

#[cfg(target_has_atomic = "64")]
impl Wide {
    pub(crate) const fn new(value: u64) -> Self {
        Self(core::sync::atomic::AtomicU64::new(value))
    }

    #[inline]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// 64 bits in two atomics. Read while it changes it may be half of each; who has to know makes sure that it does not.
#[cfg(not(target_has_atomic = "64"))]
#[derive(Debug)]
pub(crate) struct Wide([core::sync::atomic::AtomicU32; 2]);

#[cfg(not(target_has_atomic = "64"))]
impl Wide {
    pub(crate) const fn new(value: u64) -> Self {
        use core::sync::atomic::AtomicU32;
        Self([AtomicU32::new(value as u32), AtomicU32::new((value >> 32) as u32)])
    }

    pub(crate) fn get(&self) -> u64 {
        u64::from(self.0[1].load(Ordering::Relaxed)) << 32 | u64::from(self.0[0].load(Ordering::Relaxed))
    }

    pub(crate) fn set(&self, value: u64) {
        self.0[0].store(value as u32, Ordering::Relaxed);
        self.0[1].store((value >> 32) as u32, Ordering::Relaxed);
    }
}
