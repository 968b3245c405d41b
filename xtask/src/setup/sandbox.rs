//! The user that apt downloads as when this program runs as root.

use anyhow::{Context, Result};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::Path,
};

/// The user that Debian made for it.
const NAME: &str = "_apt";

/// A user without rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sandbox {
    /// Its name.
    pub(crate) name: String,
    uid: u32,
}

impl Sandbox {
    /// The one to use: none if this program has no rights to drop.
    pub(crate) fn find(etc: &Path) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        Self::parse(&fs::read_to_string(etc.join("passwd")).ok()?)
    }

    fn parse(passwd: &str) -> Option<Self> {
        let line = passwd.lines().find_map(|line| line.strip_prefix(NAME)?.strip_prefix(':'))?;
        Some(Self { name: NAME.into(), uid: line.split(':').nth(1)?.parse().ok()? })
    }

    /// Gives it a folder.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn give(&self, folder: &Path) -> Result<()> {
        chown(folder, Some(self.uid), None)
            .with_context(|| format!("cannot give {} to {}", folder.display(), self.name))
    }

    /// Lets it pass through a folder of ours; `false` if one above that isn't ours bars the way.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn let_through(folder: &Path) -> Result<bool> {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o711))?;
        Ok(folder.ancestors().all(|above| fs::metadata(above).is_ok_and(|data| data.mode() & 0o001 != 0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_is_found_by_name() {
        let passwd =
            "root:x:0:0:root:/root:/bin/bash\n_apt2:x:7:7::/:/x\n_apt:x:42:65534::/nonexistent:/usr/sbin/nologin\n";
        assert_eq!(Sandbox::parse(passwd), Some(Sandbox { name: "_apt".into(), uid: 42 }));
        assert_eq!(Sandbox::parse("root:x:0:0:root:/root:/bin/bash\n"), None);
        assert_eq!(Sandbox::parse("_apt:x:none:1::/:/x\n"), None);
    }

    #[test]
    fn a_closed_folder_above_bars_the_way() {
        let dir = tempfile::tempdir().unwrap();
        let (closed, inner) = (dir.path().join("closed"), dir.path().join("closed/inner"));
        fs::create_dir_all(&inner).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(!Sandbox::let_through(&inner).unwrap());
        assert_eq!(fs::metadata(&inner).unwrap().mode() & 0o777, 0o711);
    }
}
