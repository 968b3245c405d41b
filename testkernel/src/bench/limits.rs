//! What this kernel does between two buffers in its own RAM, without the driver. One is as large as the file, since what
//! many different pages cost is no fault of the driver's.

use super::{FILE_BYTES, LARGE, SMALL, rate};
use crate::{arch::copy::Copy, scenarios::Outcome};
use alloc::{vec, vec::Vec};
use core::hint::black_box;

pub(super) fn run() -> Outcome {
    // Written, so that the host has given the pages.
    let mut words: Vec<u64> = vec![1; FILE_BYTES as usize / 8];
    rate("limit_scan", FILE_BYTES, || {
        for block in black_box(&words).chunks_exact(LARGE / 8) {
            black_box(block.iter().fold(0_u64, |sum, word| sum.wrapping_add(*word)));
        }
        Ok(())
    })?;
    let mut buffer = vec![1_u8; LARGE];
    let file = words.as_mut_ptr().cast::<u8>();
    for (name, block) in [("limit_read_2m", LARGE), ("limit_read_4k", SMALL)] {
        rate(name, FILE_BYTES, || {
            for at in (0..FILE_BYTES as usize).step_by(block) {
                // SAFETY: the words are whole blocks, the buffer is at least one.
                unsafe { Copy::best().copy(file.wrapping_add(at), buffer.as_mut_ptr(), block) };
            }
            Ok(())
        })?;
    }
    for (name, block) in [("limit_write_2m", LARGE), ("limit_write_4k", SMALL)] {
        rate(name, FILE_BYTES, || {
            for at in (0..FILE_BYTES as usize).step_by(block) {
                // SAFETY: as above, the other way round.
                unsafe { Copy::best().copy(buffer.as_ptr(), file.wrapping_add(at), block) };
            }
            Ok(())
        })?;
    }
    Ok(())
}
