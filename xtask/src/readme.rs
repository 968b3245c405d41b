//! The README's examples compile: `cargo test` takes them from here.
#![cfg_attr(doctest, doc = include_str!("../../README.md"))]
