//! `cargo xtask famfs check`

use super::image::{Image, ImageArgs};
use super::status::{CLEAN, DAMAGED, refused};
use anyhow::Result;
use clap::Args;
use famfs::{Checked, Event, Kind, NodeId, Note, Place, Remark, layout::Uuid};
use std::io::Write;

/// `cargo xtask famfs check`
#[derive(Args, Debug)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    image: ImageArgs,
    /// The identity of a host: say whether it is the master
    #[arg(long, value_name = "UUID")]
    system: Option<Uuid>,
}

pub(super) fn command(args: &CheckArgs, out: &mut dyn Write) -> Result<u8> {
    let image = Image::open(&args.image.image)?;
    let (mut flaws, mut remarks) = (Vec::new(), Vec::new());
    let checked = image.check(&mut |event| match event {
        Event::Flaw(finding) => flaws.push(finding),
        Event::Note(remark) => remarks.push(remark),
    })?;
    if let (Ok(Checked { superblock, .. }), Some(system)) = (&checked, args.system)
        && superblock.system_uuid != system
    {
        let note = Note::ForeignSystem { system: superblock.system_uuid };
        remarks.insert(0, Remark { place: Place::Superblock, note });
    }
    for finding in &flaws {
        writeln!(out, "{finding}")?;
    }
    for remark in &remarks {
        writeln!(out, "note: {remark}")?;
    }
    match checked {
        Ok(checked) => {
            readable(&checked, out)?;
            Ok(if flaws.is_empty() { CLEAN } else { DAMAGED })
        }
        Err(finding) => {
            writeln!(out, "readable: nothing")?;
            Ok(refused(&finding))
        }
    }
}

fn readable(checked: &Checked, out: &mut dyn Write) -> Result<()> {
    let made = || checked.tree.nodes().filter(|(id, _)| *id > NodeId::LOG);
    let files = made().filter(|(_, node)| matches!(node.kind, Kind::File(_))).count();
    writeln!(
        out,
        "readable: version {}, {} of {} log entries, {files} files, {} directories",
        checked.superblock.format.version(),
        checked.entries,
        checked.header.next_index,
        made().count() - files,
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::Paths;

    fn check(name: &str) -> (u8, String) {
        let image = Paths::find().unwrap().root.join(format!("crates/famfs/testdata/{name}.img.gz"));
        let mut out = Vec::new();
        let args = CheckArgs { image: ImageArgs { image }, system: Some(Uuid::default()) };
        let status = command(&args, &mut out).unwrap();
        (status, String::from_utf8(out).unwrap())
    }

    #[test]
    fn errors_come_first_then_notes_then_what_is_readable() {
        let (status, out) = check("broken/v48-path-duplicate-dir");
        assert_eq!(status, 1);
        let lines: Vec<_> = out.lines().collect();
        assert!(lines[0].starts_with("entry 4:path_parent"), "{out}");
        assert!(lines[1].starts_with("entry 5:path_parent"), "{out}");
        assert!(lines[2].starts_with("note: made by the host 5e7a1b2c-0001-4f4d-8653-00000000c0de"), "{out}");
        assert_eq!(lines[3], "note: entry 1:directory again");
        assert_eq!(lines[4], "readable: version 48, 9 of 9 log entries, 4 files, 2 directories");
        assert_eq!(lines.len(), 5);
    }

    #[test]
    fn the_exit_status_tells_damaged_from_unknown() {
        for (name, expected, first) in [
            ("v48-empty", 0, "note: made by"),
            ("broken/v46-sb-zero", 2, "superblock:magic"),
            ("broken/v48-sb-version-plus1-crc-ok", 2, "superblock:version"),
            ("broken/v46-trunc-100-bytes", 1, "superblock:truncated"),
            ("broken/v48-log-bad-header-crc", 1, "log:crc"),
        ] {
            let (status, out) = check(name);
            assert_eq!(status, expected, "{name}");
            assert!(out.starts_with(first), "{name}: {out}");
        }
    }
}
