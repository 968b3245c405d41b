//! Small trees of files, each with one thing wrong, or with something that only looks wrong.

use super::offences;
use crate::workspace::Crate;
use std::{fs, path::Path};

/// Writes a crate and says how it is wrong.
fn keys(name: &str, files: &[(&str, &str)]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let one = write(dir.path(), name, files);
    offences(&[one]).unwrap().into_iter().map(|offence| offence.key).collect()
}

fn write(root: &Path, name: &str, files: &[(&str, &str)]) -> Crate {
    let place = Path::new("crates").join(name);
    let folder = root.join(&place);
    for (file, text) in files {
        let file = folder.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    let roots = files.iter().filter(|(file, _)| ["src/lib.rs", "tests/all/main.rs"].contains(file));
    let roots = roots.map(|(file, _)| folder.join(file)).collect();
    Crate {
        name: name.into(),
        folder,
        place,
        roots,
        needs: Vec::new(),
        dependencies: Vec::new(),
        published: true,
        rust_version: None,
    }
}

const NONE: [&str; 0] = [];

#[test]
fn two_files_that_point_at_each_other() {
    let found = keys(
        "famfs",
        &[
            ("src/lib.rs", "mod a; mod b;"),
            ("src/a.rs", "use crate::b::B; pub struct A(B);"),
            ("src/b.rs", "pub struct B; fn f() { super::a::A::new(); }"),
        ],
    );
    assert_eq!(found, ["circle crates/famfs/src/a.rs", "circle crates/famfs/src/b.rs"]);
}

#[test]
fn a_circle_over_re_exports_and_globs() {
    let found = keys(
        "famfs",
        &[
            ("src/lib.rs", "mod a; mod b; mod c; pub use a::A; pub use b::*;"),
            ("src/a.rs", "use crate::C; pub struct A(C);"),
            ("src/b.rs", "pub use crate::c::Inner as C;"),
            ("src/c.rs", "use crate::*; pub struct Inner; fn f(_: &A) {}"),
        ],
    );
    assert_eq!(found, ["circle crates/famfs/src/a.rs", "circle crates/famfs/src/c.rs"]);
}

#[test]
fn a_circle_inside_macros() {
    let found = keys(
        "famfs",
        &[
            ("src/lib.rs", "mod a; mod b;"),
            ("src/a.rs", "pub const A: u32 = 1; fn f() { assert!(g(&[crate::b::B, 1])); }"),
            ("src/b.rs", "pub const B: u32 = crate::a::A;"),
        ],
    );
    assert_eq!(found, ["circle crates/famfs/src/a.rs", "circle crates/famfs/src/b.rs"]);
}

#[test]
fn a_circle_over_macros_that_are_called() {
    let found = keys(
        "famfs",
        &[
            ("src/lib.rs", "#[macro_use] mod a; mod b;"),
            ("src/a.rs", "macro_rules! twice { ($e:expr) => { $e * 2 } } fn f() { crate::b::g(); }"),
            ("src/b.rs", "pub fn g() -> u32 { twice!(1) }"),
        ],
    );
    assert_eq!(found, ["circle crates/famfs/src/a.rs", "circle crates/famfs/src/b.rs"]);
}

#[test]
fn a_type_whose_methods_are_spread() {
    let files = |caller: &str| {
        keys(
            "famfs",
            &[
                ("src/lib.rs", "mod a; mod b;"),
                ("src/a.rs", &format!("pub struct A; impl A {{ fn f(&self) {{ {caller} }} }}")),
                ("src/b.rs", "use crate::a::A; impl A { pub fn g(&self) {} }"),
            ],
        )
    };
    let both = ["circle crates/famfs/src/a.rs", "circle crates/famfs/src/b.rs"];
    assert_eq!(files("self.g()"), both);
    assert_eq!(files("Self::g(self)"), both);
    assert_eq!(files("assert!(!self.g());"), both);
    assert_eq!(files("self.h()"), NONE);
}

#[test]
fn what_only_looks_like_a_circle() {
    let found = keys(
        "famfs",
        &[
            ("src/lib.rs", "mod a; mod b; pub use a::A; pub mod inner { pub struct C; }"),
            // Siblings by way of their parent, a parent's own child, tests, comments and strings.
            ("src/a.rs", "mod part; pub use part::Part; pub struct A; // crate::b::B"),
            ("src/a/part.rs", "pub struct Part; const TEXT: &str = \"super::A\";"),
            ("src/b.rs", "use crate::{A, a::Part}; #[cfg(test)] mod tests { use crate::c; } pub struct B(A, Part);"),
        ],
    );
    assert_eq!(found, NONE);
    let found = keys(
        "famfs",
        &[
            ("src/lib.rs", "mod a; mod b;"),
            ("src/a.rs", "pub struct A; #[cfg(test)] mod tests { use crate::b::B; }"),
            ("src/b.rs", "use crate::a::A; pub struct B(A);"),
        ],
    );
    assert_eq!(found, NONE);
}

#[test]
fn a_child_that_uses_what_its_parent_defines_and_takes_from_it() {
    let found = keys(
        "famfs",
        &[
            ("src/lib.rs", "mod a;"),
            ("src/a.rs", "mod part; use part::Part; pub struct A(Part);"),
            ("src/a/part.rs", "use super::A; pub struct Part; fn f(_: A) {}"),
        ],
    );
    assert_eq!(found, ["circle crates/famfs/src/a.rs", "circle crates/famfs/src/a/part.rs"]);
}

#[test]
fn the_files_of_a_test() {
    let found = keys(
        "famfs",
        &[
            ("src/lib.rs", ""),
            ("tests/all/main.rs", "mod rig; mod one; pub fn shared() {}"),
            ("tests/all/rig.rs", "pub fn rig() { crate::one::part(); }"),
            ("tests/all/one.rs", "use crate::rig; pub fn part() {} #[test] fn t() { rig::rig(); }"),
        ],
    );
    assert_eq!(found, ["circle crates/famfs/tests/all/one.rs", "circle crates/famfs/tests/all/rig.rs"]);
}

#[test]
fn an_arrow_upwards_between_layers() {
    let found = keys(
        "virtio-fs",
        &[
            ("src/lib.rs", "mod api; mod io; mod queue; mod window;"),
            ("src/api.rs", "mod file; pub use file::File;"),
            ("src/api/file.rs", "use crate::io::read; pub struct File; fn f() { read(); }"),
            ("src/io.rs", "use crate::queue::Queue; pub fn read() -> Queue { Queue }"),
            ("src/queue.rs", "pub struct Queue;"),
            ("src/window.rs", "use crate::api::File; fn f(_: &File) {}"),
        ],
    );
    assert_eq!(found, ["layer crates/virtio-fs/src/window.rs -> api"]);
}

#[test]
fn an_arrow_upwards_by_way_of_a_file_without_a_layer() {
    let found = keys(
        "virtio-fs",
        &[
            ("src/lib.rs", "mod shared; mod rpc; mod volume;"),
            ("src/rpc.rs", "use crate::shared::Shared; fn f(_: Shared) {}"),
            ("src/shared.rs", "pub struct Shared(crate::volume::Volume);"),
            ("src/volume.rs", "pub struct Volume;"),
        ],
    );
    assert_eq!(found, ["layer crates/virtio-fs/src/rpc.rs -> volume"]);
}

#[test]
fn the_device_is_for_mounting() {
    let found = keys(
        "virtio-fs",
        &[
            ("src/lib.rs", "mod api; mod queue; mod device;"),
            ("src/api.rs", "mod mount; mod file;"),
            ("src/api/mount.rs", "use crate::device::Device; fn f(_: Device) {}"),
            ("src/api/file.rs", "use crate::device::Device; fn f(_: Device) {}"),
            ("src/queue.rs", "use crate::device::Device; fn f(_: Device) {}"),
            ("src/device.rs", "mod part; pub struct Device; fn f() { part::f(); }"),
            ("src/device/part.rs", "pub fn f() {}"),
        ],
    );
    assert_eq!(
        found,
        ["layer crates/virtio-fs/src/api/file.rs -> device", "layer crates/virtio-fs/src/queue.rs -> device"]
    );
}

#[test]
fn crates_know_only_what_is_below() {
    let dir = tempfile::tempdir().unwrap();
    let crates = [
        ("virtio-fs", &["virtio-shm", "fs-dax", "transport-pci"][..]),
        ("transport-pci", &["virtio-shm", "transport-mmio"]),
        ("transport-mmio", &[]),
        ("fs-dax", &["dax-window"]),
        ("dax-window", &["testkernel"]),
        ("virtio-shm", &[]),
        ("new-one", &[]),
    ];
    let crates = crates.map(|(name, needs)| Crate {
        needs: needs.iter().map(|&needed| needed.into()).collect(),
        ..write(dir.path(), name, &[("src/lib.rs", "")])
    });
    let found: Vec<_> = offences(&crates).unwrap().into_iter().map(|offence| offence.key).collect();
    assert_eq!(
        found,
        [
            "crate dax-window -> testkernel",
            "crate fs-dax -> dax-window",
            "crate transport-pci -> transport-mmio",
            "place new-one"
        ]
    );
}

#[test]
fn what_a_manifest_names_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let mut one =
        write(dir.path(), "famfs", &[("src/lib.rs", "use log::info; // unused_one is not used"), ("build.rs", "")]);
    one.dependencies = ["log", "lo", "famfs"].map(str::to_owned).to_vec();
    let found: Vec<_> = offences(&[one]).unwrap().into_iter().map(|offence| offence.key).collect();
    assert_eq!(found, ["unused famfs lo"]);
}

#[test]
fn long_functions_say_why() {
    let body = "    x();\n".repeat(59);
    let text = |above: &str| format!("/// Does it.\n{above}fn long() {{\n{body}}}\nstruct S;\nimpl S {{\n}}\n");
    let one = |text: &str| keys("famfs", &[("src/lib.rs", text)]);
    assert_eq!(one(&text("")), ["long crates/famfs/src/lib.rs long"]);
    assert_eq!(one(&text("// Long: a table, one line a row.\n")), NONE);
    assert_eq!(one(&text("// Long: a table, one line a row.\n#[inline]\n")), NONE);
    assert_eq!(one(&text("// Long:\n")), ["long crates/famfs/src/lib.rs long"]);
    assert_eq!(one(&text("").replacen("    x();\n", "", 1)), NONE);
    let method = format!("struct S;\nimpl S {{\n    #[cfg(test)]\n    fn m() {{\n{body}    }}\n}}\n");
    assert_eq!(one(&method), ["long crates/famfs/src/lib.rs m"]);
}

#[test]
fn a_crate_without_a_place() {
    let dir = tempfile::tempdir().unwrap();
    let one = write(dir.path(), "new-one", &[("src/lib.rs", "")]);
    let found = offences(&[one]).unwrap();
    let shown: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert_eq!(shown.len(), 1);
    assert!(shown[0].starts_with("place new-one\n  (the crate new-one has no place"), "{shown:?}");
}

#[test]
fn a_file_that_is_no_rust_is_named_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let one = write(dir.path(), "famfs", &[("src/lib.rs", "fn f() {}\nfn {}\n")]);
    let error = format!("{:#}", offences(&[one]).unwrap_err());
    assert!(error.contains("src/lib.rs:2:"), "{error}");
}
