//! What the daemon wrote down: each request it served, each mapping it made or removed, and a summary at its end.

use anyhow::{Context, Result};
use serde::Deserialize;
use std::{collections::BTreeMap, fs, path::Path};

/// One line of the record.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(crate) enum Line {
    /// A request that was answered.
    Request {
        /// The opcode's name in the protocol, e.g. `READ`.
        opcode: String,
        /// The error that was answered; 0 for none.
        #[serde(default)]
        error: i64,
    },
    /// QEMU was asked for a mapping.
    Map {
        /// Where in the window, in bytes.
        #[serde(default)]
        window_offset: u64,
        /// How many bytes.
        #[serde(default)]
        len: u64,
        /// What it said: `ok`, or why not.
        #[serde(default)]
        result: String,
    },
    /// QEMU was asked to remove a mapping.
    Unmap {
        /// What it said: `ok`, `absent` if there was none, or why not.
        #[serde(default)]
        result: String,
    },
    /// The last line.
    Summary(Summary),
    /// Something this rig doesn't know.
    #[serde(other)]
    Other,
}

impl Line {
    fn made(&self) -> bool {
        matches!(self, Self::Map { result, .. } if result == "ok")
    }

    fn gone(&self) -> bool {
        matches!(self, Self::Unmap { result } if result == "ok" || result == "absent")
    }
}

/// The daemon's own count.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Mappings made.
    pub(crate) set_up: u64,
    /// Mappings removed.
    pub(crate) removed: u64,
    /// Mappings alive at the end.
    pub(crate) live: u64,
    /// Mappings alive when the guest ended its session, if it did.
    #[serde(default)]
    pub(crate) live_at_destroy: Option<u64>,
    /// Look-ups that the guest has not given back.
    #[serde(default)]
    pub(crate) lookups_outstanding: i64,
    /// Requests by opcode.
    #[serde(default)]
    pub(crate) requests: BTreeMap<String, u64>,
}

/// A whole record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    lines: Vec<Line>,
}

impl Record {
    /// Reads a record, or the part of it that is written so far.
    ///
    /// # Errors
    /// When the file cannot be read or has a line that is none.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(file).with_context(|| format!("cannot read the daemon's record {}", file.display()))?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self> {
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        let lines: Result<Vec<Line>, _> = complete.lines().map(serde_json::from_str).collect();
        Ok(Self { lines: lines.context("the daemon's record has a line that is none")? })
    }

    /// How many requests of this name were served.
    pub(crate) fn requests(&self, name: &str) -> usize {
        self.lines.iter().filter(|line| matches!(line, Line::Request { opcode, .. } if opcode == name)).count()
    }

    /// Every request with the error that was answered, in order.
    pub(crate) fn all_requests(&self) -> impl Iterator<Item = (&str, i64)> {
        self.lines.iter().filter_map(|line| match line {
            Line::Request { opcode, error } => Some((opcode.as_str(), *error)),
            _ => None,
        })
    }

    /// Where in the window each mapping was made, and how many bytes it had, in order.
    pub(crate) fn places(&self) -> impl Iterator<Item = (u64, u64)> {
        self.lines.iter().filter(|line| line.made()).filter_map(|line| match line {
            Line::Map { window_offset, len, .. } => Some((*window_offset, *len)),
            _ => None,
        })
    }

    /// Mappings made.
    pub(crate) fn maps(&self) -> usize {
        self.lines.iter().filter(|line| line.made()).count()
    }

    /// The most mappings that lived at once.
    pub(crate) fn most_live(&self) -> usize {
        let mut live = 0_usize;
        let mut most = 0;
        for line in &self.lines {
            if line.made() {
                live += 1;
            } else if line.gone() {
                live = live.saturating_sub(1);
            }
            most = most.max(live);
        }
        most
    }

    /// The summary, which a daemon writes that ended in order.
    pub(crate) fn summary(&self) -> Option<&Summary> {
        self.lines.iter().rev().find_map(|line| match line {
            Line::Summary(summary) => Some(summary),
            _ => None,
        })
    }

    /// Why the mappings don't balance; `None` if they do: a summary, none alive, none left to the daemon by the guest, as many
    /// removed as made, and the same counts as the lines say.
    pub(crate) fn imbalance(&self) -> Option<String> {
        let Some(summary) = self.summary() else {
            return Some("the daemon's record has no summary, so it did not end in order".into());
        };
        let (made, gone) = (self.maps() as u64, self.lines.iter().filter(|line| line.gone()).count() as u64);
        if summary.live != 0 || summary.set_up != summary.removed {
            return Some(format!(
                "mappings do not balance at the daemon: {} made, {} removed, {} alive at the end",
                summary.set_up, summary.removed, summary.live
            ));
        }
        if let Some(left @ 1..) = summary.live_at_destroy {
            return Some(format!("the guest ended its session with {left} mappings that it had not removed"));
        }
        if (summary.set_up, summary.removed) != (made, gone) {
            return Some(format!(
                "the daemon's summary says {} made and {} removed, its lines {made} and {gone}",
                summary.set_up, summary.removed
            ));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"event":"request","opcode":"READ","nodeid":2,"unique":4,"error":0}
{"event":"map","window_offset":0,"len":2097152,"result":"ok"}
{"event":"map","window_offset":2097152,"len":2097152,"result":"ok"}
{"event":"unmap","window_offset":0,"len":2097152,"result":"ok"}
{"event":"unmap","window_offset":2097152,"len":2097152,"result":"ok"}
{"event":"map","window_offset":0,"len":2097152,"result":"ok"}
{"event":"unmap","window_offset":0,"len":2097152,"result":"ok"}
{"event":"map","window_offset":0,"len":2097152,"result":"refused"}
{"event":"summary","set_up":3,"removed":3,"live":0,"live_at_destroy":0,"requests":{"READ":1},"lookups_outstanding":0}
"#;

    #[test]
    fn a_record_is_counted() {
        let record = Record::parse(GOOD).unwrap();
        assert_eq!(
            (record.requests("READ"), record.requests("WRITE"), record.maps(), record.most_live()),
            (1, 0, 3, 2)
        );
        assert_eq!(record.places().collect::<Vec<_>>(), [(0, 2 << 20), (2 << 20, 2 << 20), (0, 2 << 20)]);
        assert_eq!(record.imbalance(), None);
    }

    #[test]
    fn what_does_not_balance_is_told() {
        let without_summary: String =
            GOOD.lines().filter(|line| !line.contains("summary")).map(|line| format!("{line}\n")).collect();
        assert!(Record::parse(&without_summary).unwrap().imbalance().unwrap().contains("no summary"));
        for (from, to) in [
            (r#""live":0"#, r#""live":1"#),
            (r#""removed":3"#, r#""removed":2"#),
            (r#""live_at_destroy":0"#, r#""live_at_destroy":8"#),
            (r#""set_up":3,"removed":3"#, r#""set_up":4,"removed":4"#),
        ] {
            assert!(Record::parse(&GOOD.replace(from, to)).unwrap().imbalance().is_some(), "{to}");
        }
    }

    #[test]
    fn a_line_that_is_being_written_is_left_out() {
        let cut = &GOOD[..GOOD.len() - 40];
        assert_eq!(Record::parse(cut).unwrap().summary(), None);
        assert_eq!(Record::parse(r#"{"event":"req"#).unwrap(), Record::default());
        assert!(Record::parse("nonsense\n").is_err());
    }
}
