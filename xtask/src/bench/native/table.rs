//! What is measured natively, and how good it must be.

/// What is judged of a benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// How many times as good as this call of the host's ours is.
    Against(&'static str),
    /// What ours takes beyond a round trip to the server, as a multiple of this call.
    BeyondTrip(&'static str),
    /// Ours itself.
    Ours,
    /// How many of these an operation takes.
    Count(&'static str),
}

/// How good it must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Bound {
    AtLeast(f64),
    AtMost(f64),
    /// It is measured only.
    None,
}

impl Bound {
    /// Whether a value is good enough; `None` if nothing is wanted.
    pub(super) fn met(self, value: f64) -> Option<bool> {
        match self {
            Self::AtLeast(bound) => Some(value >= bound),
            Self::AtMost(bound) => Some(value <= bound),
            Self::None => None,
        }
    }
}

/// Something that is judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Row {
    /// The benchmark.
    pub(super) name: &'static str,
    pub(super) measure: Measure,
    pub(super) bound: Bound,
    /// The peers for which the bound holds; none for all.
    pub(super) peers: &'static [&'static str],
}

const fn row(name: &'static str, measure: Measure, bound: Bound) -> Row {
    Row { name, measure, bound, peers: &[] }
}

const fn least(name: &'static str, against: &'static str, bound: f64) -> Row {
    row(name, Measure::Against(against), Bound::AtLeast(bound))
}

const fn known(name: &'static str, against: &'static str) -> Row {
    row(name, Measure::Against(against), Bound::None)
}

const fn most(name: &'static str, count: &'static str, bound: f64) -> Row {
    row(name, Measure::Count(count), Bound::AtMost(bound))
}

/// Who maps over another mapping in one request.
const REPLACING: &[&str] = &["libkrun", "fuse-backend-rs"];
/// Who has several request queues, and a thread for each.
const PARALLEL: &[&str] = &["virtiofsd-dax"];

/// Everything, in the order in which it is shown.
pub(super) const ROWS: [Row; 61] = [
    least("read_64", "pread", 8.0),
    known("read_64", "memcpy"),
    most("read_64", "instructions", 150.0),
    most("read_64", "locked", 0.0),
    most("read_64", "allocations", 0.0),
    least("read_4k", "pread", 3.0),
    least("read_4k", "memcpy", 0.8),
    known("read_64k", "pread"),
    least("read_64k", "memcpy", 0.97),
    known("read_2m", "pread"),
    least("read_2m", "memcpy", 0.97),
    least("read_random_64", "pread", 8.0),
    least("read_random_64", "memcpy", 1.0 / 3.0),
    least("write_64", "pwrite", 8.0),
    known("write_64", "memcpy"),
    most("write_64", "instructions", 150.0),
    most("write_64", "locked", 0.0),
    least("write_4k", "pwrite", 3.0),
    least("write_4k", "memcpy", 0.8),
    known("write_64k", "pwrite"),
    least("write_64k", "memcpy", 0.97),
    known("write_2m", "pwrite"),
    least("write_2m", "memcpy", 0.97),
    least("threads_64_same", "memcpy", 0.9),
    least("threads_64_other", "memcpy", 0.9),
    least("threads_4k_same", "memcpy", 0.9),
    least("threads_4k_other", "memcpy", 0.9),
    known("threads_64_same", "pread"),
    known("threads_64_other", "pread"),
    known("threads_4k_same", "pread"),
    known("threads_4k_other", "pread"),
    known("threads4_64_same", "memcpy"),
    known("threads4_64_other", "memcpy"),
    known("threads4_4k_same", "memcpy"),
    known("threads4_4k_other", "memcpy"),
    known("threads4_64_same", "pread"),
    known("threads4_64_other", "pread"),
    known("threads4_4k_same", "pread"),
    known("threads4_4k_other", "pread"),
    known("map_drop", "mmap"),
    most("map_drop", "instructions", 250.0),
    most("map_cold", "requests", 1.0),
    most("map_cold", "allocations", 0.0),
    known("map_again", "mmap"),
    Row { peers: REPLACING, ..most("map_again", "requests", 1.0) },
    most("map_again", "instructions", 4000.0),
    known("fault_4k", "fault"),
    known("fault_2m", "fault"),
    known("getattr", "stat"),
    most("getattr", "instructions", 2200.0),
    known("lookup_hit", "stat"),
    most("lookup_hit", "instructions", 600.0),
    most("lookup_hit", "allocations", 0.0),
    known("lookup_miss", "stat"),
    most("lookup_miss", "instructions", 3000.0),
    known("list_10000", "readdir"),
    most("list_10000", "requests", 60.0),
    most("list_10000", "allocations", 1.0),
    row("request_128k", Measure::BeyondTrip("pread"), Bound::AtMost(1.5)),
    row("request_1m", Measure::BeyondTrip("pread"), Bound::AtMost(1.5)),
    Row { peers: PARALLEL, ..row("request_depth", Measure::Ours, Bound::AtLeast(1.5)) },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds() {
        assert_eq!(Bound::AtLeast(2.0).met(2.0), Some(true));
        assert_eq!(Bound::AtLeast(2.0).met(1.9), Some(false));
        assert_eq!(Bound::AtMost(0.0).met(0.0), Some(true));
        assert_eq!(Bound::AtMost(0.0).met(0.1), Some(false));
        assert_eq!(Bound::None.met(0.1), None);
    }

    #[test]
    fn nothing_is_judged_twice() {
        for (at, row) in ROWS.iter().enumerate() {
            assert!(!ROWS[..at].iter().any(|other| (other.name, other.measure) == (row.name, row.measure)), "{row:?}");
        }
    }
}
