//! What this kernel does between two buffers in its own RAM, without the driver. One is as large as the file, since what
//! many different pages cost is no fault of the driver's.

use super::measure::LARGE;
use crate::arch::copy::Copy;
use alloc::{vec, vec::Vec};
use core::hint::black_box;

/// As many bytes of RAM as the file has.
pub(super) struct Ram {
    words: Vec<u64>,
}

impl Ram {
    /// A multiple of 2 MiB.
    pub(super) fn new(bytes: u64) -> Self {
        // Written, so that the host has given the pages.
        Self { words: vec![1; bytes as usize / 8] }
    }

    fn bytes(&self) -> usize {
        self.words.len() * 8
    }

    /// Goes through the words.
    pub(super) fn scan(&self) {
        for block in black_box(&self.words).chunks_exact(LARGE / 8) {
            black_box(block.iter().fold(0_u64, |sum, word| sum.wrapping_add(*word)));
        }
    }

    /// Copies everything into a buffer, block by block.
    pub(super) fn copy_out(&self, buffer: &mut [u8]) {
        let ram = self.words.as_ptr().cast::<u8>();
        for at in (0..self.bytes()).step_by(buffer.len()) {
            // SAFETY: the RAM is whole blocks of up to 2 MiB, and the buffer is one.
            unsafe { Copy::best().copy(ram.wrapping_add(at), buffer.as_mut_ptr(), buffer.len()) };
        }
    }

    /// Copies a buffer over everything, block by block.
    pub(super) fn copy_in(&mut self, buffer: &[u8]) {
        let ram = self.words.as_mut_ptr().cast::<u8>();
        for at in (0..self.bytes()).step_by(buffer.len()) {
            // SAFETY: as above.
            unsafe { Copy::best().copy(buffer.as_ptr(), ram.wrapping_add(at), buffer.len()) };
        }
    }
}
