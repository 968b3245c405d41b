//! Layers inside a crate: folders of its source, each of which may point at those below it.

use super::{arrows::Arrows, offence::Offence};
use crate::workspace::Crate;
use std::{
    collections::{BTreeSet, VecDeque},
    path::Path,
};

/// The layers of a crate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    /// The folders, the uppermost first.
    folders: &'static [&'static str],
    /// A layer that only files of one other use, and the word in the names of those files.
    hidden: Option<Hidden>,
}

/// A layer that few may use.
#[derive(Clone, Copy, Debug)]
struct Hidden {
    folder: &'static str,
    seen_by: &'static str,
    files: &'static str,
}

/// The crates that have layers.
const ORDERS: [(&str, Order); 1] = [(
    "virtio-fs",
    Order {
        folders: &["api", "io", "window", "volume", "rpc", "queue", "device"],
        hidden: Some(Hidden { folder: "device", seen_by: "api", files: "mount" }),
    },
)];

/// The layers of a crate, if it has any.
pub(super) fn of(name: &str) -> Option<Order> {
    ORDERS.iter().find(|(known, _)| *known == name).map(|&(_, order)| order)
}

/// Finds the arrows that go upwards, also by way of files that are in no layer.
pub(super) fn check(one: &Crate, order: Order, arrows: &Arrows) -> BTreeSet<Offence> {
    let mut found = BTreeSet::new();
    for from in arrows.sources() {
        let Some(layer) = layer(order, from) else { continue };
        for (to, way) in reached(order, arrows, from) {
            let lower = order.folders[to];
            let why = if to < layer {
                format!("{lower} is above {}", order.folders[layer])
            } else if order
                .hidden
                .is_some_and(|hidden| hidden.folder == lower && to != layer && !hidden.shows(order, from))
            {
                format!("{lower} is for {}", order.hidden.map_or("", |hidden| hidden.files))
            } else {
                continue;
            };
            let hops: Vec<_> = way.windows(2).map(|pair| arrows.shown(pair[0], pair[1])).collect();
            found.insert(Offence {
                key: format!("layer {} -> {lower}", one.place.join(from).display()),
                detail: format!("{}: {}: {why}", one.name, hops.join(", ")),
            });
        }
    }
    found
}

impl Hidden {
    /// Whether a file may see it.
    fn shows(&self, order: Order, from: &Path) -> bool {
        let in_layer = layer(order, from).is_some_and(|layer| order.folders[layer] == self.seen_by);
        let named = from.components().any(|part| part.as_os_str().to_string_lossy().contains(self.files));
        in_layer && named
    }
}

/// The layer of a file, by its place: `src/LAYER.rs` or `src/LAYER/...`.
fn layer(order: Order, file: &Path) -> Option<usize> {
    let mut parts = file.strip_prefix("src").ok()?.components();
    let first = parts.next()?.as_os_str().to_string_lossy().into_owned();
    order.folders.iter().position(|&folder| first == folder || first.strip_suffix(".rs") == Some(folder))
}

/// The layers that a file points at directly or over files without a layer, each with one way there.
fn reached<'a>(order: Order, arrows: &'a Arrows, from: &'a Path) -> Vec<(usize, Vec<&'a Path>)> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::from([from]);
    let mut next = VecDeque::from([vec![from]]);
    while let Some(way) = next.pop_front() {
        let Some(&here) = way.last() else { continue };
        for (to, _) in arrows.from(here) {
            if !seen.insert(to) {
                continue;
            }
            let longer: Vec<&Path> = way.iter().copied().chain([to]).collect();
            match layer(order, to) {
                Some(layer) => found.push((layer, longer)),
                None => next.push_back(longer),
            }
        }
    }
    found
}
