//! A real virtiofsd that serves a DAX window to a stock QEMU.
//!
//! The daemon embeds the virtiofsd crate as it is, and adds what that lacks: the requests by which a guest maps files
//! into its window, carried out over vhost-user's shared-memory messages that QEMU knows since 11.1.
//!
//! From the guest to the front end: [`device`] has the queues, [`worker`] decides what a request means, [`mapper`]
//! keeps the exact table of what is mapped, [`frontend`] talks to QEMU. [`share`] is virtiofsd's file system with DAX
//! added to its attributes, [`access`] the rule who may map what. The rest is the process around it.
#![deny(unsafe_code)]

pub mod access;
pub mod chain;
pub mod cli;
pub mod confine;
pub mod device;
pub mod fault;
pub mod files;
pub mod frontend;
pub mod logging;
pub mod mapper;
pub mod names;
pub mod opcode;
pub mod record;
pub mod run;
pub mod share;
pub mod socket;
pub mod sys;
pub mod window;
pub mod worker;
