//! Passes the linker what a kernel that QEMU starts by PVH needs.
use std::{env, path::PathBuf};

fn main() {
    println!("cargo:rerun-if-changed=kernel.ld");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    let script = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("kernel.ld");
    for argument in [
        format!("-T{}", script.display()),
        // The target asks for a position-independent executable; QEMU loads this one where it is linked.
        "--no-pie".into(),
        "--build-id=none".into(),
        "-zmax-page-size=4096".into(),
        "-znorelro".into(),
    ] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
}
