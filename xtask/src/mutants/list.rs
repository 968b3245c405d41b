//! The mutations: at most sixty, each of which broke a promise that no test held once, or could.

mod famfs;
mod hits;

use super::mutation::{Edit, Mutation, WINDOW};

const DAX: &[&str] = &["--package", "fs-dax", "--lib", "--tests"];
const FS: &[&str] = &["--package", "virtio-fs", "--lib", "--tests"];

/// All of them.
pub(super) fn all() -> impl Iterator<Item = &'static Mutation> {
    MUTATIONS.iter().chain(&hits::MUTATIONS).chain(&famfs::MUTATIONS)
}

/// Those of virtio-fs and of what it stands on.
const MUTATIONS: [Mutation; 20] = [
    Mutation {
        name: "a page that is installed writable is not dirty",
        of: "dax-window",
        edits: &[Edit {
            old: "node.set(flag::INSTALLED | if writable { flag::DIRTY } else { 0 });",
            new: "node.set(flag::INSTALLED | if writable { 0 } else { 0 });",
        }],
        tests: WINDOW,
    },
    Mutation {
        name: "the flag of dropped tickets is cleared after their bits",
        of: "dax-window",
        edits: &[
            Edit { old: "        self.any_dropped.swap(false, Ordering::AcqRel);\n", new: "" },
            Edit {
                old: "core::array::from_fn(|word| self.dropped[word].swap(0, Ordering::AcqRel))",
                new: "let taken = core::array::from_fn(|word| self.dropped[word].swap(0, Ordering::AcqRel));\n        \
                      self.any_dropped.swap(false, Ordering::AcqRel);\n        taken",
            },
        ],
        tests: WINDOW,
    },
    Mutation {
        name: "a frozen chunk is accessible",
        of: "dax-window",
        edits: &[Edit { old: "if self.freezes.covers(req.file, cut.chunk) {", new: "if false {" }],
        tests: WINDOW,
    },
    Mutation {
        name: "a removal keeps the marks of the old owner",
        of: "dax-window",
        edits: &[Edit {
            old: "self.descriptors[i as usize].clear(flag::INSTALLED | flag::DIRTY);\n            self.count_wasted(i);",
            new: "self.count_wasted(i);",
        }],
        tests: WINDOW,
    },
    Mutation {
        name: "a write goes through a mapping that is read-only",
        of: "dax-window",
        edits: &[Edit { old: "cut.within < end && (!write || node.has(flag::WRITABLE))", new: "cut.within < end" }],
        tests: WINDOW,
    },
    Mutation {
        name: "whether metadata is dirty is read before what was seen",
        of: "fs-dax",
        edits: &[Edit {
            old: "let seen = epoch.seen();\n        meanwhile();\n        \
                  Self { seen, dirty: epoch.is_dirty(), may_be_hole: true }",
            new: "let dirty = epoch.is_dirty();\n        meanwhile();\n        \
                  Self { seen: epoch.seen(), dirty, may_be_hole: true }",
        }],
        tests: DAX,
    },
    Mutation {
        name: "copy_file_range moves no blocks",
        of: "fs-dax",
        edits: &[
            Edit {
                old: "Self::Create | Self::ExtendingWrite | Self::Allocate => false",
                new: "Self::Create | Self::ExtendingWrite | Self::Allocate | Self::CopyFileRange => false",
            },
            Edit {
                old: "Self::SizeChange | Self::Deallocate | Self::CopyFileRange => true",
                new: "Self::SizeChange | Self::Deallocate => true",
            },
        ],
        tests: DAX,
    },
    Mutation {
        name: "a partition drops the hint that memory will be dirtied",
        of: "fs-dax",
        edits: &[Edit {
            old: "self.whole.locate(self.start.checked_add(offset.0)?, size, flags)",
            new: "self.whole.locate(self.start.checked_add(offset.0)?, size, flags & AccessFlags::empty())",
        }],
        tests: DAX,
    },
    Mutation {
        name: "a change is over before it began to count",
        of: "fs-dax",
        edits: &[Edit {
            old: "self.started.load(Ordering::SeqCst) == seen",
            new: "self.finished.load(Ordering::SeqCst) == seen",
        }],
        tests: DAX,
    },
    Mutation {
        name: "a synchronous fault ends although blocks moved",
        of: "fs-dax",
        edits: &[Edit { old: "now == Some(&page) && epoch.blocks_stayed(seen)", new: "now == Some(&page)" }],
        tests: DAX,
    },
    Mutation {
        name: "an older FSYNC takes back what a newer one made durable",
        of: "fs-dax",
        edits: &[Edit {
            old: "self.durable.fetch_max(seen.all, Ordering::SeqCst);",
            new: "self.durable.store(seen.all, Ordering::SeqCst);",
        }],
        tests: DAX,
    },
    Mutation {
        name: "pages are write-protected after FSYNC",
        of: "virtio-fs",
        edits: &[
            Edit { old: "            self.write_protect(inode, &taken.runs);\n", new: "" },
            Edit {
                old: "            let reply = result.as_ref().map(drop).map_err(|_| fs_dax::Errno::EIO);\n",
                new: "            self.write_protect(inode, &taken.runs);\n            \
                      let reply = result.as_ref().map(drop).map_err(|_| fs_dax::Errno::EIO);\n",
            },
        ],
        tests: FS,
    },
    Mutation {
        name: "the metadata epoch is taken after FSYNC",
        of: "virtio-fs",
        edits: &[
            Edit {
                old: "            let epoch = inode.epoch.seen();\n            let result = ranges",
                new: "            let result = ranges",
            },
            Edit {
                old: "            let reply = result.as_ref().map(drop).map_err(|_| fs_dax::Errno::EIO);\n",
                new: "            let epoch = inode.epoch.seen();\n            \
                      let reply = result.as_ref().map(drop).map_err(|_| fs_dax::Errno::EIO);\n",
            },
        ],
        tests: FS,
    },
    Mutation {
        name: "a server without FSYNC counts as durable",
        of: "virtio-fs",
        edits: &[Edit {
            old: "rpc.set_unsupported(Opcode::FSYNC);\n            Ok(false)",
            new: "rpc.set_unsupported(Opcode::FSYNC);\n            Ok(true)",
        }],
        tests: FS,
    },
    Mutation {
        name: "the window's ranges are clean after an FSYNC that failed",
        of: "virtio-fs",
        edits: &[Edit {
            old: "window.end_writeback(ranges, answered.is_ok());",
            new: "window.end_writeback(ranges, true);",
        }],
        tests: FS,
    },
    Mutation {
        name: "a wait ends the collection of dirty ranges",
        of: "virtio-fs",
        edits: &[Edit {
            old: "Writeback::Wait(_) if !taken.tickets.is_empty() => return Ok(()),",
            new: "Writeback::Wait(_) if !taken.tickets.is_empty() => {\n                    taken.rest = None;\n                    \
                  return Ok(());\n                }",
        }],
        tests: FS,
    },
    Mutation {
        name: "an extending change ends before its reply",
        of: "virtio-fs",
        edits: &[Edit { old: "let _change = inode.epoch.change(change);", new: "drop(inode.epoch.change(change));" }],
        tests: FS,
    },
    Mutation {
        name: "a synchronous fault ignores a new end of file",
        of: "virtio-fs",
        edits: &[Edit {
            old: "let eof = file.inode.size();\n        let now = match",
            new: "let eof = u64::MAX;\n        let now = match",
        }],
        tests: FS,
    },
    Mutation {
        name: "a cut neither breaks the layout nor takes private copies",
        of: "virtio-fs",
        edits: &[
            Edit {
                old: "        let _layout = inode.layout.change();\n        let _epoch = inode.epoch.change(MetadataChange::SizeChange);",
                new: "        let _epoch = inode.epoch.change(MetadataChange::SizeChange);",
            },
            Edit { old: "            mapped.take_copies(inode.key, cut);\n", new: "" },
        ],
        tests: FS,
    },
    Mutation {
        name: "neither a failure nor a changed layout stops a fault",
        of: "virtio-fs",
        edits: &[Edit {
            old: "inode.layout.unchanged(seen) && self.volume.check_alive(inode).is_ok()",
            new: "inode.layout.unchanged(seen) || self.volume.check_alive(inode).is_ok()",
        }],
        tests: FS,
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::Paths;
    use std::{collections::BTreeSet, fs, path::Path};

    #[test]
    fn mutations_are_few_and_distinct() {
        let names: BTreeSet<_> = all().map(|one| (one.of, one.name)).collect();
        assert!(names.len() == all().count() && all().count() <= 60);
        for one in all() {
            assert!(one.edits.iter().all(|edit| edit.old != edit.new && !edit.old.is_empty()), "{}", one.name);
        }
    }

    #[test]
    fn what_they_change_is_there_once() {
        fn read(folder: &Path, text: &mut String) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => read(&path, text),
                    false => text.push_str(&fs::read_to_string(&path).unwrap()),
                }
            }
        }
        let crates = Paths::find().unwrap().root.join("crates");
        let mut stale = Vec::new();
        for one in all() {
            let mut text = String::new();
            read(&crates.join(one.of).join("src"), &mut text);
            let found = one.edits.iter().map(|edit| text.matches(edit.old).count());
            stale.extend(found.filter(|found| *found != 1).map(|found| format!("{}: {found} times", one.name)));
        }
        assert!(stale.is_empty(), "{stale:#?}");
    }
}
