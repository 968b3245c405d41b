//! What the host says to the kernel: lines on COM1.

use crate::command_line::{decode, encode};
use alloc::{format, string::String, vec::Vec};

/// The longest line, in bytes, its end not counted.
pub const MAX_LINE: usize = 4096;

/// The answer to a sync: the kernel goes on.
pub fn go(name: &str) -> String {
    format!("go {name}")
}

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// The kernel goes on from the sync of this name.
    Go(String),
    /// The shell runs a command, of these words.
    Command(Vec<String>),
    /// The shell ends.
    End,
}

/// A command for the shell; `None` if it is longer than [`MAX_LINE`].
pub fn command(words: &[String]) -> Option<String> {
    let mut line = String::from("run");
    for word in words {
        line.push(' ');
        line.push_str(&encode(word));
    }
    (line.len() <= MAX_LINE).then_some(line)
}

/// The shell's end.
pub fn end() -> &'static str {
    "end"
}

/// Reads a line; `None` for one that is none of the host's.
pub fn parse(line: &str) -> Option<Line> {
    if line == end() {
        return Some(Line::End);
    }
    let (verb, rest) = line.split_once(' ')?;
    match verb {
        "go" => Some(Line::Go(rest.into())),
        "run" => rest.split(' ').map(decode).collect::<Option<_>>().map(Line::Command),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_were_meant() {
        assert_eq!(parse(&go("here")), Some(Line::Go("here".into())));
        let words = ["cat", "a b\n", "\u{fc}", ""].map(String::from).to_vec();
        assert_eq!(parse(&command(&words).unwrap()), Some(Line::Command(words)));
        assert_eq!(parse(end()), Some(Line::End));
        assert_eq!(command(&["x".repeat(MAX_LINE)]), None);
        for other in ["", "go", "stop here", "run %zz"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
