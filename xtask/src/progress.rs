//! What a person sees while something takes its time: a spinner on a terminal, a plain line elsewhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

/// One step that takes its time.
#[derive(Debug)]
pub(crate) struct Step {
    bar: ProgressBar,
    started: Instant,
}

impl Step {
    /// Shows that it began.
    pub(crate) fn begin(what: impl Into<String>) -> Self {
        let what = what.into();
        let bar = if io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} [{elapsed}]") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        } else {
            eprintln!("{what} ...");
            ProgressBar::hidden()
        };
        bar.set_message(what);
        Self { bar, started: Instant::now() }
    }

    /// Shows what it is at; on a terminal only.
    pub(crate) fn at(&self, what: impl Into<String>) {
        self.bar.set_message(what.into());
    }

    /// Shows that it succeeded, and how.
    pub(crate) fn done(self, what: &str) {
        self.bar.finish_and_clear();
        eprintln!("{what} ({:.1} s)", self.started.elapsed().as_secs_f64());
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
