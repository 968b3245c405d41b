//! The logs of a boot, as a failure shows them.

use super::boot::LOGS;
use std::{fmt::Write, fs, path::Path};

/// Lines of each log that are shown; the rest is in the boot's folder.
const SHOWN: usize = 60;

/// The ends of the logs in a boot's folder.
pub(crate) fn ends(folder: &Path) -> String {
    let mut text = String::new();
    for (title, file) in LOGS {
        let Ok(bytes) = fs::read(folder.join(file)) else { continue };
        let log = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = log.lines().collect();
        if lines.is_empty() {
            continue;
        }
        let left_out = lines.len().saturating_sub(SHOWN);
        let note = if left_out > 0 { format!(" (its last {SHOWN} lines of {})", lines.len()) } else { String::new() };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  --- {title}{note}");
        for line in &lines[left_out..] {
            let _ = writeln!(text, "  | {}", line.trim_end());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_logs_are_cut_and_empty_ones_left_out() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(ends(dir.path()), "");
        let lines: String = (0..100).map(|line| format!("line {line}\r\n")).collect();
        fs::write(dir.path().join(LOGS[0].1), lines).unwrap();
        fs::write(dir.path().join(LOGS[2].1), "").unwrap();
        let text = ends(dir.path());
        assert!(text.starts_with("  --- the kernel's log (its last 60 lines of 100)\n  | line 40\n"), "{text}");
        assert!(text.ends_with("  | line 99\n"), "{text}");
    }
}
