//! The shape of the source: no circle between the files of a crate, no arrow upwards between layers or crates, no long
//! function that doesn't say why it is long, and no dependency that nothing uses.
//!
//! A file points at another one when it names something that is defined there, also through re-exports and glob
//! imports, or calls a method that the other one adds to a shared type. Code for tests only (`#[cfg(test)]`) may point
//! anywhere. What is resolved is enough for this repository; it is no compiler.

mod arrows;
mod circles;
mod crates;
mod layers;
mod length;
mod module_tree;
mod offence;
mod source;
mod unused;
mod visit;

use crate::{
    paths::Paths,
    workspace::{self, Crate},
};
use anyhow::{Result, anyhow};
use offence::Offence;
use std::{
    collections::BTreeSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// Checks the repository: what is wrong with it, a line each. Nothing if it is as it should be.
///
/// # Errors
/// When its files cannot be read or are no Rust.
pub(crate) fn check(paths: &Paths) -> Result<Vec<String>> {
    let crates = workspace::crates(paths)?;
    Ok(offences(&crates)?.iter().map(Offence::to_string).collect())
}

/// All breaches in some crates.
fn offences(crates: &[Crate]) -> Result<BTreeSet<Offence>> {
    let (next, found) = (AtomicUsize::new(0), Mutex::new(crates::check(crates)));
    let work = || -> Result<()> {
        while let Some(one) = crates.get(next.fetch_add(1, Ordering::Relaxed)) {
            let of_one = offences_of(one)?;
            // Nothing panics while it holds the lock.
            found.lock().unwrap_or_else(PoisonError::into_inner).extend(of_one);
        }
        Ok(())
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| anyhow!("a worker panicked"))?)
    })?;
    Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// All breaches in a crate.
fn offences_of(one: &Crate) -> Result<BTreeSet<Offence>> {
    let files = source::read(&one.folder)?;
    let mut found = length::check(one, &files);
    found.extend(unused::check(one, &files));
    let mut arrows = arrows::Arrows::default();
    for root in &one.roots {
        let tree = module_tree::ModuleTree::new(&files, root, one)?;
        arrows.add(&tree);
    }
    found.extend(circles::check(one, &arrows));
    if let Some(order) = layers::of(&one.name) {
        found.extend(layers::check(one, order, &arrows));
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
