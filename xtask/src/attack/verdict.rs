//! What an attack closes with.

use std::fmt;

/// How many inputs were tried, and how many of them found something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) inputs: u64,
    pub(crate) findings: u64,
}

impl Verdict {
    /// Both together.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            inputs: self.inputs.saturating_add(other.inputs),
            findings: self.findings.saturating_add(other.findings),
        }
    }

    /// Reads the closing line of an attack's output, `N inputs, N findings`. An attack that does not close with it, or
    /// that fails and counts nothing, has found something: it fell over.
    pub(super) fn of(success: bool, said: &str) -> Self {
        let closing = said.lines().rev().find_map(parse).unwrap_or(Self { inputs: 0, findings: 1 });
        if success || closing.findings > 0 { closing } else { Self { findings: 1, ..closing } }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} inputs, {} findings", self.inputs, self.findings)
    }
}

fn parse(line: &str) -> Option<Verdict> {
    let (inputs, findings) = line.strip_suffix(" findings")?.split_once(" inputs, ")?;
    Some(Verdict { inputs: inputs.parse().ok()?, findings: findings.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines() {
        let quiet = Verdict { inputs: 40, findings: 0 };
        assert_eq!(Verdict::of(true, &format!("seed 1\n{quiet}\n")), quiet);
        let found = Verdict { inputs: 40, findings: 2 };
        assert_eq!(Verdict::of(false, &format!("finding: a panic\n{found}\n")), found);
    }

    #[test]
    fn an_attack_that_falls_over_is_a_finding() {
        assert_eq!(Verdict::of(false, "").findings, 1);
        assert_eq!(Verdict::of(true, "seed 1\n").findings, 1);
        assert_eq!(Verdict::of(false, "7 inputs, 0 findings\n"), Verdict { inputs: 7, findings: 1 });
    }
}
