//! What a session holds: nodes, files, listings, views, requests in flight.

use fastrand::Rng;
use virtio_fs::{File, InFlight, Map, MapMut, Node, ReadDir, VirtioFs, ops};

use crate::lock::Watched;

/// Most of a kind; one more takes the place of another.
const MOST: usize = 6;

/// Handles of one kind.
#[derive(Debug)]
pub(crate) struct Several<T>(Vec<T>);

impl<T> Default for Several<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Several<T> {
    /// Keeps one; returns the one that has to go for it.
    pub(crate) fn keep(&mut self, rng: &mut Rng, one: T) -> Option<T> {
        if self.0.len() < MOST {
            self.0.push(one);
            return None;
        }
        Some(std::mem::replace(&mut self.0[rng.usize(..MOST)], one))
    }

    /// Any of them.
    pub(crate) fn any(&mut self, rng: &mut Rng) -> Option<&mut T> {
        let len = self.0.len();
        if len == 0 { None } else { self.0.get_mut(rng.usize(..len)) }
    }

    /// Takes any of them.
    pub(crate) fn take(&mut self, rng: &mut Rng) -> Option<T> {
        let len = self.0.len();
        if len == 0 { None } else { Some(self.0.swap_remove(rng.usize(..len))) }
    }

    /// Takes the last.
    pub(crate) fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }
}

/// See the module.
#[derive(Default)]
pub(crate) struct Handles {
    pub(crate) nodes: Several<Node<Watched>>,
    pub(crate) files: Several<File<Watched>>,
    pub(crate) listings: Several<ReadDir<Watched>>,
    pub(crate) views: Several<Map<Watched>>,
    pub(crate) stores: Several<MapMut<Watched>>,
    pub(crate) sent: Several<InFlight<ops::Statfs, Watched>>,
}

/// The file system of a session.
pub(crate) type Fs = VirtioFs<Watched>;
