//! What the programme prints: a value a line.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::collections::BTreeMap;

/// One line.
#[derive(Clone, Debug, Deserialize)]
struct Line {
    name: String,
    who: String,
    value: f64,
    unit: String,
}

/// Values by benchmark and by owner, with their units.
#[derive(Clone, Debug, Default)]
pub(super) struct Values(BTreeMap<(String, String), (f64, String)>);

impl Values {
    /// Takes all lines of an output.
    ///
    /// # Errors
    /// When a line is no value, or a value is no number.
    pub(super) fn read(&mut self, output: &str) -> Result<()> {
        for text in output.lines().filter(|line| !line.is_empty()) {
            let line: Line = serde_json::from_str(text).with_context(|| format!("no value: {text}"))?;
            ensure!(line.value.is_finite() && line.value >= 0.0, "{} of {} is {}", line.name, line.who, line.value);
            self.add(&line.name, &line.who, line.value, &line.unit);
        }
        Ok(())
    }

    pub(super) fn add(&mut self, name: &str, who: &str, value: f64, unit: &str) {
        self.0.insert((name.to_owned(), who.to_owned()), (value, unit.to_owned()));
    }

    /// A value.
    pub(super) fn get(&self, name: &str, who: &str) -> Option<f64> {
        self.0.get(&(name.to_owned(), who.to_owned())).map(|(value, _)| *value)
    }

    /// The unit of ours.
    pub(super) fn unit(&self, name: &str) -> &str {
        self.0.get(&(name.to_owned(), "ours".to_owned())).map_or("", |(_, unit)| unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_values() {
        let mut values = Values::default();
        values.read("{\"name\":\"read\",\"who\":\"ours\",\"value\":2.5,\"unit\":\"ns\"}\n\n").unwrap();
        assert_eq!((values.get("read", "ours"), values.unit("read")), (Some(2.5), "ns"));
        assert_eq!((values.get("read", "pread"), values.unit("write")), (None, ""));
        assert!(values.read("speed").is_err());
        assert!(values.read("{\"name\":\"read\",\"who\":\"ours\",\"value\":null,\"unit\":\"ns\"}").is_err());
    }
}
