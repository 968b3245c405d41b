//! The least that an embedder links who mounts, opens, reads, maps and unmounts. `cargo xtask bench` says how much code of the
//! driver's that is; nobody boots it, and on a host it is empty.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod embedder;
#[cfg(target_os = "none")]
mod kernel;

// SAFETY: no other function has this name.
#[cfg(target_os = "none")]
#[expect(unsafe_code, reason = "the linker knows where a program begins by this name")]
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    use core::hint::{black_box, spin_loop};
    black_box(embedder::run(black_box(kernel::Kernel), black_box("file")));
    loop {
        spin_loop();
    }
}

#[cfg(not(target_os = "none"))]
fn main() {}
