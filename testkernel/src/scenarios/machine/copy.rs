//! How fast memory is copied here, in each way that the kernel knows.

use crate::{
    arch::{clock::Clock, copy::Copy},
    events,
    machine::Machine,
    outcome::{Outcome, ensure},
};
use alloc::{format, vec};
use testkernel_protocol::content::Content;

/// Bytes of the buffers.
const LENGTH: usize = 2 << 20;
/// Bytes copied for each measurement.
const TOTAL: usize = 64 << 20;

/// Any machine. Metrics `copy WAY BLOCK` in MB/s, for information; every way must copy every byte right.
pub(crate) fn copy(_: &Machine) -> Outcome {
    let mut from = vec![0; LENGTH];
    let content = Content::of("copy");
    content.fill(0, &mut from);
    for way in Copy::ALL {
        for (offset, length) in [(0, 0), (1, 1), (0, 7), (3, 64), (5, 127), (0, 4096), (9, 5001), (1, LENGTH - 1)] {
            let mut to = vec![0; LENGTH];
            // SAFETY: both buffers have `offset + length` bytes and are different; no interrupt copies.
            unsafe { way.copy(from[offset..].as_ptr(), to[offset..].as_mut_ptr(), length) };
            let end = offset + length;
            ensure!(to[offset..end] == from[offset..end], "{}: wrong bytes in {offset}..{end}", way.name());
            let outside = to[..offset].iter().chain(&to[end..]).all(|&byte| byte == 0);
            ensure!(outside, "{}: wrote outside {offset}..{end}", way.name());
        }
        let mut to = vec![0; LENGTH];
        for block in [64, 4096, LENGTH] {
            let total = if block < 4096 { TOTAL / 16 } else { TOTAL };
            let begin = Clock::now_ns();
            for index in 0..total / block {
                let offset = index * block % LENGTH;
                // SAFETY: `offset + block` is at most the buffers' length.
                unsafe { way.copy(from[offset..].as_ptr(), to[offset..].as_mut_ptr(), block) };
            }
            let elapsed = (Clock::now_ns() - begin).max(1);
            events::metric(&format!("copy {} {block}", way.name()), total as u64 * 1000 / elapsed, "MB/s");
        }
    }
    let mut to = vec![0; LENGTH];
    let begin = Clock::now_ns();
    for _ in 0..TOTAL / LENGTH {
        to.copy_from_slice(&from);
        core::hint::black_box(&mut to);
    }
    let elapsed = (Clock::now_ns() - begin).max(1);
    events::metric("copy compiler 2097152", TOTAL as u64 * 1000 / elapsed, "MB/s");
    Ok(())
}
