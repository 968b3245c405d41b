//! `cargo xtask famfs ls`

use super::image::{Image, ImageArgs};
use super::status::{CLEAN, DAMAGED, refused};
use anyhow::Result;
use clap::Args;
use famfs::{Kind, Node, Tree};
use std::{ffi::OsString, io::Write, os::unix::ffi::OsStrExt};

/// `cargo xtask famfs ls`
#[derive(Args, Debug)]
pub(super) struct LsArgs {
    #[command(flatten)]
    image: ImageArgs,
    /// A file or directory of the image (default: everything in it)
    path: Option<OsString>,
}

pub(super) fn command(args: &LsArgs, out: &mut dyn Write) -> Result<u8> {
    let image = Image::open(&args.image.image)?;
    let tree = match image.check(&mut |_| {})? {
        Ok(checked) => checked.tree,
        Err(finding) => {
            eprintln!("error: {finding}");
            return Ok(refused(&finding));
        }
    };
    let Some(path) = &args.path else {
        for (_, node) in tree.nodes().skip(1) {
            line(node, out)?;
        }
        return Ok(CLEAN);
    };
    let wanted = path.as_bytes().strip_prefix(b"/").unwrap_or(path.as_bytes());
    match tree.lookup(wanted).and_then(|id| tree.node(id)) {
        Some(node) => show(&tree, node, out).map(|()| CLEAN),
        None => {
            eprintln!("error: {} has no {}", args.image.image.display(), path.display());
            Ok(DAMAGED)
        }
    }
}

fn show(tree: &Tree, node: &Node, out: &mut dyn Write) -> Result<()> {
    match &node.kind {
        Kind::File(_) => line(node, out),
        Kind::Dir(children) => children.iter().filter_map(|id| tree.node(*id)).try_for_each(|child| line(child, out)),
    }
}

fn line(node: &Node, out: &mut dyn Write) -> Result<()> {
    let (kind, size) = match &node.kind {
        Kind::Dir(_) => ('d', 0),
        Kind::File(file) => ('-', file.size()),
    };
    let Node { mode, uid, gid, path, .. } = node;
    writeln!(out, "{kind}{mode:03o} {uid:>5} {gid:>5} {size:>12} {path}")?;
    Ok(())
}
