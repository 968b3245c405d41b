//! A doubly linked list through the `prev` and `next` of descriptors. A range is in at most one list at a time.

use crate::descriptor::{Descriptor, NIL};

#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    pub(crate) head: u32,
    pub(crate) tail: u32,
    pub(crate) len: u32,
}

impl List {
    pub(crate) const EMPTY: Self = Self { head: NIL, tail: NIL, len: 0 };

    pub(crate) fn push_back(&mut self, d: &mut [Descriptor], i: u32) {
        d[i as usize].prev = self.tail;
        d[i as usize].next = NIL;
        match self.tail {
            NIL => self.head = i,
            tail => d[tail as usize].next = i,
        }
        self.tail = i;
        self.len += 1;
    }

    pub(crate) fn unlink(&mut self, d: &mut [Descriptor], i: u32) {
        let (prev, next) = (d[i as usize].prev, d[i as usize].next);
        match prev {
            NIL => self.head = next,
            prev => d[prev as usize].next = next,
        }
        match next {
            NIL => self.tail = prev,
            next => d[next as usize].prev = prev,
        }
        d[i as usize].prev = NIL;
        d[i as usize].next = NIL;
        self.len -= 1;
    }

    pub(crate) fn pop_front(&mut self, d: &mut [Descriptor]) -> Option<u32> {
        let head = self.head;
        if head == NIL {
            return None;
        }
        self.unlink(d, head);
        Some(head)
    }
}
