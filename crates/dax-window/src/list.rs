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

    pub(crate) fn push_back(&mut self, descriptors: &mut [Descriptor], i: u32) {
        let node = &mut descriptors[i as usize];
        node.prev = self.tail;
        node.next = NIL;
        match descriptors.get_mut(self.tail as usize) {
            Some(last) => last.next = i,
            None => self.head = i,
        }
        self.tail = i;
        self.len += 1;
    }

    pub(crate) fn push_front(&mut self, descriptors: &mut [Descriptor], i: u32) {
        let node = &mut descriptors[i as usize];
        node.prev = NIL;
        node.next = self.head;
        match descriptors.get_mut(self.head as usize) {
            Some(first) => first.prev = i,
            None => self.tail = i,
        }
        self.head = i;
        self.len += 1;
    }

    pub(crate) fn unlink(&mut self, descriptors: &mut [Descriptor], i: u32) {
        let node = &mut descriptors[i as usize];
        let (prev, next) = (node.prev, node.next);
        node.prev = NIL;
        node.next = NIL;
        match descriptors.get_mut(prev as usize) {
            Some(before) => before.next = next,
            None => self.head = next,
        }
        match descriptors.get_mut(next as usize) {
            Some(after) => after.prev = prev,
            None => self.tail = prev,
        }
        self.len -= 1;
    }

    pub(crate) fn pop_front(&mut self, descriptors: &mut [Descriptor]) -> Option<u32> {
        let head = self.head;
        let node = descriptors.get_mut(head as usize)?;
        self.head = node.next;
        node.next = NIL;
        match descriptors.get_mut(self.head as usize) {
            Some(next) => next.prev = NIL,
            None => self.tail = NIL,
        }
        self.len -= 1;
        Some(head)
    }
}
