//! What is printed and written of native measurements.

use super::{
    table::{Bound, Measure, ROWS, Row},
    values::Values,
};
use anyhow::{Context, Result};
use serde::Serialize;
use std::{fmt::Write, fs, path::Path};

/// A row of the table with its values.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Judged {
    pub(super) peer: String,
    pub(super) name: &'static str,
    /// Against which call, or what is counted.
    pub(super) measure: String,
    /// The unit of `ours` and `host`.
    unit: String,
    pub(super) ours: Option<f64>,
    pub(super) host: Option<f64>,
    /// The ratio, or the number.
    pub(super) value: f64,
    /// `>=` or `<=`.
    bound: Option<&'static str>,
    pub(super) wanted: Option<f64>,
    pub(super) met: Option<bool>,
}

/// Judges what was measured of a peer, by the rows with `filter` in their names.
pub(super) fn judge(peer: &str, values: &Values, filter: Option<&str>) -> Vec<Judged> {
    let rows = ROWS.iter().filter(|row| filter.is_none_or(|text| row.name.contains(text)));
    rows.filter_map(|row| one(peer, values, row)).collect()
}

fn one(peer: &str, values: &Values, row: &Row) -> Option<Judged> {
    let unit = values.unit(row.name).to_owned();
    let ours = values.get(row.name, "ours");
    let (measure, host, value) = match row.measure {
        Measure::Against(call) => {
            let (ours, host) = (ours?, values.get(row.name, call)?);
            // Of times the shorter is better, of everything else the larger.
            (format!("against {call}"), Some(host), if unit == "ns" { host / ours } else { ours / host })
        }
        Measure::BeyondTrip(call) => {
            let (host, trip) = (values.get(row.name, call)?, values.get(row.name, "trip")?);
            (format!("beyond a trip, in {call}s"), Some(host), (ours? - trip) / host)
        }
        Measure::Ours => ("itself".to_owned(), None, ours?),
        Measure::Count(what) => (what.to_owned(), None, values.get(row.name, what)?),
    };
    let bound = if row.peers.is_empty() || row.peers.contains(&peer) { row.bound } else { Bound::None };
    let (sign, wanted) = match bound {
        Bound::AtLeast(wanted) => (Some(">="), Some(wanted)),
        Bound::AtMost(wanted) => (Some("<="), Some(wanted)),
        Bound::None => (None, None),
    };
    let ours = if matches!(row.measure, Measure::Count(_)) { None } else { ours };
    let peer = peer.to_owned();
    Some(Judged { peer, name: row.name, measure, unit, ours, host, value, bound: sign, wanted, met: bound.met(value) })
}

/// The table of a peer.
pub(super) fn text(peer: &str, judged: &[Judged]) -> String {
    let mut text = format!("\n{peer}\n");
    let mut line = |cells: [&str; 7]| {
        let [name, measure, ours, host, value, wanted, verdict] = cells;
        let line = format!("{name:<19}{measure:<27}{ours:>12}{host:>12}{value:>10}  {wanted:<9}{verdict}");
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", line.trim_end());
    };
    line(["benchmark", "measure", "ours", "host's", "value", "wanted", ""]);
    for row in judged {
        let time = |value: Option<f64>| value.map(|value| in_unit(value, &row.unit)).unwrap_or_default();
        let wanted = row.bound.zip(row.wanted).map(|(sign, wanted)| format!("{sign} {}", number(wanted)));
        let verdict = match row.met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        };
        let wanted = wanted.unwrap_or_default();
        line([row.name, &row.measure, &time(row.ours), &time(row.host), &number(row.value), &wanted, verdict]);
    }
    text
}

/// How many of all are met, and which are not.
pub(super) fn closing(judged: &[Judged]) -> String {
    let met = judged.iter().filter(|row| row.met == Some(true)).count();
    let missed: Vec<&Judged> = judged.iter().filter(|row| row.met == Some(false)).collect();
    let mut text = format!("\n{met} targets are met, {} are missed.", missed.len());
    for Judged { peer, name, measure, value, bound, wanted, .. } in missed {
        let (sign, wanted) = (bound.unwrap_or_default(), wanted.unwrap_or_default());
        let _ = write!(text, "\nMISSED: {peer} {name} {measure}: {}, wanted {sign} {}", number(*value), number(wanted));
    }
    text
}

/// Writes everything for scripts.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn write_json(file: &Path, judged: &[Judged]) -> Result<()> {
    let text = serde_json::to_string_pretty(judged)? + "\n";
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// A time in a unit that suits it; what is no time, as it is.
fn in_unit(value: f64, unit: &str) -> String {
    match unit {
        "ns" if value >= 1e6 => format!("{} ms", number(value / 1e6)),
        "ns" if value >= 1e3 => format!("{} us", number(value / 1e3)),
        _ => format!("{} {unit}", number(value)),
    }
}

/// Three digits or more.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        0.0 => 0,
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        value if value < 0.1 => 4,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Values {
        let mut values = Values::default();
        for (name, who, value, unit) in [
            ("read_64", "ours", 50.0, "ns"),
            ("read_64", "pread", 300.0, "ns"),
            ("read_64", "memcpy", 5.0, "ns"),
            ("read_64", "instructions", 100.0, ""),
            ("threads_64_same", "ours", 1.0, "x"),
            ("threads_64_same", "memcpy", 2.0, "x"),
            ("request_1m", "ours", 200_000.0, "ns"),
            ("request_1m", "pread", 100_000.0, "ns"),
            ("request_1m", "trip", 60_000.0, "ns"),
            ("request_depth", "ours", 1.2, "x"),
        ] {
            values.add(name, who, value, unit);
        }
        values
    }

    #[test]
    fn rows_are_judged() {
        let judged = judge("libkrun", &values(), None);
        let found: Vec<_> = judged.iter().map(|row| (row.name, row.measure.as_str(), row.value, row.met)).collect();
        assert_eq!(
            found,
            [
                ("read_64", "against pread", 6.0, Some(false)),
                ("read_64", "against memcpy", 0.1, None),
                ("read_64", "instructions", 100.0, Some(true)),
                ("threads_64_same", "against memcpy", 0.5, Some(false)),
                ("request_1m", "beyond a trip, in preads", 1.4, Some(true)),
                ("request_depth", "itself", 1.2, None),
            ]
        );
        let of_the_daemon = judge("virtiofsd-dax", &values(), Some("depth"));
        assert_eq!((of_the_daemon.len(), of_the_daemon[0].met), (1, Some(false)));
    }

    #[test]
    fn what_is_missed_stands_out() {
        let judged = judge("libkrun", &values(), None);
        let text = text("libkrun", &judged);
        assert!(text.contains("50.0 ns      300 ns      6.00  >= 8.00  MISSED\n"), "{text}");
        let closing = closing(&judged);
        assert!(closing.contains("2 targets are met, 2 are missed."), "{closing}");
        assert!(closing.contains("MISSED: libkrun read_64 against pread: 6.00, wanted >= 8.00"), "{closing}");
    }

    #[test]
    fn scripts_get_all_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("r.json");
        write_json(&file, &judge("libkrun", &values(), Some("read_64"))).unwrap();
        let rows: serde_json::Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        assert_eq!(rows[0]["peer"], "libkrun");
        assert_eq!((&rows[0]["bound"], &rows[0]["wanted"]), (&">=".into(), &8.0.into()));
        assert_eq!(rows[1]["met"], serde_json::Value::Null);
        assert!(write_json(&dir.path().join("no/such"), &[]).is_err());
    }

    #[test]
    fn times_are_in_units_that_suit_them() {
        assert_eq!(in_unit(96.4, "ns"), "96.4 ns");
        assert_eq!(in_unit(4200.0, "ns"), "4.20 us");
        assert_eq!(in_unit(12e6, "ns"), "12.0 ms");
        assert_eq!(in_unit(1.7, "x"), "1.70 x");
    }
}
