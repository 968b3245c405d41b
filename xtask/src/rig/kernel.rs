//! The scenarios in the test kernel's binary.

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSection};
use std::{fs, path::Path};

/// The section with the scenarios' names, each ended by NUL.
const SECTION: &str = ".scenarios";

/// The names of the scenarios in a kernel's binary, as `SUITE::NAME`, without booting it.
///
/// # Errors
/// When the file cannot be read, is no ELF, has no such section, or a name in it is none.
pub(crate) fn scenarios(kernel: &Path) -> Result<Vec<String>> {
    let bytes = fs::read(kernel).with_context(|| format!("cannot read the kernel {}", kernel.display()))?;
    let file = object::File::parse(&*bytes).with_context(|| format!("{} is no kernel", kernel.display()))?;
    let section =
        file.section_by_name(SECTION).with_context(|| format!("the kernel {} lists no scenarios", kernel.display()))?;
    parse_names(section.data()?)
}

fn parse_names(bytes: &[u8]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for name in bytes.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let name = std::str::from_utf8(name).context("a scenario's name is not UTF-8")?;
        let proper = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !name.split_once("::").is_some_and(|(suite, test)| proper(suite) && proper(test)) {
            bail!("`{name}` in the kernel's list of scenarios is not SUITE::NAME");
        }
        if names.iter().any(|other| other == name) {
            bail!("the kernel lists {name} twice");
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read() {
        assert_eq!(parse_names(b"a::b\0suite_2::x\0\0\0").unwrap(), ["a::b", "suite_2::x"]);
        assert_eq!(parse_names(b"").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for bad in [b"ab\0".as_slice(), b"a::\0", b"a::b\0a::b\0", b"a b::c\0", b"\xff::a\0"] {
            assert!(parse_names(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_file_that_is_no_kernel_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(scenarios(file.path()).unwrap_err().to_string().contains("is no kernel"));
        assert!(scenarios(Path::new("/no/such/kernel")).is_err());
    }
}
