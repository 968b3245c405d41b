//! The window as all threads share it: the table of mappings, the link to the front end, and files that shrink.

use std::collections::HashSet;
use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use vhost::vhost_user::Backend;

use crate::frontend::Frontend;
use crate::mapper::{Mapper, Setup, SetupError};
use crate::record::Record;
use crate::window::{FileKey, WindowError};

/// Says whether the front end bears requests.
type Running = Box<dyn Fn() -> bool + Send + Sync>;

/// The window of one device.
pub struct Table {
    mapper: Mutex<Mapper<File>>,
    /// Copies of what the mapper counts, to be looked at without waiting for it: it is locked while the front end is
    /// asked.
    claimed: AtomicBool,
    incomplete: AtomicUsize,
    /// Inode numbers of the files that are being made shorter.
    shrinking: Mutex<HashSet<u64>>,
    shrunk: Condvar,
    channel: Mutex<Option<Backend>>,
    /// Whether the front end asked for the window: one that did not shows the guest none.
    shown: AtomicBool,
    running: OnceLock<Running>,
    /// Whether mappings are offered.
    offered: bool,
    record: Arc<Record>,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("offered", &self.offered).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Table {
    /// A window of `window` bytes with at most `limit` mappings; `None` for no window.
    pub fn new(window: Option<u64>, limit: usize, record: Arc<Record>) -> Self {
        Table {
            mapper: Mutex::new(Mapper::new(window.unwrap_or(0), limit)),
            claimed: AtomicBool::new(false),
            incomplete: AtomicUsize::new(0),
            shrinking: Mutex::default(),
            shrunk: Condvar::new(),
            channel: Mutex::new(None),
            shown: AtomicBool::new(false),
            running: OnceLock::new(),
            offered: window.is_some(),
            record,
        }
    }

    /// The front end's channel for requests of ours.
    pub fn set_channel(&self, channel: Backend) {
        *lock(&self.channel) = Some(channel);
    }

    /// The front end asked for the window.
    pub fn show(&self) {
        self.shown.store(true, Ordering::Relaxed);
    }

    /// Says, once for all, how to know whether the front end bears requests.
    pub fn set_running(&self, running: impl Fn() -> bool + Send + Sync + 'static) {
        // A second one says the same.
        let _ = self.running.set(Box::new(running));
    }

    /// Whether files can be mapped: there is a window, and the front end shows it to the guest.
    pub fn is_offered(&self) -> bool {
        self.offered && self.shown.load(Ordering::Relaxed) && lock(&self.channel).is_some()
    }

    /// Works on the table with the link to the front end; `None` without a link.
    fn with<R>(&self, work: impl FnOnce(&mut Mapper<File>, &mut Frontend<'_>) -> R) -> Option<R> {
        if !self.is_offered() {
            return None;
        }
        let channel = lock(&self.channel).clone()?;
        let running = || self.running.get().is_some_and(|running| running());
        let mut frontend = Frontend::new(&channel, &running, &self.record);
        let mut mapper = lock(&self.mapper);
        let result = work(&mut mapper, &mut frontend);
        self.claimed.store(!mapper.is_empty(), Ordering::Release);
        self.incomplete.store(mapper.incomplete(), Ordering::Release);
        Some(result)
    }

    /// Maps several ranges; an errno or 0 for each.
    pub fn set_up(&self, setups: &[Setup<File>]) -> Vec<i32> {
        let results = self.with(|mapper, frontend| mapper.set_up(frontend, setups));
        match results {
            Some(results) => results.iter().map(errno).collect(),
            None => vec![libc::ENOSYS; setups.len()],
        }
    }

    /// Removes ranges of the window; an errno or 0.
    pub fn remove(&self, ranges: &[(u64, u64)]) -> i32 {
        self.with(|mapper, frontend| mapper.remove(frontend, ranges)).map_or(libc::ENOSYS, |result| errno(&result))
    }

    /// Removes everything, when a session ends or begins.
    pub fn clear(&self) {
        let removed = self.with(|mapper, frontend| match mapper.is_empty() {
            true => Ok(()),
            false => mapper.remove_all(frontend).map_err(|error| (error, mapper.live())),
        });
        if let Some(Err((error, live))) = removed {
            log::error!("{live} mappings outlive their session: {error}");
        }
    }

    /// The file that is known by a key, if it is mapped.
    pub fn file(&self, key: FileKey) -> Option<Arc<File>> {
        self.claimed.load(Ordering::Acquire).then(|| lock(&self.mapper).file(key)).flatten()
    }

    /// Whether a file with this number may be mapped, on whatever device.
    pub fn has_inode(&self, inode: u64) -> bool {
        self.claimed.load(Ordering::Acquire) && lock(&self.mapper).has_inode(inode)
    }

    /// Whether a file of this number is not mapped as far as the guest believes, if it grew.
    pub fn is_incomplete(&self, inode: u64) -> bool {
        self.has_incomplete() && lock(&self.mapper).is_incomplete(inode)
    }

    /// Whether there is any such file.
    pub fn has_incomplete(&self) -> bool {
        self.incomplete.load(Ordering::Acquire) > 0
    }

    /// Maps what a file has gained, before the guest hears of it.
    ///
    /// # Errors
    ///
    /// See [`Mapper::grown`].
    pub fn grown(&self, key: FileKey) -> Result<(), SetupError> {
        self.with(|mapper, frontend| mapper.grown(frontend, key)).unwrap_or(Ok(()))
    }

    /// Waits until nobody else makes the files of this number shorter; nobody else does while the result lives.
    pub fn shrink(&self, inode: u64) -> Shrink<'_> {
        let mut shrinking = lock(&self.shrinking);
        while !shrinking.insert(inode) {
            shrinking = self.shrunk.wait(shrinking).unwrap_or_else(PoisonError::into_inner);
        }
        Shrink { table: self, inode }
    }
}

/// The right to make a file shorter.
#[derive(Debug)]
pub struct Shrink<'a> {
    table: &'a Table,
    inode: u64,
}

impl Shrink<'_> {
    /// From now on nothing that lies past `size` bytes of the file is mapped, as long as this lives. Only then can be
    /// informed whether anything is.
    ///
    /// # Errors
    ///
    /// What the front end says: then the file must keep its size.
    pub fn announce(&self, size: u64) -> Result<(), WindowError> {
        self.table.with(|mapper, frontend| mapper.announce_shrink(frontend, self.inode, size)).unwrap_or(Ok(()))
    }

    /// Unmaps what lies past `size` bytes of the file.
    ///
    /// # Errors
    ///
    /// What the front end says: then the file must keep its size.
    pub fn cut(&self, key: FileKey, size: u64) -> Result<(), WindowError> {
        self.table.with(|mapper, frontend| mapper.before_shrink(frontend, key, size)).unwrap_or(Ok(()))
    }
}

impl Drop for Shrink<'_> {
    fn drop(&mut self) {
        lock(&self.table.mapper).after_shrink(self.inode);
        lock(&self.table.shrinking).remove(&self.inode);
        self.table.shrunk.notify_all();
    }
}

fn errno(result: &Result<(), SetupError>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(error) => {
            log::debug!("mapping: {error}");
            error.errno()
        }
    }
}
