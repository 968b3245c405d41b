//! The mutations of famfs.

use crate::mutants::mutation::{Edit, Mutation};

const FAMFS: &[&str] = &["--package", "famfs", "--lib", "--tests"];

/// What a shared log and its readers promise.
pub(super) const MUTATIONS: [Mutation; 14] = [
    Mutation {
        name: "format keeps the old superblock",
        of: "famfs",
        edits: &[Edit { old: "    store(memory, 0, &[0; MAX_SUPERBLOCK_LEN])?;\n", new: "" }],
        tests: FAMFS,
    },
    Mutation {
        name: "counters are stored before the entry",
        of: "famfs",
        edits: &[Edit {
            old: "    memory.write(at, &bytes[..len])?;\n",
            new: "    store_counters(memory, superblock, Counters::at_rest(known + 1))?;\n    memory.write(at, &bytes[..len])?;\n",
        }],
        tests: FAMFS,
    },
    Mutation {
        name: "the entry is not written back",
        of: "famfs",
        edits: &[Edit { old: "    memory.write_back(at, len as u64)?;\n", new: "" }],
        tests: FAMFS,
    },
    Mutation {
        name: "a torn entry is passed over",
        of: "famfs",
        edits: &[Edit {
            old: "                    state.torn = Some(Finding { place, flaw });\n",
            new: "                    state.torn = Some(Finding { place, flaw });\n                    state.next += 1;\n",
        }],
        tests: FAMFS,
    },
    Mutation {
        name: "an index that falls is not seen",
        of: "famfs",
        edits: &[Edit { old: "if published < state.published {", new: "if false {" }],
        tests: FAMFS,
    },
    Mutation {
        name: "settling always publishes",
        of: "famfs",
        edits: &[Edit {
            old: "let whole = read_entry(memory, superblock, next_index, &mut bytes).is_ok();",
            new: "let whole = true;",
        }],
        tests: FAMFS,
    },
    Mutation {
        name: "the second look for another writer is left out",
        of: "famfs",
        edits: &[Edit {
            old: "    // What another writer did meanwhile shows in the counters, or in the very slot.\n    check_alone(memory, superblock, known)?;\n",
            new: "",
        }],
        tests: FAMFS,
    },
    Mutation {
        name: "sequence numbers are not compared",
        of: "famfs",
        edits: &[Edit { old: "if head.seqnum.get() != index {", new: "if false {" }],
        tests: FAMFS,
    },
    Mutation {
        name: "extents of one file may overlap",
        of: "famfs",
        edits: &[Edit {
            old: "if let Some(first) = list.as_ref().iter().position(|earlier| overlap(earlier, &extent)) {",
            new: "if let Some(first) = list.as_ref().iter().position(|earlier| false && overlap(earlier, &extent)) {",
        }],
        tests: FAMFS,
    },
    Mutation {
        name: "a failed range fails its neighbour too",
        of: "famfs",
        edits: &[Edit {
            old: "offset.max(extent.offset.0) < end.min(extent_end)",
            new: "offset.max(extent.offset.0) <= end.min(extent_end)",
        }],
        tests: FAMFS,
    },
    Mutation {
        name: "memory is distinguished by its first byte",
        of: "famfs",
        edits: &[Edit { old: "owned.phys < end && *phys < owned.end", new: "owned.phys == *phys && *phys < end" }],
        tests: FAMFS,
    },
    Mutation {
        name: "a page is current whatever changed",
        of: "famfs",
        edits: &[Edit { old: "self.file.mount.layout.unchanged(self.seen)", new: "true" }],
        tests: FAMFS,
    },
    Mutation {
        name: "read-only memory is mapped writable",
        of: "famfs",
        edits: &[Edit { old: "fault.untracked(may_store && backing.writable)", new: "fault.untracked(may_store)" }],
        tests: FAMFS,
    },
    Mutation {
        name: "the allocator does not keep to units",
        of: "famfs",
        edits: &[Edit {
            old: "let len = size.max(1).checked_next_multiple_of(self.unit)?;",
            new: "let len = size.max(1);",
        }],
        tests: FAMFS,
    },
];
