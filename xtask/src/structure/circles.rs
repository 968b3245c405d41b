//! Circles between the files of a crate.

use super::{arrows::Arrows, offence::Offence};
use crate::workspace::Crate;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::Path,
};

/// Finds the files that point, over however many others, at themselves: each is one offence, with its shortest circle.
pub(super) fn check(one: &Crate, arrows: &Arrows) -> BTreeSet<Offence> {
    let mut found = BTreeSet::new();
    for file in arrows.sources() {
        if let Some(circle) = shortest(arrows, file) {
            let hops: Vec<_> = circle.windows(2).map(|pair| arrows.shown(pair[0], pair[1])).collect();
            found.insert(Offence {
                key: format!("circle {}", one.place.join(file).display()),
                detail: format!("{}: files point at each other: {}", one.name, hops.join(", ")),
            });
        }
    }
    found
}

/// The shortest way from a file to itself.
fn shortest<'a>(arrows: &'a Arrows, file: &'a Path) -> Option<Vec<&'a Path>> {
    let mut before: BTreeMap<&Path, &Path> = BTreeMap::new();
    let mut next = VecDeque::from([file]);
    while let Some(here) = next.pop_front() {
        for (to, _) in arrows.from(here) {
            if to == file {
                let mut way = vec![file, here];
                while let Some(&earlier) = before.get(way[way.len() - 1]) {
                    way.push(earlier);
                }
                way.reverse();
                return Some(way);
            }
            if !before.contains_key(to) {
                before.insert(to, here);
                next.push_back(to);
            }
        }
    }
    None
}
