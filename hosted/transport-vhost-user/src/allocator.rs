//! Pages of the guest's memory, first fit.

use std::collections::BTreeMap;

/// Free pages by where they begin.
#[derive(Debug)]
pub(crate) struct PageAllocator {
    free: BTreeMap<usize, usize>,
}

impl PageAllocator {
    /// All of `pages` pages are free.
    pub(crate) fn new(pages: usize) -> Self {
        Self { free: if pages == 0 { BTreeMap::new() } else { BTreeMap::from([(0, pages)]) } }
    }

    /// Takes `pages` pages that lie together; returns the first one's number.
    pub(crate) fn take(&mut self, pages: usize) -> Option<usize> {
        if pages == 0 {
            return None;
        }
        let (&start, &len) = self.free.iter().find(|&(_, &len)| len >= pages)?;
        self.free.remove(&start);
        if len > pages {
            self.free.insert(start + pages, len - pages);
        }
        Some(start)
    }

    /// Gives pages back, which join free neighbours.
    pub(crate) fn give(&mut self, start: usize, pages: usize) {
        let mut begin = start;
        let mut end = start + pages;
        if let Some((&before, &len)) = self.free.range(..start).next_back()
            && before + len == start
        {
            self.free.remove(&before);
            begin = before;
        }
        if let Some(len) = self.free.remove(&end) {
            end += len;
        }
        self.free.insert(begin, end - begin);
    }

    /// How many pages are free.
    pub(crate) fn available(&self) -> usize {
        self.free.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_taken_once_and_join_again() {
        let mut pages = PageAllocator::new(10);
        let (a, b, c) = (pages.take(3).unwrap(), pages.take(3).unwrap(), pages.take(4).unwrap());
        assert_eq!((a, b, c), (0, 3, 6));
        assert_eq!((pages.take(1), pages.available()), (None, 0));
        pages.give(a, 3);
        pages.give(c, 4);
        assert_eq!(pages.take(5), None, "seven are free, but not together");
        pages.give(b, 3);
        assert_eq!(pages.free, BTreeMap::from([(0, 10)]));
        assert_eq!(pages.take(10), Some(0));
    }

    #[test]
    fn no_pages_are_never_given_out() {
        assert_eq!(PageAllocator::new(4).take(0), None);
        assert_eq!(PageAllocator::new(0).take(1), None);
    }
}
