//! Pages become writable one store at a time.

use crate::scenarios::scenario::{PLAIN, Scenario};
use anyhow::bail;
use testkernel_protocol::content::Content;

const PAGE: usize = 4096;

const MIB: usize = 1 << 20;

/// What the kernel stores through page tables is in the host's file.
pub(crate) fn write_fault_marks_dirty() -> Scenario {
    Scenario {
        at: |stage, name| match name {
            "stored" => {
                let small = 2 * MIB;
                let stores = [
                    (small + 5 * PAGE + 8, 0x1112),
                    (small + 9 * PAGE, 0x2223),
                    (4096, 0x3334),
                    (small + 5 * PAGE + 16, 0x4445),
                    (2 * MIB - 8, 0x5556),
                ];
                stage.holds("dax/guest-write", &with_words("dax/guest-write", 4 * MIB, &stores))
            }
            _ => bail!("the kernel waits for `{name}`, not `stored`"),
        },
        after: |stage, _| stage.passed_by("stored"),
        ..PLAIN
    }
}

/// What the kernel stores to a private view is not in the host's file; what it stores to a shared one is.
pub(crate) fn private_cow() -> Scenario {
    Scenario {
        at: |stage, name| match name {
            "untouched" => {
                let stores = [(3 * PAGE + 8, 0xf1), (4 * PAGE, 0xf2)];
                stage.holds("dax/map", &with_words("dax/map", 6 * MIB, &stores))
            }
            _ => bail!("the kernel waits for `{name}`, not `untouched`"),
        },
        after: |stage, _| stage.passed_by("untouched"),
        ..PLAIN
    }
}

/// The contents of a file with some little-endian words of 64 bits stored to it.
fn with_words(name: &str, length: usize, words: &[(usize, u64)]) -> Vec<u8> {
    let mut bytes = Content::of(name).bytes(0, length);
    for &(offset, word) in words {
        bytes[offset..offset + 8].copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_stored_where_they_belong() {
        let bytes = with_words("x", 64, &[(8, 0x0102), (56, u64::MAX)]);
        let plain = Content::of("x").bytes(0, 64);
        assert_eq!((&bytes[..8], &bytes[16..56]), (&plain[..8], &plain[16..56]));
        assert_eq!((&bytes[8..10], &bytes[56..]), ([2, 1].as_slice(), [0xff; 8].as_slice()));
    }
}
