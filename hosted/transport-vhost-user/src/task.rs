//! The number of the thread that calls.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

/// Returns this thread's number, which no other thread of the process has or will have: for
/// [`Platform::task`](virtio_fs::Platform::task).
#[must_use]
pub fn current_task() -> Option<NonZeroU64> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local! {
        static TASK: u64 = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    // A thread that ends may call from what it drops last: it has no number then.
    TASK.try_with(|task| NonZeroU64::new(*task)).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_keeps_its_number_and_shares_it_with_none() {
        let mine = current_task().unwrap();
        assert_eq!(current_task(), Some(mine));
        let others: Vec<_> = (0..4).map(|_| std::thread::spawn(current_task)).collect();
        let mut all: Vec<_> = others.into_iter().map(|other| other.join().unwrap().unwrap()).collect();
        all.push(mine);
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 5);
    }
}
