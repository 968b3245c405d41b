//! The crate against images that the real tools made, against naive models, and against memory that loses and forgets.

mod contents;
mod image;
mod verdicts;
