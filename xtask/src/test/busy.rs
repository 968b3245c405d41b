//! Keeping all processors busy, so that tests which depend on the clock show it.

use std::{
    hint,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    thread::JoinHandle,
};

/// Threads that compute for nothing until this is dropped; they end with this program in any case.
#[derive(Debug)]
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Two on each processor, so that a test waits for its turn at least as long as it runs.
    pub(super) fn begin() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let count = 2 * thread::available_parallelism().map_or(1, usize::from);
        let threads = (0..count)
            .map(|_| {
                let stop = Arc::clone(&stop);
                thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        hint::spin_loop();
                    }
                })
            })
            .collect();
        Self { stop, threads }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // They cannot panic, and have nothing to say.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_ends_when_it_is_dropped() {
        let load = Load::begin();
        let stop = Arc::clone(&load.stop);
        assert!(load.threads.len() >= 2 && load.threads.iter().all(|thread| !thread.is_finished()));
        drop(load);
        assert_eq!(Arc::strong_count(&stop), 1, "a thread still has it");
    }
}
