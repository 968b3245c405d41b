//! The share: one tree of files for every scenario, made anew for each boot.

use anyhow::{Context, Result};
use std::{
    fs::{self, File},
    os::unix::fs::{FileExt, PermissionsExt},
    path::Path,
};
use testkernel_protocol::{content::Content, share};

/// Makes the tree. `big` says whether the large file is needed.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn make(root: &Path, big: bool) -> Result<()> {
    make_tree(root, big).with_context(|| format!("cannot make the share {}", root.display()))
}

fn make_tree(root: &Path, big: bool) -> Result<()> {
    for folder in ["files", share::MANY, "dax", "reclaim"] {
        fs::create_dir_all(root.join(folder))?;
    }
    for size in share::SIZES {
        generate(root, &share::sized(size), size)?;
    }
    let sparse = File::create(root.join(share::SPARSE.name))?;
    sparse.set_len(share::SPARSE.size)?;
    for offset in share::ISLANDS {
        let island = Content::of(share::SPARSE.name).bytes(offset, usize::try_from(share::ISLAND)?);
        sparse.write_all_at(&island, offset)?;
    }
    for index in 0..share::MANY_FILES {
        generate(root, &share::many_file(index), index)?;
    }
    for index in 0..share::MANY_FOLDERS {
        fs::create_dir(root.join(share::MANY).join(format!("sub-{index}")))?;
    }
    fs::write(root.join(share::MANY).join(share::MANY_ODD), "abc")?;
    for share::File { name, size } in share::DAX.into_iter().chain(big.then_some(share::BIG)) {
        generate(root, name, size)?;
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
        for size in share::SIZES {
            assert_eq!(fs::metadata(dir.path().join(share::sized(size))).unwrap().len(), size);
        }
        assert_eq!(fs::read_dir(dir.path().join("dirs/many")).unwrap().count(), 311);
        assert!(!dir.path().join(share::BIG.name).exists());
        let tail = fs::read(dir.path().join("dax/tail")).unwrap();
        assert_eq!(tail[5000..], Content::of("dax/tail").bytes(5000, tail.len() - 5000));
    }
}
