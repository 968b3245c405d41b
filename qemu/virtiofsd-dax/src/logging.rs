//! The log: lines on standard error. A guest that has the daemon complain cannot fill a disk with it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use log::{Level, LevelFilter, Log, Metadata, Record};

/// How many lines may come at once.
const BURST: u32 = 200;
/// How long it takes until one more may come.
const INTERVAL: Duration = Duration::from_millis(100);

/// Starts to log what is at least as grave as `level`; `RUST_LOG` says more exactly what. Lines of the levels that are
/// not for debugging are limited in number.
pub fn start(level: LevelFilter) {
    let mut builder = env_logger::Builder::new();
    builder.filter_level(level).format_target(false);
    if let Ok(filters) = std::env::var("RUST_LOG") {
        builder.parse_filters(&filters);
    }
    let lines = builder.build();
    let filter = lines.filter();
    let limited = Limited { lines, begun: Instant::now(), budget: Mutex::new(Budget::new()) };
    // Only a second logger is refused, and then the first one does.
    if log::set_boxed_logger(Box::new(limited)).is_ok() {
        log::set_max_level(filter);
    }
}

struct Limited {
    lines: env_logger::Logger,
    begun: Instant,
    budget: Mutex<Budget>,
}

impl Log for Limited {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.lines.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.lines.matches(record) {
            return;
        }
        if record.level() <= Level::Info {
            let spent = self.budget.lock().unwrap_or_else(PoisonError::into_inner).spend(self.begun.elapsed());
            match spent {
                None => return,
                Some(0) => {}
                Some(left_out) => eprintln!("[{left_out} lines were left out, there were too many]"),
            }
        }
        self.lines.log(record);
    }

    fn flush(&self) {
        self.lines.flush();
    }
}

/// Lines that may still come.
#[derive(Debug)]
struct Budget {
    lines: u32,
    /// Until when the budget has been given out, since the beginning.
    given: Duration,
    left_out: u64,
}

impl Budget {
    const fn new() -> Self {
        Budget { lines: BURST, given: Duration::ZERO, left_out: 0 }
    }

    /// Spends a line at a time since the beginning: `None` if there is none, else how many were left out before it.
    fn spend(&mut self, now: Duration) -> Option<u64> {
        let gained = now.saturating_sub(self.given).as_millis() / INTERVAL.as_millis();
        let gained = u32::try_from(gained).unwrap_or(BURST).min(BURST);
        if gained > 0 {
            self.lines = self.lines.saturating_add(gained).min(BURST);
            self.given = now;
        }
        match self.lines.checked_sub(1) {
            Some(lines) => {
                self.lines = lines;
                Some(std::mem::take(&mut self.left_out))
            }
            None => {
                self.left_out += 1;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_says_so_and_a_line_now_and_then_is_not() {
        let mut budget = Budget::new();
        let burst = (0..10 * BURST).filter(|_| budget.spend(Duration::ZERO).is_some()).count();
        assert_eq!(burst, BURST as usize);
        assert_eq!(budget.spend(INTERVAL), Some(u64::from(9 * BURST)));
        assert_eq!(budget.spend(INTERVAL), None);
        let mut now = INTERVAL;
        for _ in 0..1000 {
            now += INTERVAL;
            assert!(budget.spend(now).is_some());
        }
        let day = Duration::from_secs(86_400);
        let burst = (0..10 * BURST).filter(|_| budget.spend(day).is_some()).count();
        assert_eq!(burst, BURST as usize, "time that nothing was said in is not saved up");
    }
}
