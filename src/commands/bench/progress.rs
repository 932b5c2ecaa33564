//! What is seen while a benchmark runs, on standard error.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::bench::recorder::Recorder;

/// What is seen while a benchmark runs.
pub struct Progress {
    quiet: bool,
    every: Option<Duration>,
    bar: ProgressBar,
    told: Told,
}

#[derive(Default)]
struct Told {
    at: Duration,
    committed: u64,
    busy_ns: u128,
    attempted: u64,
    retries: u64,
    not_done: u64,
}

impl Progress {
    /// Lines every `every`, a bar on a terminal otherwise, nothing where `quiet`. The bar counts
    /// `runs`.
    pub fn new(quiet: bool, every: Option<f64>, runs: usize) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let shown = !quiet && every.is_none() && !plain && io::stderr().is_terminal();
        let target =
            if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let style = ProgressStyle::with_template("{pos}/{len} runs {bar:20} {msg}")
            .expect("the template is well-formed");
        let bar = ProgressBar::with_draw_target(Some(runs as u64), target).with_style(style);
        Self { quiet, every: every.map(Duration::from_secs_f64), bar, told: Told::default() }
    }

    /// A line of its own.
    pub fn say(&self, line: &str) {
        if !self.quiet {
            self.warn(line);
        }
    }

    /// A line that is told even where little is.
    pub fn warn(&self, line: &str) {
        // Nobody can be told that standard error is closed.
        self.bar.suspend(|| writeln!(io::stderr(), "{line}").ok());
    }

    /// A run begins.
    pub fn begin(&mut self, what: &str) {
        self.told = Told::default();
        self.bar.set_message(format!("{what}: warming up"));
        if self.every.is_some() {
            self.say(what);
        }
    }

    /// So much of the measured window is over.
    pub fn tick(&mut self, what: &str, elapsed: Duration, so_far: &Recorder) {
        if elapsed < self.told.at + self.every() {
            return;
        }
        let span = (elapsed - self.told.at).as_secs_f64();
        let now = Told {
            at: elapsed,
            committed: so_far.tally.committed,
            busy_ns: so_far.busy_ns,
            attempted: so_far.tally.attempted,
            retries: so_far.tally.retries,
            not_done: so_far.tally.attempted - so_far.tally.committed,
        };
        let ended = now.attempted - self.told.attempted;
        let latency_ms = if ended == 0 {
            "n/a".to_owned()
        } else {
            format!("{:.3} ms", (now.busy_ns - self.told.busy_ns) as f64 / ended as f64 / 1e6)
        };
        let line = format!(
            "{:.1} s, {:.0} tps, {latency_ms} a transfer, {} retries, {} not carried out",
            elapsed.as_secs_f64(),
            (now.committed - self.told.committed) as f64 / span,
            now.retries - self.told.retries,
            now.not_done - self.told.not_done
        );
        self.told = now;
        self.tell(what, &line);
    }

    /// How often a line is due: as asked for, or often enough for a bar.
    pub fn every(&self) -> Duration {
        self.every.unwrap_or(Duration::from_millis(500))
    }

    /// So far a run has come, in a line of its own or at the bar.
    pub fn tell(&self, what: &str, line: &str) {
        if self.every.is_some() {
            self.say(&format!("progress: {line}"));
        } else {
            self.bar.set_message(format!("{what}: {line}"));
        }
    }

    /// Something is done between runs.
    pub fn between(&self, what: &str) {
        self.bar.set_message(what.to_owned());
    }

    /// A run has ended.
    pub fn end(&self) {
        self.bar.inc(1);
    }

    /// All has ended.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
