extern crate std;

use core::cell::RefCell;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::vec;
use std::vec::Vec;

use super::*;

fn words<const N: usize>() -> [AtomicU64; N] {
    [const { AtomicU64::new(0) }; N]
}

/// Records what is flushed.
#[derive(Default)]
struct Recorder(RefCell<Vec<(&'static str, usize, usize)>>);

impl CacheFlush for Recorder {
    fn line_size(&self) -> usize {
        64
    }

    unsafe fn write_back(&self, start: NonNull<u8>, len: usize) -> usize {
        self.0.borrow_mut().push(("write back", start.as_ptr() as usize, len));
        len.div_ceil(64)
    }

    unsafe fn invalidate(&self, start: NonNull<u8>, len: usize) -> usize {
        self.0.borrow_mut().push(("invalidate", start.as_ptr() as usize, len));
        len.div_ceil(64)
    }

    fn fence(&self) {
        self.0.borrow_mut().push(("fence", 0, 0));
    }
}

#[test]
fn a_misaligned_base_is_refused() {
    let words = words::<4>();
    let base = NonNull::from(&words).cast::<u8>();
    for shift in 1..8 {
        // SAFETY: the shift stays inside the 32 bytes.
        let shifted = unsafe { base.add(shift) };
        // SAFETY: the bytes are the atomics above.
        let memory = unsafe { MappedMemory::new(shifted, 16, true, NoFlush) };
        let value = (base.as_ptr() as usize + shift) as u64;
        assert_eq!(memory.unwrap_err(), Error::Unaligned { value, align: 8 });
    }
    // SAFETY: nothing is accessed: the length is refused.
    let memory = unsafe { MappedMemory::new(base, usize::MAX, true, NoFlush) };
    assert!(matches!(memory.unwrap_err(), Error::RangeOverflow { .. }));
}

#[test]
fn accesses_stay_inside() {
    let words = words::<4>();
    let memory = MappedMemory::of_words(&words);
    let outside = |offset, len| Error::OutOfWindow { offset: DeviceOffset(offset), len, window_len: 32 };
    assert_eq!(memory.read(DeviceOffset(31), &mut [0; 2]), Err(outside(31, 2)));
    assert_eq!(memory.write(DeviceOffset(u64::MAX), &[0; 2]), Err(outside(u64::MAX, 2)));
    assert_eq!(memory.load_u64(DeviceOffset(32)), Err(outside(32, 8)));
    assert_eq!(memory.view(DeviceOffset(1), 32).unwrap_err(), outside(1, 32));
    assert_eq!(memory.write_back(DeviceOffset(0), 33), Err(outside(0, 33)));
    assert_eq!(memory.invalidate(DeviceOffset(0), 33), Err(outside(0, 33)));
    let view = memory.view(DeviceOffset(8), 16).unwrap();
    assert!(view.read(15, &mut [0; 2]).is_err() && view.part(8, 9).is_err() && view.load_u64(9).is_err());
    assert!(memory.write(DeviceOffset(31), &[9]).is_ok());
    assert_eq!(memory.read(DeviceOffset(32), &mut []), Ok(()));
}

#[test]
fn memory_for_loads_gives_no_way_to_store() {
    let words = words::<4>();
    // SAFETY: the bytes are the atomics above, which outlive the memory.
    let memory = unsafe { MappedMemory::new(NonNull::from(&words).cast(), 32, false, NoFlush) }.unwrap();
    assert!(!memory.is_writable());
    assert_eq!(memory.write(DeviceOffset(0), &[1]), Err(Error::ReadOnly));
    assert_eq!(memory.store_u64(DeviceOffset(0), 1), Err(Error::ReadOnly));
    assert_eq!(memory.writable_view(DeviceOffset(0), 8).unwrap_err(), Error::ReadOnly);
    assert_eq!(memory.load_u64(DeviceOffset(0)), Ok(0));
    words[0].store(5_u64.to_le(), Ordering::Relaxed);
    assert_eq!(memory.load_u64(DeviceOffset(0)), Ok(5));
}

#[test]
fn numbers_are_little_endian_and_aligned() {
    let words = words::<4>();
    let memory = MappedMemory::of_words(&words);
    memory.store_u64(DeviceOffset(8), 0x0807_0605_0403_0201).unwrap();
    let mut bytes = [0; 8];
    memory.read(DeviceOffset(8), &mut bytes).unwrap();
    assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert!(matches!(memory.load_u64(DeviceOffset(4)), Err(Error::Unaligned { align: 8, .. })));
    let view = memory.writable_view(DeviceOffset(4), 20).unwrap();
    view.store_u64(4, 7).unwrap();
    assert_eq!((view.load_u64(4), view.load_u8(4)), (Ok(7), Ok(7)));
    assert!(matches!(view.store_u64(0, 7), Err(Error::Unaligned { .. })));
}

#[test]
fn views_show_later_stores_and_their_parts_the_right_bytes() {
    let words = words::<512>();
    let memory = MappedMemory::of_words(&words).with_phys(PhysAddr(0x1000), crate::Pages::Full).unwrap();
    let view = memory.view(DeviceOffset(100), 1000).unwrap();
    let part = view.part(28, 10).unwrap();
    assert_eq!((part.len(), part.phys()), (10, Some(PhysAddr(0x1080))));
    memory.write(DeviceOffset(128), b"0123456789").unwrap();
    let mut bytes = [0; 10];
    part.read(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"0123456789");
    let writable = memory.writable_view(DeviceOffset(128), 10).unwrap().writable_part(5, 5).unwrap();
    writable.write(0, b"abcde").unwrap();
    part.read(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"01234abcde");
}

#[test]
fn physical_addresses_are_known_or_refused() {
    let words = words::<512>();
    let memory = MappedMemory::of_words(&words);
    assert_eq!(memory.phys(DeviceOffset(0), 8), Err(Error::Platform(Capability::Faults)));
    assert!(memory.capabilities().check_faults().is_err());
    assert!(memory.with_phys(PhysAddr(0x1008), crate::Pages::Full).is_err());
    assert!(memory.with_phys(PhysAddr(u64::MAX - 4095), crate::Pages::Full).is_err());
    let memory = memory.with_phys(PhysAddr(0x20_0000), crate::Pages::Full).unwrap();
    assert_eq!(memory.phys(DeviceOffset(4096 - 8), 8), Ok(PhysAddr(0x20_0ff8)));
    assert!(memory.phys(DeviceOffset(4096 - 8), 9).is_err());
    assert!(memory.capabilities().check_pins().is_ok());
}

#[test]
fn flushes_reach_exactly_the_bytes_asked_for() {
    let words = words::<16>();
    let base = NonNull::from(&words).cast::<u8>();
    // SAFETY: the bytes are the atomics above, which outlive the memory.
    let memory = unsafe { MappedMemory::new(base, 128, true, Recorder::default()) }.unwrap();
    memory.write_back(DeviceOffset(8), 40).unwrap();
    memory.invalidate(DeviceOffset(64), 64).unwrap();
    memory.fence();
    let at = base.as_ptr() as usize;
    let expected = vec![("write back", at + 8, 40), ("invalidate", at + 64, 64), ("fence", 0, 0)];
    assert_eq!(*memory.flush().0.borrow(), expected);
}

/// What is published by an ordered store is seen whole by whoever sees the store.
#[test]
fn an_ordered_store_publishes_the_bytes_before_it() {
    let words = words::<64>();
    let memory = MappedMemory::of_words(&words);
    let rounds = if cfg!(miri) { 20 } else { 2000 };
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=rounds {
                while memory.load_u64(DeviceOffset(8)) != Ok(round - 1) {
                    thread::yield_now();
                }
                memory.write(DeviceOffset(64), &[round as u8; 100]).unwrap();
                memory.store_u64(DeviceOffset(0), round).unwrap();
            }
        });
        for round in 1..=rounds {
            while memory.load_u64(DeviceOffset(0)) != Ok(round) {
                thread::yield_now();
            }
            let mut bytes = [0; 100];
            memory.read(DeviceOffset(64), &mut bytes).unwrap();
            assert_eq!(bytes, [round as u8; 100]);
            memory.store_u64(DeviceOffset(8), round).unwrap();
        }
    });
}

#[test]
fn words_in_view_are_the_aligned_ones() {
    let words = words::<4>();
    let memory = MappedMemory::of_words(&words);
    for (index, word) in words.iter().enumerate() {
        word.store(u64::from_ne_bytes([index as u8 + 1; 8]), Ordering::Relaxed);
    }
    let seen = |offset, len| -> Vec<u8> {
        memory.view(DeviceOffset(offset), len).unwrap().words().map(|word| word.to_le_bytes()[3]).collect()
    };
    assert_eq!(seen(0, 32), [1, 2, 3, 4]);
    assert_eq!(seen(1, 31), [2, 3, 4]);
    assert_eq!(seen(8, 23), [2, 3]);
    assert_eq!(seen(9, 6), [0; 0]);
    assert_eq!(seen(32, 0), [0; 0]);
}

#[test]
fn a_loop_through_the_words_in_view_meets_each_once() {
    let words = words::<21>();
    let memory = MappedMemory::of_words(&words);
    for (word, value) in words.iter().zip(1_u64..) {
        word.store(value.to_le(), Ordering::Relaxed);
    }
    for (offset, len) in [(0, 168), (0, 64), (8, 64), (0, 56), (1, 167), (16, 128), (160, 8), (168, 0)] {
        let view = memory.view(DeviceOffset(offset), len).unwrap();
        let expected: Vec<u64> = (offset.div_ceil(8) + 1..=(offset + len) / 8).collect();
        let mut seen = Vec::new();
        view.words().for_each(|word| seen.push(word));
        assert_eq!(seen, expected);
        let mut rest = view.words();
        assert_eq!((rest.len(), rest.next()), (expected.len(), expected.first().copied()));
        assert_eq!(rest.fold(0, u64::wrapping_add), expected.iter().skip(1).sum::<u64>());
    }
}

#[test]
fn the_embedders_copy_is_used_for_both_ways() {
    static COPIES: AtomicUsize = AtomicUsize::new(0);
    unsafe fn counted(from: *const u8, to: *mut u8, len: usize) {
        COPIES.fetch_add(1, Ordering::Relaxed);
        for at in 0..len {
            // SAFETY: the caller's promise.
            let byte = unsafe { from.wrapping_add(at).read_volatile() };
            // SAFETY: as above.
            unsafe { to.wrapping_add(at).write_volatile(byte) };
        }
    }
    let words = words::<4>();
    // SAFETY: it copies as it must.
    let memory = unsafe { MappedMemory::of_words(&words).with_copy(counted) };
    memory.write(DeviceOffset(3), b"abc").unwrap();
    let mut bytes = [0; 5];
    memory.read(DeviceOffset(2), &mut bytes).unwrap();
    assert_eq!((&bytes, COPIES.load(Ordering::Relaxed)), (b"\0abc\0", 2));
}
