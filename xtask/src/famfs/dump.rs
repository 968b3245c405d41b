//! `cargo xtask famfs dump`

use super::image::{Image, ImageArgs};
use super::status::{CLEAN, DAMAGED, refused};
use anyhow::Result;
use clap::Args;
use famfs::{Checked, Event, FileNode, Kind, Node, NodeId};
use serde_json::{Value, json};
use std::{fmt::Write as _, io::Write};

/// `cargo xtask famfs dump`
#[derive(Args, Debug)]
pub(super) struct DumpArgs {
    #[command(flatten)]
    image: ImageArgs,
    /// Everything that replay accepts, as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn command(args: &DumpArgs, out: &mut dyn Write) -> Result<u8> {
    let image = Image::open(&args.image.image)?;
    let mut flaws = 0;
    let checked = image.check(&mut |event| {
        if let Event::Flaw(finding) = event {
            flaws += 1;
            eprintln!("{finding}");
        }
    })?;
    let checked = match checked {
        Ok(checked) => checked,
        Err(finding) => return Ok(refused(&finding)),
    };
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &whole(&checked))?;
        writeln!(out)?;
    } else {
        text(&checked, out)?;
    }
    Ok(if flaws == 0 { CLEAN } else { DAMAGED })
}

/// What the log made: not the directory and the files that belong to the medium.
fn made(checked: &Checked) -> impl Iterator<Item = &Node> {
    checked.tree.nodes().filter(|(id, _)| *id > NodeId::LOG).map(|(_, node)| node)
}

fn whole(checked: &Checked) -> Value {
    let Checked { superblock, header, entries, .. } = checked;
    let dirs: Vec<_> =
        made(checked).filter(|node| node.file().is_none()).map(|node| text_or_hex(node.path.as_bytes())).collect();
    let files: Vec<_> = made(checked).filter_map(|node| Some(file(node, node.file()?))).collect();
    json!({
        "version": superblock.format.version(),
        "log": {
            "offset": superblock.log_offset,
            "len": superblock.log_len,
            "slots": superblock.slots(),
            "next_index": header.next_index,
            "next_seqnum": header.next_seqnum,
        },
        "entries": entries,
        "dirs": dirs,
        "files": files,
    })
}

fn file(node: &Node, file: &FileNode) -> Value {
    let map = file.extents();
    let extents: Vec<_> = map.iter().map(|extent| json!([extent.device.0, extent.offset.0, extent.len])).collect();
    let interleave = file.chunk().map(|chunk| json!({ "chunk": chunk, "nstrips": extents.len() }));
    json!({
        "path": text_or_hex(node.path.as_bytes()),
        "size": file.size(),
        "mode": node.mode,
        "uid": node.uid,
        "gid": node.gid,
        "extents": extents,
        "interleave": interleave,
    })
}

/// A path as text, or as hexadecimal digits where it is not UTF-8.
fn text_or_hex(path: &[u8]) -> Value {
    match std::str::from_utf8(path) {
        Ok(text) => text.into(),
        Err(_) => {
            let hex = path.iter().fold(String::new(), |mut hex, byte| {
                // Writing to a string does not fail.
                let _ = write!(hex, "{byte:02x}");
                hex
            });
            json!({ "hex": hex })
        }
    }
}

fn text(checked: &Checked, out: &mut dyn Write) -> Result<()> {
    let Checked { superblock, header, entries, .. } = checked;
    writeln!(out, "version      {}", superblock.format.version())?;
    writeln!(out, "file system  {}", superblock.uuid)?;
    writeln!(out, "made by      {}", superblock.system_uuid)?;
    writeln!(out, "device       {} bytes, in units of {}", superblock.device_len, superblock.alloc_unit)?;
    writeln!(out, "log          {} bytes at {:#x}", superblock.log_len, superblock.log_offset)?;
    writeln!(out, "entries      {entries} of {} published, {} slots", header.next_index, superblock.slots())?;
    for node in made(checked) {
        let index = node.entry.map(|entry| entry.to_string()).unwrap_or_default();
        match &node.kind {
            Kind::Dir(_) => writeln!(out, "entry {index}: directory {}", node.path)?,
            Kind::File(file) => {
                writeln!(out, "entry {index}: file {} of {} bytes", node.path, file.size())?;
                if let Some(chunk) = file.chunk() {
                    writeln!(out, "    chunks of {chunk:#x} bytes take turns")?;
                }
                for extent in file.extents() {
                    writeln!(out, "    device {} at {}: {:#x} bytes", extent.device.0, extent.offset, extent.len)?;
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::Paths;

    fn dump(name: &str) -> Value {
        let image = Paths::find().unwrap().root.join(format!("crates/famfs/testdata/{name}.img.gz"));
        let mut out = Vec::new();
        command(&DumpArgs { image: ImageArgs { image }, json: true }, &mut out).unwrap();
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn a_dump_has_what_replay_accepts() {
        let dump = dump("v48-interleave-small");
        assert_eq!(dump["version"], 48);
        assert_eq!(dump["entries"], 4);
        assert_eq!(dump["dirs"], json!([]));
        let [file, simple] = [&dump["files"][2], &dump["files"][3]];
        assert_eq!(file["path"], "c20m");
        assert_eq!(file["size"], 20_971_521);
        assert_eq!(json!([file["mode"], file["uid"], file["gid"]]), json!([0o644, 0, 0]));
        assert_eq!(file["extents"][0], json!([0, 37_748_736, 4_194_304]));
        assert_eq!(file["interleave"], json!({ "chunk": 2 << 20, "nstrips": 6 }));
        assert_eq!(simple["interleave"], Value::Null);
    }

    #[test]
    fn a_path_that_is_not_text_is_shown_in_hexadecimal_digits() {
        let dump = dump("broken/v46-path-non-utf8");
        let paths = dump["files"].as_array().unwrap().iter().map(|file| &file["path"]);
        let hex: Vec<_> = paths.filter_map(|path| path["hex"].as_str()).collect();
        assert_eq!(hex.len(), 1);
        assert!(hex[0].starts_with("64312f"), "{hex:?}");
    }

    #[test]
    fn what_is_refused_is_not_in_a_dump() {
        let dump = dump("broken/v48-path-dotdot-dir");
        assert_eq!(dump["files"].as_array().unwrap().len(), 4);
        assert_eq!(dump["dirs"].as_array().unwrap().len(), 2);
    }
}
