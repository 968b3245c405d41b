//! A virtiofsd that serves a DAX window.
fn main() {}
