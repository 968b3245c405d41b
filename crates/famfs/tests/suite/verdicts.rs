//! Each image gets the verdict that is expected of it.

use famfs::{Event, Kind, NodeId, check};
use serde_json::Value;

use crate::image::{Image, json};

/// What a check says of an image, in the form of the table of expectations.
fn verdict(name: &str) -> Value {
    let image = Image::load(name);
    let (mut errors, mut notes) = (Vec::new(), Vec::new());
    let checked = check(&image, |superblock| [superblock.device_len], &mut |event| match event {
        Event::Flaw(finding) => errors.push(format!("{}:{}", finding.place, finding.flaw.name())),
        Event::Note(remark) => notes.push(remark.to_string()),
    });
    // A note's numbers come after a colon and a space.
    let notes: Vec<_> = notes.iter().map(|note| note.split(": ").next().unwrap().to_owned()).collect();
    let exit = match &checked {
        Err(finding) if finding.is_unknown_format() => 2,
        _ => i32::from(!errors.is_empty()),
    };
    let (mut files, mut dirs) = (0, 0);
    if let Ok(checked) = &checked {
        for (_, node) in checked.tree.nodes().filter(|(id, _)| *id > NodeId::LOG) {
            match node.kind {
                Kind::File(_) => files += 1,
                Kind::Dir(_) => dirs += 1,
            }
        }
    }
    serde_json::json!({ "exit": exit, "errors": errors, "notes": notes, "files": files, "dirs": dirs })
}

#[test]
#[cfg_attr(miri, ignore = "a hundred images of 10 MiB")]
fn every_image_gets_its_verdict() {
    let expected = json("EXPECTED");
    let expected = expected.as_object().unwrap();
    let mut wrong = Vec::new();
    for (name, expected) in expected {
        let found = verdict(name);
        if found != *expected {
            wrong.push(format!("{name}\n  expected {expected}\n  found    {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(expected.len(), 100);
}
