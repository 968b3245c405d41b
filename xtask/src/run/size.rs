//! Sizes as people write them.

/// Parses a number of bytes with an optional suffix K, M, G or T (powers of 1024).
///
/// # Errors
/// A sentence about what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let upper = text.trim().to_ascii_uppercase();
    let digits = upper.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match &upper[digits.len()..] {
        "" => 0,
        "K" | "KIB" => 10,
        "M" | "MIB" => 20,
        "G" | "GIB" => 30,
        "T" | "TIB" => 40,
        other => return Err(format!("`{other}` is no unit; K, M, G and T are")),
    };
    let number: u64 = digits.parse().map_err(|_| format!("`{text}` is not a size such as 256M"))?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("`{text}` is too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(parse("4096"), Ok(4096));
        assert_eq!(parse("256M"), Ok(256 << 20));
        assert_eq!(parse("1g"), Ok(1 << 30));
        assert_eq!(parse("2KiB"), Ok(2048));
        for bad in ["", "M", "1X", "-1", "1.5G", "99999999T", "1 M B"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
