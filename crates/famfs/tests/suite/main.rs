//! The crate against images that the real tools made, against naive models, and against memory that loses and forgets.

mod access;
mod contents;
mod crash;
mod damage;
mod fixture;
mod following;
mod golden;
mod hosts;
mod image;
mod models;
mod verdicts;
