//! What to do, and how to say what came of it.

use crate::sys;
use std::fs;

/// Where the share is mounted.
pub(crate) const SHARE: &str = "/mnt";

/// What the kernel's command line says.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    /// How to mount.
    pub(crate) dax: String,
    /// What to mount.
    pub(crate) tag: String,
    /// What to do with it.
    pub(crate) run: String,
}

impl Task {
    /// Reads it.
    pub(crate) fn read() -> Self {
        let mut task = Task { dax: "inode".to_owned(), tag: "share".to_owned(), run: "check".to_owned() };
        for word in fs::read_to_string("/proc/cmdline").unwrap_or_default().split_whitespace() {
            match word.split_once('=') {
                Some(("dax", value)) => value.clone_into(&mut task.dax),
                Some(("tag", value)) => value.clone_into(&mut task.tag),
                Some(("run", value)) => value.clone_into(&mut task.run),
                _ => {}
            }
        }
        task
    }

    /// Mounts the share.
    pub(crate) fn mount(&self) -> std::io::Result<()> {
        sys::mount(&self.tag, SHARE, "virtiofs", &format!("dax={}", self.dax))
    }
}

/// One line for whoever reads the console.
pub(crate) fn say(name: &str, outcome: &str, detail: &str) {
    println!("GUEST {{\"name\":\"{name}\",\"outcome\":\"{outcome}\",\"detail\":\"{}\"}}", detail.escape_default());
}
