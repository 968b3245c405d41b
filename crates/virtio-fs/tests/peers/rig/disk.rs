//! A small file system that can be filled: a tmpfs that only a helper process has mounted, in namespaces of its own, so that
//! nobody needs to be root.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// See the module.
pub(crate) struct SmallDisk {
    helper: Child,
    path: PathBuf,
    _mount_point: TempDir,
}

impl SmallDisk {
    /// One of `len` bytes; `None`, said aloud, where the host lets nobody mount.
    pub(crate) fn new(len: u64) -> Option<Self> {
        let mount_point = TempDir::new().expect("a temporary folder");
        let script = r#"mount -t tmpfs -o size="$0",mode=0755 none "$1" && echo mounted && exec cat"#;
        let mut helper = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, &len.to_string()])
            .arg(mount_point.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let mut said = String::new();
        let output = helper.stdout.take().expect("it is piped");
        let _ = BufReader::new(output).read_line(&mut said);
        // Through the helper's view of the file system, which whoever started it may look at.
        let root = PathBuf::from(format!("/proc/{}/root", helper.id()));
        let path = root.join(mount_point.path().strip_prefix("/").expect("temporary folders have absolute paths"));
        let disk = Self { helper, path, _mount_point: mount_point };
        if said.trim() != "mounted" {
            eprintln!("skipped: this host lets nobody mount a tmpfs in a namespace of his own");
            return None;
        }
        Some(disk)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // It may be over already.
        let _ = self.helper.kill();
        let _ = self.helper.wait();
    }
}
