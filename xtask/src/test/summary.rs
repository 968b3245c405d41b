//! The closing lines of Rust's own test harness.

use crate::qemu_test::Tally;

/// Reads `test result: ok. 3 passed; 0 failed; 1 ignored; ...`.
pub(super) fn parse(line: &str) -> Option<Tally> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut tally = Tally::default();
    for part in counts.split(';') {
        let mut words = part.split_whitespace();
        let (Some(number), Some(word)) = (words.next(), words.next()) else { continue };
        let Ok(number) = number.parse() else { continue };
        match word {
            "passed" => tally.passed = number,
            "failed" => tally.failed = number,
            "ignored" => tally.skipped = number,
            _ => {}
        }
    }
    Some(tally)
}

/// Reads `3 passed, 0 failed, 1 skipped`.
pub(super) fn parse_total(line: &str) -> Option<Tally> {
    let mut counts = ["passed", "failed", "skipped"].into_iter().zip(line.split(", ")).map(|(word, part)| {
        let (number, named) = part.split_once(' ')?;
        if named == word { number.parse().ok() } else { None }
    });
    let mut next = || counts.next().flatten();
    Some(Tally { passed: next()?, failed: next()?, skipped: next()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines() {
        let line = "test result: ok. 46 passed; 0 failed; 2 ignored; 0 measured; 7 filtered out; finished in 0.25s";
        assert_eq!(parse(line), Some(Tally { passed: 46, failed: 0, skipped: 2 }));
        let line = "test result: FAILED. 1 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(parse(line), Some(Tally { passed: 1, failed: 3, skipped: 0 }));
        assert_eq!(parse("test a::b ... ok"), None);
    }

    #[test]
    fn totals() {
        let tally = Tally { passed: 3, failed: 0, skipped: 1 };
        assert_eq!(parse_total(&tally.to_string()), Some(tally));
        for other in ["", "3 passed", "3 failed, 0 passed, 1 skipped", "x passed, 0 failed, 1 skipped"] {
            assert_eq!(parse_total(other), None, "{other}");
        }
    }
}
