//! What the test kernel and the rig that boots it agree on: the events that the kernel sends, the words of its command
//! line, its exit codes, the files of the share and what is in them, the scenarios with the machines they run on, and how
//! guests that share memory are stepped.
//!
//! Both sides use this crate, so that there is one copy of each.
//!
//! # Features
//! - `serde`: reading events ([`event::Event`]), which only the host does.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod command_line;
pub mod console;
pub mod content;
pub mod edits;
pub mod event;
pub mod exit;
pub mod machines;
pub mod scenarios;
pub mod share;
pub mod shared_memory;
pub mod stepping;
