//! Of hits without the window's lock.

use super::{Edit, Mutation, WINDOW};

/// Of the meeting of those who use a range without the lock with those who change it.
pub(super) const MUTATIONS: [Mutation; 10] = [
    Mutation {
        name: "a range is evicted from under a copy",
        of: "dax-window",
        edits: &[Edit { old: "} else if !self.is_used(i) {", new: "} else if !self.is_used(i) || true {" }],
        tests: WINDOW,
    },
    Mutation {
        name: "a mapping is replaced under a copy",
        of: "dax-window",
        edits: &[Edit {
            old: "let busy = self.is_used(i) || held;",
            new: "self.is_used(i);\n        let busy = held;",
        }],
        tests: WINDOW,
    },
    Mutation {
        name: "bytes are clear while they are copied",
        of: "dax-window",
        edits: &[Edit {
            old: "let used = self.descriptors[i as usize].state == State::Mapped && self.is_used(i);",
            new: "let used = self.descriptors[i as usize].state == State::Mapped && self.is_used(i) && false;",
        }],
        tests: WINDOW,
    },
    Mutation {
        name: "a range is clean while it is stored to",
        of: "dax-window",
        edits: &[Edit { old: "if node.refs == 0 && !used {", new: "if node.refs == 0 && (!used || true) {" }],
        tests: WINDOW,
    },
    Mutation {
        name: "a write-back leaves a range open for stores that nobody notes",
        of: "dax-window",
        edits: &[Edit {
            old: "let used = self.is_used(i);\n                let node",
            new: "let used = false;\n                let node",
        }],
        tests: WINDOW,
    },
    Mutation {
        name: "stores enter what is mapped for loads",
        of: "dax-window",
        edits: &[Edit {
            old: "if stores { marks::OPEN | entry::WRITABLE | entry::DIRTY }",
            new: "if stores { marks::OPEN }",
        }],
        tests: WINDOW,
    },
    Mutation {
        name: "the end of a copy wakes nobody",
        of: "dax-window",
        edits: &[Edit { old: "if marks::unmark(&slot.mark) {", new: "if marks::unmark(&slot.mark) && false {" }],
        tests: WINDOW,
    },
    Mutation {
        name: "the key of a range is believed before it is marked",
        of: "dax-window",
        edits: &[Edit {
            old: "word & needed == needed\n            && entry.key() == (bytes.file, bytes.offset >> self.range_shift)",
            new: "true",
        }],
        tests: WINDOW,
    },
    Mutation {
        name: "a range is still that of the last use",
        of: "dax-window",
        edits: &[Edit {
            old: "            && entry.key() == (bytes.file, bytes.offset >> self.range_shift)\n",
            new: "",
        }],
        tests: WINDOW,
    },
    Mutation {
        name: "a mark is taken back before the copy is over, for all that other processors see",
        of: "dax-window",
        edits: &[Edit { old: "slot.swap(UNUSED, Ordering::AcqRel)", new: "slot.swap(UNUSED, Ordering::Relaxed)" }],
        tests: WINDOW,
    },
];
