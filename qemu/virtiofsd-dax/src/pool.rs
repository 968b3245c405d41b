//! The threads that carry out requests.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::scratch::Scratch;
use crate::sys;

/// Which queues have something to be taken, each named once.
#[derive(Debug, Default)]
pub struct Pool {
    waiting: Mutex<VecDeque<usize>>,
    wake: Condvar,
}

impl Pool {
    /// Threads that give every queue of [`kick`](Self::kick) to `work`, one thread a queue at a time; `work` says again
    /// what is left. They run until the process ends.
    ///
    /// # Errors
    ///
    /// If a thread cannot be started or has no memory.
    pub fn start<W>(name: &str, threads: usize, work: W) -> io::Result<Arc<Self>>
    where
        W: Fn(&Pool, usize, &mut Scratch) + Send + Sync + 'static,
    {
        let pool = Arc::new(Pool::default());
        let work = Arc::new(work);
        for _ in 0..threads {
            let (pool, work, mut scratch) = (Arc::clone(&pool), Arc::clone(&work), Scratch::new()?);
            std::thread::Builder::new().name(name.to_owned()).spawn(move || {
                if let Err(error) = sys::unshare_working_directory() {
                    log::error!("a thread cannot have a working directory of its own: {error}");
                    std::process::exit(1);
                }
                loop {
                    let queue = pool.next();
                    work(&pool, queue, &mut scratch);
                }
            })?;
        }
        Ok(pool)
    }

    /// There may be something in this queue.
    pub fn kick(&self, queue: usize) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.contains(&queue) {
            waiting.push_back(queue);
            drop(waiting);
            self.wake.notify_one();
        }
    }

    fn next(&self) -> usize {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match waiting.pop_front() {
                Some(queue) => return queue,
                None => waiting = self.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}
