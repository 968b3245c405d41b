//! Commands as they are printed.

use std::process::Command;

/// A command as a user would type it: the programme and its arguments, quoted where a shell needs it.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let mut line = String::new();
    for word in words {
        let word = word.to_string_lossy();
        if !line.is_empty() {
            line.push(' ');
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
        if !word.is_empty() && word.chars().all(plain) {
            line.push_str(&word);
        } else {
            line.push('\'');
            line.push_str(&word.replace('\'', r"'\''"));
            line.push('\'');
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_shown_as_typed() {
        let mut command = Command::new("qemu");
        command.args(["-append", "mode=tour x", "it's", "", "a=b,c"]);
        assert_eq!(shown(&command), r"qemu -append 'mode=tour x' 'it'\''s' '' a=b,c");
    }
}
