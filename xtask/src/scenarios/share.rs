//! The share: one tree of files for every scenario, made anew for each boot.

use super::content::Content;
use anyhow::{Context, Result};
use std::{
    fs::{self, File},
    os::unix::fs::{FileExt, PermissionsExt},
    path::Path,
};

const MIB: u64 = 1 << 20;
/// The sizes of the files under `files/`: around the page, around the range, and beyond.
pub(crate) const SIZES: [u64; 9] = [0, 1, 4095, 4096, 4097, 2 * MIB - 1, 2 * MIB, 2 * MIB + 1, 5 * MIB + 123];
/// A file of 64 MiB that is holes but for three pages.
pub(crate) const SPARSE: &str = "files/sparse-67108864";
const SPARSE_PAGES: [u64; 3] = [0, 10 * MIB, 64 * MIB - 4096];
/// A file four times as long as the smallest window.
pub(crate) const BIG: &str = "reclaim/big";

/// Other files by generator, with their sizes.
const OTHERS: [(&str, u64); 5] = [
    ("dax/host-write", 4 * MIB),
    ("dax/guest-write", 4 * MIB),
    ("dax/extend", 4096 + 100),
    ("dax/map", 6 * MIB),
    ("dax/tail", 2 * MIB + 4096 + 777),
];

/// The file of every size, relative to the share.
pub(crate) fn sized() -> Vec<String> {
    SIZES.iter().map(|size| format!("files/size-{size}")).collect()
}

/// Makes the tree. `big` says whether the large file is needed.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn make(root: &Path, big: bool) -> Result<()> {
    make_tree(root, big).with_context(|| format!("cannot make the share {}", root.display()))
}

fn make_tree(root: &Path, big: bool) -> Result<()> {
    for folder in ["files", "dirs/many", "dax", "reclaim"] {
        fs::create_dir_all(root.join(folder))?;
    }
    for size in SIZES {
        generate(root, &format!("files/size-{size}"), size)?;
    }
    let sparse = File::create(root.join(SPARSE))?;
    sparse.set_len(64 * MIB)?;
    for offset in SPARSE_PAGES {
        sparse.write_all_at(&Content::of(SPARSE).bytes(offset, 4096), offset)?;
    }
    for index in 0..300 {
        generate(root, &format!("dirs/many/entry-{index:03}"), index)?;
    }
    for index in 0..10 {
        fs::create_dir(root.join(format!("dirs/many/sub-{index}")))?;
    }
    fs::write(root.join("dirs/many/with space ü"), "abc")?;
    for (name, size) in OTHERS {
        generate(root, name, size)?;
    }
    if big {
        generate(root, BIG, 64 * MIB)?;
    }
    Ok(())
}

fn generate(root: &Path, name: &str, size: u64) -> Result<()> {
    let path = root.join(name);
    fs::write(&path, Content::of(name).bytes(0, usize::try_from(size)?))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_as_agreed() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path(), false).unwrap();
        for (size, name) in SIZES.iter().zip(sized()) {
            assert_eq!(fs::metadata(dir.path().join(name)).unwrap().len(), *size);
        }
        assert_eq!(fs::read_dir(dir.path().join("dirs/many")).unwrap().count(), 311);
        assert!(!dir.path().join(BIG).exists());
        let tail = fs::read(dir.path().join("dax/tail")).unwrap();
        assert_eq!(tail[5000..], Content::of("dax/tail").bytes(5000, tail.len() - 5000));
    }
}
