//! Which bytes those are for who keep ranges for long: what is done to other bytes passes by them.

use alloc::boxed::Box;
use alloc::vec::Vec;

use dax_window::RangeIndex;
use fs_dax::FileRange;

/// The views that there are. Nothing until there is one.
#[derive(Debug, Default)]
pub(super) struct Views(Option<Box<Chains>>);

/// A chain of views for each range.
#[derive(Debug, Default)]
struct Chains {
    /// The first view of each range, up to the last that ever had one.
    first: Vec<Option<usize>>,
    places: Vec<Place>,
    /// The first place that is not in use.
    free: Option<usize>,
}

#[derive(Debug)]
struct Place {
    range: RangeIndex,
    bytes: FileRange,
    before: Option<usize>,
    after: Option<usize>,
}

/// A place among the views.
#[derive(Debug)]
pub(crate) struct ViewId(usize);

impl Views {
    /// Notes a view of bytes, for which a reference to `range` was taken.
    pub(super) fn add(&mut self, range: RangeIndex, bytes: FileRange) -> ViewId {
        self.0.get_or_insert_default().add(range, bytes)
    }

    /// Forgets a view, before its reference is given back.
    pub(super) fn remove(&mut self, id: ViewId) {
        if let Some(chains) = &mut self.0 {
            chains.remove(id);
        }
    }

    /// How many of the references to `range` are for none of these bytes, as far as is known.
    pub(super) fn elsewhere(&self, range: RangeIndex, bytes: FileRange) -> u32 {
        self.0.as_ref().map_or(0, |chains| chains.elsewhere(range, bytes))
    }
}

impl Chains {
    fn add(&mut self, range: RangeIndex, bytes: FileRange) -> ViewId {
        let index = range.get() as usize;
        if index >= self.first.len() {
            self.first.resize(index + 1, None);
        }
        let first = &mut self.first[index];
        let view = Place { range, bytes, before: None, after: *first };
        let place = self.free.unwrap_or(self.places.len());
        if let Some(second) = first.replace(place) {
            self.places[second].before = Some(place);
        }
        match self.places.get_mut(place) {
            Some(unused) => self.free = core::mem::replace(unused, view).after,
            None => self.places.push(view),
        }
        ViewId(place)
    }

    fn remove(&mut self, ViewId(place): ViewId) {
        let Place { range, before, after, .. } = self.places[place];
        match before {
            Some(before) => self.places[before].after = after,
            None => self.first[range.get() as usize] = after,
        }
        if let Some(after) = after {
            self.places[after].before = before;
        }
        self.places[place].after = self.free.replace(place);
    }

    fn elsewhere(&self, range: RangeIndex, bytes: FileRange) -> u32 {
        let first = self.first.get(range.get() as usize).copied().flatten();
        let chain = core::iter::successors(first, |&place| self.places[place].after);
        chain.map(|place| u32::from(self.places[place].bytes.intersect(bytes).is_empty())).sum()
    }
}

#[cfg(test)]
mod tests {
    use dax_window::{Access, Config, Outcome, Request, Stream, Window};
    use fs_dax::FileKey;

    use super::*;

    /// The numbers of the first two ranges of a window.
    fn two_ranges() -> [RangeIndex; 2] {
        let mut window = Window::on_heap(Config::new(8 << 20)).expect("memory");
        [0, 1].map(|chunk| {
            let request = Request::read(FileKey(1), chunk * (2 << 20), 1, 1 << 30);
            let Access::Setup(ticket) = window.access(&mut Stream::new(), &request) else { panic!("all are free") };
            let range = window.complete_setup(ticket, &[Outcome::Done]).expect("it was done").expect("it was wanted");
            let index = range.range();
            window.release(range);
            index
        })
    }

    #[test]
    fn views_of_other_bytes_are_counted_by_range() {
        let [one, two] = two_ranges();
        let bytes = FileRange::between;
        let mut views = Views::default();
        let a = views.add(one, bytes(0, 100));
        let b = views.add(one, bytes(100, 200));
        let c = views.add(two, bytes(0, 100));
        assert_eq!((views.elsewhere(one, bytes(150, 160)), views.elsewhere(two, bytes(150, 160))), (1, 1));
        assert_eq!(views.elsewhere(one, bytes(99, 101)), 0);
        views.remove(b);
        assert_eq!(views.elsewhere(one, bytes(150, 160)), 1);
        let d = views.add(two, bytes(300, 400));
        let e = views.add(one, bytes(500, 501));
        assert_eq!((views.elsewhere(one, FileRange::from(200)), views.elsewhere(two, FileRange::from(200))), (1, 1));
        for view in [c, a, e, d] {
            views.remove(view);
        }
        assert_eq!(views.elsewhere(one, bytes(0, 0)) + views.elsewhere(two, bytes(0, 0)), 0);
        assert_eq!(views.0.expect("there were some").places.len(), 4, "places are used again");
    }
}
