//! How many instructions an operation takes today, so that nobody makes it dearer unseen.

use super::values::Values;
use anyhow::{Context, Result};

/// An operation.
struct Kept {
    name: &'static str,
    instructions: f64,
    /// Of them, those with a lock on the bus.
    locked: f64,
}

const fn kept(name: &'static str, instructions: f64, locked: f64) -> Kept {
    Kept { name, instructions, locked }
}

/// Over libkrun's device, on x86-64. Of those that send a request, with one more look for its answer than they mostly take: how often
/// they look depends on when the device's thread runs. Who makes one cheaper writes its new number here.
const KEPT: [Kept; 7] = [
    kept("read_64", 345.0, 2.0),
    kept("write_64", 375.0, 2.0),
    kept("map_drop", 1220.0, 25.0),
    kept("getattr", 3900.0, 40.0),
    kept("lookup_hit", 645.0, 14.0),
    kept("lookup_miss", 6900.0, 68.0),
    kept("map_again", 7100.0, 57.0),
];

/// Room for another C library or processor.
const ROOM: f64 = 1.05;

/// The number of operations, and a sentence for each that has become dearer.
///
/// # Errors
/// When one was not counted.
pub(super) fn judge(values: &Values) -> Result<(usize, Vec<String>)> {
    let mut dearer = Vec::new();
    for Kept { name, instructions, locked } in KEPT {
        for (what, bound) in [("instructions", instructions), ("locked", locked)] {
            let count = values.get(name, what).with_context(|| format!("no {what} were counted of {name}"))?;
            if count > bound * ROOM {
                dearer.push(format!("{name} takes {count:.0} {what}, and took {bound:.0}"));
            }
        }
    }
    Ok((KEPT.len(), dearer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_dearer_is_named() {
        let mut values = Values::default();
        assert!(judge(&values).is_err());
        for Kept { name, instructions, locked } in KEPT {
            values.add(name, "instructions", instructions * 1.04, "");
            values.add(name, "locked", locked, "");
        }
        assert_eq!(judge(&values).unwrap(), (KEPT.len(), vec![]));
        values.add("read_64", "locked", KEPT[0].locked + 1.0, "");
        let (_, dearer) = judge(&values).unwrap();
        assert_eq!(dearer, [format!("read_64 takes {} locked, and took {}", KEPT[0].locked + 1.0, KEPT[0].locked)]);
    }
}
