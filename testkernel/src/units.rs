//! Modes, times and sizes as people write them.

use core::fmt;

/// The bits of a mode that say what kind of file it is, and those kinds (inode(7)).
const KIND: u32 = 0o170_000;
const KINDS: [(u32, char); 7] = [
    (0o140_000, 's'),
    (0o120_000, 'l'),
    (0o100_000, '-'),
    (0o060_000, 'b'),
    (0o040_000, 'd'),
    (0o020_000, 'c'),
    (0o010_000, 'p'),
];

/// A file's mode as `ls -l` shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mode(pub(crate) u32);

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = KINDS.iter().find(|(bits, _)| self.0 & KIND == *bits).map_or('?', |&(_, letter)| letter);
        write!(f, "{kind}")?;
        // Set-user-id, set-group-id and sticky share a letter with the right to execute.
        for (shift, special, letters) in [(6, 0o4000, ['s', 'S']), (3, 0o2000, ['s', 'S']), (0, 0o1000, ['t', 'T'])] {
            let may = |bit: u32| self.0 >> shift & bit != 0;
            let execute = match (self.0 & special != 0, may(1)) {
                (true, true) => letters[0],
                (true, false) => letters[1],
                (false, true) => 'x',
                (false, false) => '-',
            };
            write!(f, "{}{}{execute}", if may(4) { 'r' } else { '-' }, if may(2) { 'w' } else { '-' })?;
        }
        Ok(())
    }
}

/// A moment in coordinated universal time, displayed as ISO 8601 has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Time {
    /// Whole seconds since 1970, rounded down: -1 half a second before it.
    pub(crate) seconds: i64,
    /// Nanoseconds after those seconds.
    pub(crate) nanoseconds: u32,
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY: i64 = 86_400;
        let (day, second) = (self.seconds.div_euclid(DAY), self.seconds.rem_euclid(DAY));
        let (year, month, day) = civil(day);
        // ISO 8601 wants a sign where the year has not four digits.
        match year {
            0..=9999 => write!(f, "{year:04}")?,
            _ => write!(f, "{year:+05}")?,
        }
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:09}Z", self.nanoseconds)
    }
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar.
///
/// Years are counted from March, so that the day that is not in every year is the last one.
fn civil(day: i64) -> (i64, i64, i64) {
    const ERA: i64 = 146_097; // days in 400 years
    // From 0000-03-01 on.
    let day = day + 719_468;
    let (era, of_era) = (day.div_euclid(ERA), day.rem_euclid(ERA));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / (ERA - 1)) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = 400 * era + year + i64::from(month <= 2);
    (year, month, of_year - (153 * from_march + 2) / 5 + 1)
}

/// A number of bytes, in a unit that leaves at most four digits before the point, and exactly if it is small or round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes(pub(crate) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        let Some((index, unit)) = UNITS.iter().enumerate().rfind(|(index, _)| self.0 >> (10 * (index + 1)) > 0) else {
            return write!(f, "{} byte{}", self.0, if self.0 == 1 { "" } else { "s" });
        };
        let shift = 10 * (index + 1);
        let rest = self.0 & ((1 << shift) - 1);
        if rest == 0 {
            return write!(f, "{} {unit}", self.0 >> shift);
        }
        write!(f, "{}.{} {unit}", self.0 >> shift, (u128::from(rest) * 10) >> shift)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn modes_are_those_of_ls() {
        for (mode, shown) in [
            (0o100_644, "-rw-r--r--"),
            (0o040_755, "drwxr-xr-x"),
            (0o041_777, "drwxrwxrwt"),
            (0o041_776, "drwxrwxrwT"),
            (0o104_755, "-rwsr-xr-x"),
            (0o104_644, "-rwSr--r--"),
            (0o102_755, "-rwxr-sr-x"),
            (0o102_745, "-rwxr-Sr-x"),
            (0o120_777, "lrwxrwxrwx"),
            (0o010_600, "prw-------"),
            (0o140_600, "srw-------"),
            (0o020_620, "crw--w----"),
            (0o060_660, "brw-rw----"),
            (0o000_000, "?---------"),
        ] {
            assert_eq!(format!("{}", Mode(mode)), shown, "{mode:o}");
        }
    }

    #[test]
    fn times_are_those_of_date() {
        for (seconds, nanoseconds, shown) in [
            (0, 0, "1970-01-01T00:00:00.000000000Z"),
            (-1, 500_000_000, "1969-12-31T23:59:59.500000000Z"),
            (951_782_400, 1, "2000-02-29T00:00:00.000000001Z"),
            (1_709_251_199, 0, "2024-02-29T23:59:59.000000000Z"),
            (4_107_542_400, 0, "2100-03-01T00:00:00.000000000Z"),
            (-2_208_988_800, 0, "1900-01-01T00:00:00.000000000Z"),
            (253_402_300_800, 0, "+10000-01-01T00:00:00.000000000Z"),
            (-62_167_219_201, 0, "-0001-12-31T23:59:59.000000000Z"),
        ] {
            assert_eq!(format!("{}", Time { seconds, nanoseconds }), shown);
        }
        // The farthest ones do not overflow.
        for seconds in [i64::MIN, i64::MAX] {
            assert!(format!("{}", Time { seconds, nanoseconds: 0 }).ends_with('Z'));
        }
    }

    #[test]
    fn sizes_read_well() {
        for (bytes, shown) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (1023, "1023 bytes"),
            (1024, "1 KiB"),
            (4097, "4.0 KiB"),
            (5_243_003, "5.0 MiB"),
            (7 << 19, "3.5 MiB"),
            (1 << 30, "1 GiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(format!("{}", Bytes(bytes)), shown);
        }
    }
}
