//! What is measured, against what, and how good it must be.

use std::fmt;

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Better {
    Higher,
    Lower,
}

impl Better {
    /// The word for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Higher => "higher",
            Self::Lower => "lower",
        }
    }

    /// How many times as good one value is as another.
    pub(super) fn ratio(self, value: f64, other: f64) -> f64 {
        match self {
            Self::Higher => value / other,
            // None of what there should be none of is just right.
            Self::Lower if value == other => 1.0,
            Self::Lower => other / value,
        }
    }
}

/// Where a benchmark is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Run {
    /// In a boot with a window that holds the whole file.
    Whole,
    /// In a boot with a window that holds a quarter of it.
    Thrash,
    /// In what was built.
    Build,
}

impl Run {
    /// Those that take a boot.
    pub(super) const BOOTS: [Self; 2] = [Self::Whole, Self::Thrash];

    /// Bytes of the window.
    pub(super) fn window(self) -> u64 {
        match self {
            Self::Thrash => 16 << 20,
            Self::Whole | Self::Build => 256 << 20,
        }
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Whole => "a window larger than the file",
            Self::Thrash => "a window smaller than the file",
            Self::Build => "the build",
        })
    }
}

/// The best that can be hoped for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Limit {
    /// Nobody knows.
    None,
    /// What the same boot measures by this name.
    Measured(&'static str),
    /// A number.
    Fixed(f64),
}

/// A benchmark.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Row {
    /// Its name, for both guests.
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    pub(super) better: Better,
    pub(super) run: Run,
    /// Whether a Linux guest measures it.
    pub(super) linux: bool,
    pub(super) limit: Limit,
    /// How many times as good as Linux it must be.
    pub(super) against_linux: Option<f64>,
    /// How many times as good as the limit.
    pub(super) against_limit: Option<f64>,
    /// How many requests an operation may take, a round trip for what it is for and those that nobody waits for.
    pub(super) requests: Option<f64>,
    /// Whether it comes out the same however busy the machine is, so that a miss is a failed test.
    pub(super) held: bool,
}

const fn row(name: &'static str, unit: &'static str, better: Better, run: Run) -> Row {
    let (limit, against_linux, against_limit, requests) = (Limit::None, None, None, None);
    Row { name, unit, better, run, linux: true, limit, against_linux, against_limit, requests, held: false }
}

/// Something that moves bytes.
const fn rate(name: &'static str) -> Row {
    row(name, "MB/s", Better::Higher, Run::Whole)
}

/// Something that takes a time each.
const fn each(name: &'static str) -> Row {
    row(name, "us", Better::Lower, Run::Whole)
}

/// Something that only the test kernel has and no clock measures, with a limit that must be kept.
const fn kept(name: &'static str, unit: &'static str, run: Run, limit: f64) -> Row {
    let limit = Limit::Fixed(limit);
    Row { linux: false, limit, against_limit: Some(1.0), held: true, ..row(name, unit, Better::Lower, run) }
}

impl Row {
    const fn linux(self, at_least: f64) -> Self {
        Self { against_linux: Some(at_least), ..self }
    }

    /// Linux has nothing like it.
    const fn alone(self) -> Self {
        Self { linux: false, ..self }
    }

    const fn limit(self, name: &'static str, at_least: f64) -> Self {
        Self { limit: Limit::Measured(name), against_limit: Some(at_least), ..self }
    }

    /// Something that takes a round trip; its limit is an empty one.
    const fn round_trip(self, requests: f64) -> Self {
        Self { limit: Limit::Measured("rtt"), requests: Some(requests), ..self }
    }

    /// Everything that a boot of the test kernel measures for it.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        let limit = match self.limit {
            Limit::Measured(name) => Some(name),
            Limit::None | Limit::Fixed(_) => None,
        };
        [Some(self.name), limit].into_iter().flatten()
    }
}

/// Every benchmark.
pub(super) const ROWS: [Row; 28] = [
    rate("read_warm_2m").linux(3.0).limit("limit_read_2m", 0.9),
    rate("read_warm_4k").linux(3.0).limit("limit_read_4k", 0.9),
    // The limit is what one round trip a range costs: to be better is to have several under way.
    rate("read_cold_2m").linux(1.5).limit("limit_cold_2m", 1.0),
    each("read_random_4k"),
    rate("write_cold_2m"),
    rate("write_warm_2m").linux(3.0).limit("limit_write_2m", 0.9),
    rate("write_warm_4k").linux(3.0).limit("limit_write_4k", 0.9),
    rate("map_scan").linux(1.0).limit("limit_scan", 0.95),
    each("fault_2m").linux(2.0),
    each("fault_4k").linux(2.0),
    rate("famfs_read_2m").alone().limit("limit_famfs_read_2m", 0.9),
    rate("famfs_write_2m").alone().limit("limit_famfs_write_2m", 0.9),
    rate("famfs_map_scan").alone().limit("limit_famfs_scan", 0.95),
    // No slower than the driver's.
    each("famfs_fault_2m").alone().limit("fault_2m", 1.0),
    each("famfs_fault_4k").alone().limit("fault_4k", 1.0),
    Row { run: Run::Thrash, ..rate("reclaim_seq").linux(1.5) },
    Row { run: Run::Thrash, ..each("thrash_rand4k").linux(10.0).limit("limit_thrash", 1.0) },
    each("rtt").linux(1.5),
    each("lookup_miss").linux(2.0).round_trip(1.0),
    // With the RELEASE that nobody needs to wait for.
    each("create").linux(2.0).round_trip(2.0),
    each("open_close").linux(2.0).round_trip(2.0),
    // With the FORGET that has no answer, and without which the host keeps the file's space.
    each("unlink").linux(2.0).round_trip(2.0),
    each("readdir_1000").linux(2.0),
    kept("hit_allocations", "1", Run::Whole, 0.0),
    kept("range_bytes", "B", Run::Whole, 64.0),
    // What they are today and a twentieth more, so that nobody makes them larger unseen. Wanted are 262 144 and 163 840.
    kept("text_bytes", "B", Run::Build, 470_000.0),
    kept("small_text_bytes", "B", Run::Build, 245_000.0),
    kept("famfs_text_bytes", "B", Run::Build, 49_152.0),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_says_how_many_times_as_good() {
        assert_eq!(Better::Higher.ratio(30.0, 10.0), 3.0);
        assert_eq!(Better::Lower.ratio(30.0, 60.0), 2.0);
        assert_eq!(Better::Lower.ratio(0.0, 0.0), 1.0);
        assert_eq!(Better::Lower.ratio(2.0, 0.0), 0.0);
    }

    #[test]
    fn names_are_unique_and_targets_have_something_to_compare_with() {
        for row in ROWS {
            assert_eq!(ROWS.iter().filter(|other| other.name == row.name).count(), 1, "{}", row.name);
            assert!(row.linux || row.against_linux.is_none(), "{}", row.name);
            assert!(row.limit != Limit::None || row.against_limit.is_none(), "{}", row.name);
        }
    }
}
