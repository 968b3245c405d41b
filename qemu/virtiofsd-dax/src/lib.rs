//! A real virtiofsd that serves a DAX window to a stock QEMU.
//!
//! The daemon embeds the virtiofsd crate as it is, and adds what that lacks: the requests by which a guest maps files
//! into its window, carried out over vhost-user's shared-memory messages that QEMU knows since 11.1.
//!
//! From the guest to the front end: [`device`] has the queues, [`queue`] takes requests from them by way of [`chain`]
//! and gives replies back, [`pool`] has the threads that do so, [`scratch`] the memory a request lies in meanwhile; [`memory`] is the guest's.
//! [`worker`] decides what a request means. [`share`] is virtiofsd's file system with what it lacks: checked [`names`],
//! a [`policy`], DAX in its attributes, and mappings that are cut before a file shrinks. [`access`] is the rule who may
//! map what. [`table`] is the window as all threads share it, [`mapper`] the exact table of what is mapped in it,
//! [`frontend`] talks to QEMU. The rest is the process around it.
#![deny(unsafe_code)]

pub mod access;
pub mod chain;
pub mod cli;
pub mod confine;
pub mod device;
pub mod fault;
pub mod frontend;
pub mod logging;
pub mod mapper;
pub mod memory;
pub mod names;
pub mod opcode;
pub mod policy;
pub mod pool;
pub mod queue;
pub mod record;
pub mod run;
pub mod scratch;
pub mod share;
pub mod socket;
pub mod sys;
pub mod table;
pub mod window;
pub mod worker;
