//! Versions of QEMU.

/// Major and minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u32, pub(crate) u32);

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// Reads `QEMU emulator version 11.1.3 (...)`, or a package's version with an epoch.
pub(crate) fn parse_version(line: &str) -> Option<Version> {
    let number = match line.split_once("version ") {
        Some((before, number)) if before.starts_with("QEMU") => number,
        Some(_) => return None,
        None => line.split_once(':').map_or(line, |(_, rest)| rest),
    };
    let mut parts = number.split(|c: char| !c.is_ascii_digit());
    Some(Version(parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(parse_version("QEMU emulator version 11.1.3 (Debian 1:11.1.3+ds-2~bpo13+1)"), Some(Version(11, 1)));
        assert_eq!(parse_version("QEMU emulator version 7.2.17"), Some(Version(7, 2)));
        assert_eq!(parse_version("1:11.1.3+ds-2~bpo13+1"), Some(Version(11, 1)));
        assert_eq!(parse_version("GNU bash, version 5.2.15"), None);
        assert_eq!(parse_version("hello"), None);
        let needed = Version(11, 1);
        assert!(Version(12, 0) >= needed && Version(11, 0) < needed && Version(9, 9) < needed);
    }
}
