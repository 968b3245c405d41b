//! A tiny bare-metal kernel that reads and writes the host's files through virtio-fs and its DAX window.
//!
//! QEMU starts it by PVH (`-kernel`) on q35 and microvm, with no boot loader. What it does is on the command line, see
//! [`cmdline`]; what it found out goes to the host as JSON lines, see [`events`]; people read COM1.
#![cfg_attr(target_os = "none", no_std)]
#![cfg_attr(target_os = "none", no_main)]

#[cfg(any(target_os = "none", test))]
extern crate alloc;

#[cfg(target_os = "none")]
mod arch;
#[cfg(target_os = "none")]
mod benchmarks;
#[cfg(target_os = "none")]
mod boot;
#[cfg(any(target_os = "none", test))]
mod cmdline;
#[cfg(target_os = "none")]
mod commands;
#[cfg(target_os = "none")]
mod console;
#[cfg(target_os = "none")]
mod devices;
#[cfg(target_os = "none")]
mod digest;
#[cfg(target_os = "none")]
mod events;
#[cfg(target_os = "none")]
mod exit;
#[cfg(target_os = "none")]
mod hal;
#[cfg(target_os = "none")]
mod listing;
#[cfg(target_os = "none")]
mod machine;
#[cfg(any(target_os = "none", test))]
mod memory;
#[cfg(target_os = "none")]
mod mmap;
#[cfg(target_os = "none")]
mod mount;
#[cfg(target_os = "none")]
mod outcome;
#[cfg(target_os = "none")]
mod panic;
#[cfg(target_os = "none")]
mod pci;
#[cfg(target_os = "none")]
mod platform;
#[cfg(target_os = "none")]
mod region;
#[cfg(target_os = "none")]
mod scenarios;
#[cfg(target_os = "none")]
mod shell;
#[cfg(target_os = "none")]
mod show;
#[cfg(target_os = "none")]
mod tour;
#[cfg(any(target_os = "none", test))]
mod units;
#[cfg(target_os = "none")]
mod watchdog;

#[cfg(target_os = "none")]
mod start;
#[cfg(target_os = "none")]
use start::kernel_main;

/// On a system with an operating system there is nothing to run.
#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("the test kernel is built with --target x86_64-unknown-none and started by QEMU");
    std::process::exit(1);
}
