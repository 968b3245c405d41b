//! How much stack and how much memory something takes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

const PATTERN: u64 = 0xa5a5_5a5a_a5a5_5a5a;
/// How much of the stack is looked at, in bytes. A test's thread has 2 MiB.
const LOOK: usize = 512 << 10;
/// What the functions of this module may need themselves.
const OWN: usize = 512;

/// Runs `f` and returns how many bytes of stack it took, as far as it wrote to them.
#[inline(never)]
pub(crate) fn stack_of<T>(f: impl FnOnce() -> T) -> (T, usize) {
    let mark = 0u64;
    let top = (&raw const mark).expose_provenance() & !7;
    paint(top);
    let value = f();
    black_box(&mark);
    (value, deepest(top))
}

#[inline(never)]
fn paint(top: usize) {
    for place in (top - LOOK..top - OWN).step_by(8) {
        // SAFETY: this thread's stack reaches further down, and nothing of it that is in use lies there.
        unsafe { std::ptr::with_exposed_provenance_mut::<u64>(place).write_volatile(PATTERN) };
    }
}

#[inline(never)]
fn deepest(top: usize) -> usize {
    // SAFETY: as in `paint`.
    let read = |place| unsafe { std::ptr::with_exposed_provenance::<u64>(place).read_volatile() };
    let place = (top - LOOK..top - OWN).step_by(8).find(|&place| read(place) != PATTERN);
    top - place.unwrap_or(top - OWN)
}

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

/// The system's allocator, which counts what each thread takes and gives back.
pub(crate) struct Counting;

fn count(bytes: isize) {
    // A thread that ends has no count any more.
    let _ = HELD.try_with(|held| {
        held.set(held.get().wrapping_add(bytes));
        let _ = MOST.try_with(|most| most.set(most.get().max(held.get())));
    });
}

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let pointer = unsafe { System.alloc(layout) };
        if !pointer.is_null() {
            count(layout.size() as isize);
        }
        pointer
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `f` and returns how many bytes of heap this thread has taken in it and not given back, and the most that it held.
pub(crate) fn heap_of<T>(f: impl FnOnce() -> T) -> (T, isize, isize) {
    let before = HELD.get();
    MOST.set(before);
    let value = f();
    (value, HELD.get() - before, MOST.get() - before)
}

#[test]
fn the_stack_of_a_function_is_measured() {
    #[inline(never)]
    fn take<const N: usize>() -> u8 {
        let mut bytes = [1u8; N];
        black_box(&mut bytes);
        bytes[N / 2]
    }
    let (_, small) = stack_of(take::<1000>);
    let (_, large) = stack_of(take::<20_000>);
    assert!((1000..8000).contains(&small), "{small}");
    assert!((20_000..32_000).contains(&large), "{large}");
}

#[test]
fn the_heap_of_a_function_is_measured() {
    let (kept, held, most) = heap_of(|| {
        let kept = vec![0u8; 3000];
        black_box(vec![0u8; 5000]);
        kept
    });
    assert_eq!((kept.len(), held, most), (3000, 3000, 8000));
}
