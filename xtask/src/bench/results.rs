//! From the values of many boots to one result a benchmark.

use super::table::{Limit, ROWS, Row};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;

/// How names of numbers of requests begin.
pub(super) const REQUESTS: &str = "requests ";
/// The unit of those numbers: of a hundred operations.
const REQUESTS_UNIT: &str = "per 100";

/// One value that a guest measured.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Measured {
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) unit: String,
}

/// The values of all boots, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples {
    ours: BTreeMap<String, Vec<f64>>,
    linux: BTreeMap<String, Vec<f64>>,
}

/// What came of a benchmark.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct BenchResult {
    pub(super) row: &'static Row,
    pub(super) ours: f64,
    pub(super) linux: Option<f64>,
    pub(super) limit: Option<f64>,
    /// Requests an operation.
    pub(super) requests: Option<f64>,
}

/// Whether a target is met.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Target {
    /// Against what.
    pub(super) against: &'static str,
    /// The ratio, or the number of requests.
    pub(super) is: f64,
    /// What it must be at least, or at most for requests.
    pub(super) must: f64,
    pub(super) met: bool,
}

impl Samples {
    /// Takes what one boot of the test kernel measured.
    ///
    /// # Errors
    /// As [`Samples::add_linux`].
    pub(super) fn add_ours(&mut self, measured: &[Measured]) -> Result<()> {
        add(&mut self.ours, measured)
    }

    /// Takes what one boot of Linux measured.
    ///
    /// # Errors
    /// When a name is unknown, a unit is another, or a value is none.
    pub(super) fn add_linux(&mut self, measured: &[Measured]) -> Result<()> {
        add(&mut self.linux, measured)
    }

    /// The medians.
    ///
    /// # Errors
    /// When something was not measured, or not in every boot.
    pub(super) fn results(&self, rows: &[&'static Row], with_linux: bool) -> Result<Vec<BenchResult>> {
        let of = |values: &BTreeMap<String, Vec<f64>>, who: &str, name: &str| {
            let values = values.get(name).with_context(|| format!("{who} did not measure {name}"))?;
            Ok::<_, anyhow::Error>(median(values))
        };
        let result = |row: &'static Row| {
            Ok(BenchResult {
                row,
                ours: of(&self.ours, "the test kernel", row.name)?,
                linux: (with_linux && row.linux).then(|| of(&self.linux, "Linux", row.name)).transpose()?,
                limit: match row.limit {
                    Limit::None => None,
                    Limit::Measured(name) => Some(of(&self.ours, "the test kernel", name)?),
                    Limit::Fixed(value) => Some(value),
                },
                requests: row
                    .requests
                    .map(|_| of(&self.ours, "the test kernel", &format!("{REQUESTS}{}", row.name)))
                    .transpose()?
                    .map(|of_hundred| of_hundred / 100.0),
            })
        };
        rows.iter().map(|row| result(row)).collect()
    }
}

/// Fails unless one boot measured everything that is to be measured in it, and each thing once.
///
/// # Errors
/// What is missing or there twice.
pub(super) fn complete<'a>(measured: &[Measured], names: impl IntoIterator<Item = &'a str>) -> Result<()> {
    for name in names {
        let count = measured.iter().filter(|one| one.name == name).count();
        ensure!(count == 1, "{name} was measured {count} times in one boot");
    }
    Ok(())
}

fn add(values: &mut BTreeMap<String, Vec<f64>>, measured: &[Measured]) -> Result<()> {
    for Measured { name, value, unit } in measured {
        let value = in_unit(name, *value, unit)?;
        ensure!(value.is_finite() && value >= 0.0, "{name} is {value}");
        values.entry(name.clone()).or_default().push(value);
    }
    Ok(())
}

/// The value in the unit of the table.
fn in_unit(name: &str, value: f64, unit: &str) -> Result<f64> {
    let wanted = match name.strip_prefix(REQUESTS) {
        Some(_) => REQUESTS_UNIT,
        None => {
            let row = ROWS.iter().find(|row| row.names().any(|known| known == name));
            row.with_context(|| format!("a guest measured {name}, which is no benchmark"))?.unit
        }
    };
    match (unit, wanted) {
        ("ns", "us") => Ok(value / 1000.0),
        _ if unit == wanted => Ok(value),
        _ => bail!("{name} comes in {unit}, not in {wanted}"),
    }
}

/// The middle one, or the mean of the two in the middle. There is at least one.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) { f64::midpoint(sorted[half - 1], sorted[half]) } else { sorted[half] }
}

impl BenchResult {
    /// How many times as good as Linux.
    pub(super) fn ratio_linux(&self) -> Option<f64> {
        self.linux.map(|linux| self.row.better.ratio(self.ours, linux))
    }

    /// How many times as good as the limit.
    pub(super) fn ratio_limit(&self) -> Option<f64> {
        self.limit.map(|limit| self.row.better.ratio(self.ours, limit))
    }

    /// Its targets, those that can be judged by what was measured.
    pub(super) fn targets(&self) -> Vec<Target> {
        let at_least = |against, is: Option<f64>, must: Option<f64>| {
            let (is, must) = (is?, must?);
            Some(Target { against, is, must, met: is >= must })
        };
        let requests = self.requests.zip(self.row.requests);
        let at_most = requests.map(|(is, must)| Target { against: "requests", is, must, met: is <= must });
        [
            at_least("Linux", self.ratio_linux(), self.row.against_linux),
            at_least("the limit", self.ratio_limit(), self.row.against_limit),
            at_most,
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(name: &str, value: f64, unit: &str) -> Measured {
        Measured { name: name.into(), value, unit: unit.into() }
    }

    fn row(name: &str) -> &'static Row {
        ROWS.iter().find(|row| row.name == name).unwrap()
    }

    #[test]
    fn medians() {
        assert_eq!(median(&[3.0]), 3.0);
        assert_eq!(median(&[9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[9.0, 1.0, 2.0, 4.0]), 3.0);
        // One boot that was disturbed changes nothing.
        assert_eq!(median(&[5.0, 5.0, 1e9, 5.0, 5.0]), 5.0);
    }

    #[test]
    fn targets_are_met_or_missed_by_the_medians() {
        let mut samples = Samples::default();
        for (ours, linux) in [(10_000.0, 25.0), (30_000.0, 10.0), (20_000.0, 90.0)] {
            samples.add_ours(&[measured("rtt", ours, "ns")]).unwrap();
            samples.add_linux(&[measured("rtt", linux, "us")]).unwrap();
        }
        let result = &samples.results(&[row("rtt")], true).unwrap()[0];
        assert_eq!((result.ours, result.linux, result.ratio_linux()), (20.0, Some(25.0), Some(1.25)));
        assert_eq!(result.targets(), [Target { against: "Linux", is: 1.25, must: 1.5, met: false }]);
        samples.add_linux(&[measured("rtt", 50.0, "us"), measured("rtt", 35.0, "us")]).unwrap();
        assert!(samples.results(&[row("rtt")], true).unwrap()[0].targets()[0].met);
        // Without Linux there is nothing to judge.
        assert_eq!(samples.results(&[row("rtt")], false).unwrap()[0].targets(), []);
    }

    #[test]
    fn limits_are_measured_or_given() {
        let mut samples = Samples::default();
        let values =
            [("read_warm_2m", 950.0, "MB/s"), ("limit_read_2m", 1000.0, "MB/s"), ("hit_allocations", 1.0, "1")];
        samples.add_ours(&values.map(|(name, value, unit)| measured(name, value, unit))).unwrap();
        let results = samples.results(&[row("read_warm_2m"), row("hit_allocations")], false).unwrap();
        assert_eq!(results[0].targets(), [Target { against: "the limit", is: 0.95, must: 0.9, met: true }]);
        assert_eq!(results[1].targets(), [Target { against: "the limit", is: 0.0, must: 1.0, met: false }]);
    }

    #[test]
    fn too_many_requests_miss_a_target() {
        let mut samples = Samples::default();
        let values = |requests| {
            [
                measured("lookup_miss", 9.0, "us"),
                measured("rtt", 9.0, "us"),
                measured("requests lookup_miss", requests, "per 100"),
            ]
        };
        samples.add_ours(&values(200.0)).unwrap();
        let met = |samples: &Samples| samples.results(&[row("lookup_miss")], false).unwrap()[0].targets()[0].met;
        assert!(!met(&samples));
        let mut samples = Samples::default();
        samples.add_ours(&values(100.0)).unwrap();
        assert!(met(&samples));
    }

    #[test]
    fn what_is_unknown_or_missing_is_an_error() {
        let mut samples = Samples::default();
        assert!(samples.add_ours(&[measured("speed", 1.0, "us")]).is_err());
        assert!(samples.add_ours(&[measured("rtt", 1.0, "MB/s")]).is_err());
        assert!(samples.add_ours(&[measured("rtt", f64::NAN, "us")]).is_err());
        samples.add_ours(&[measured("rtt", 1.0, "us")]).unwrap();
        let error = samples.results(&[row("rtt")], true).unwrap_err().to_string();
        assert!(error.contains("Linux did not measure rtt"), "{error}");
        assert!(complete(&[measured("rtt", 1.0, "us")], ["rtt"]).is_ok());
        assert!(complete(&[], ["rtt"]).is_err());
        assert!(complete(&[measured("rtt", 1.0, "us"), measured("rtt", 1.0, "us")], ["rtt"]).is_err());
    }
}
