//! Folders.

use super::{Stage, stage::same};
use crate::rig::boot::Report;
use anyhow::Result;
use std::{fs, os::unix::ffi::OsStrExt};

/// The listing that the kernel put out is the host's own: `f SIZE NAME` or `d - NAME`, sorted by name.
pub(super) fn listing_is_the_hosts(stage: &Stage, _: &Report) -> Result<()> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(stage.share.join("dirs/many"))? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let kind = if metadata.is_dir() { "d -".to_owned() } else { format!("f {}", metadata.len()) };
        entries.push((entry.file_name().as_bytes().to_vec(), kind));
    }
    entries.sort();
    let mut expected = Vec::new();
    for (name, kind) in entries {
        expected.extend_from_slice(kind.as_bytes());
        expected.push(b' ');
        expected.extend_from_slice(&name);
        expected.push(b'\n');
    }
    same("the listing of dirs/many", &stage.output, &expected)
}
