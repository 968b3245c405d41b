//! The driver against devices and servers that others wrote, in this process, without a virtual machine.
//!
//! There are two: libkrun's virtio-fs device, and one of our own around the server of fuse-backend-rs, which is strict
//! with the driver and can be made to misbehave. Both fill the DAX window with real mappings of real files.
//! `PEERS_LOG=debug` shows what everybody logs.
#![cfg_attr(target_os = "linux", expect(unsafe_code, reason = "memory, mappings and system calls are the tests' own"))]

#[cfg(target_os = "linux")]
mod asynchronous;
#[cfg(target_os = "linux")]
mod bring_up;
mod budgets;
#[cfg(target_os = "linux")]
mod coherence;
#[cfg(target_os = "linux")]
mod copies;
#[cfg(target_os = "linux")]
mod damage;
#[cfg(target_os = "linux")]
mod dax;
#[cfg(target_os = "linux")]
mod deadlines;
#[cfg(target_os = "linux")]
mod differential;
#[cfg(target_os = "linux")]
mod directories;
#[cfg(target_os = "linux")]
mod discovery;
#[cfg(target_os = "linux")]
mod durability;
#[cfg(target_os = "linux")]
mod errors;
#[cfg(target_os = "linux")]
mod failure;
#[cfg(target_os = "linux")]
mod faults;
#[cfg(target_os = "linux")]
mod files;
#[cfg(target_os = "linux")]
mod footprint;
#[cfg(target_os = "linux")]
mod forget;
#[cfg(target_os = "linux")]
mod full;
#[cfg(target_os = "linux")]
mod hostile;
#[cfg(target_os = "linux")]
mod hosts;
#[cfg(target_os = "linux")]
mod late;
#[cfg(target_os = "linux")]
mod listed;
#[cfg(target_os = "linux")]
mod listings;
#[cfg(target_os = "linux")]
mod notices;
#[cfg(target_os = "linux")]
mod partition;
#[cfg(target_os = "linux")]
mod path_grammar;
#[cfg(target_os = "linux")]
mod pins;
#[cfg(target_os = "linux")]
mod reclaim;
#[cfg(target_os = "linux")]
mod requests;
#[cfg(target_os = "linux")]
mod rig;
#[cfg(target_os = "linux")]
mod steps;
#[cfg(target_os = "linux")]
mod stores;
#[cfg(target_os = "linux")]
mod submounts;
#[cfg(target_os = "linux")]
mod sync_faults;
#[cfg(target_os = "linux")]
mod sync_order;
#[cfg(target_os = "linux")]
mod threads;
#[cfg(target_os = "linux")]
mod truncating_opens;
#[cfg(target_os = "linux")]
mod unlinked;
#[cfg(target_os = "linux")]
mod unmount;

#[cfg(not(target_os = "linux"))]
#[test]
#[ignore = "the devices need Linux"]
fn peers() {}
