//! The whole of a benchmark: sites, points, runs, and after each run all files.

use std::fs::File;
use std::io::Write;

use jiff::Timestamp;
use tokio::sync::watch;

use super::cell::{Cell, Done};
use super::demand::Demand;
use super::folder::{Exports, Folder};
use super::layers::Wanted;
use super::progress::Progress;
use super::site::Site;
use crate::bench::driver::{DRAIN, Run};
use crate::bench::plan::{Plan, Point};
use crate::bench::results::{Host, Results, RunIntervals, SCHEMA_VERSION, Skipped, Tool};
use crate::bench::standing::standings;
use crate::cli::bench::{BenchArguments, BenchCommand};
use crate::commands::output::print;
use crate::commands::{Exit, Stop};
use crate::report::{csv, json, markdown, table};
use crate::shards::ShardTarget;

/// One benchmark.
pub struct Session<'a> {
    arguments: &'a BenchArguments,
    targets: Option<Vec<ShardTarget>>,
    plan: Plan,
    folder: Folder,
    exports: Exports,
    stopped: watch::Receiver<bool>,
    progress: Progress,
    transfers: Option<File>,
    results: Results,
    intervals: Vec<RunIntervals>,
    violations: Vec<String>,
}

impl<'a> Session<'a> {
    /// Notes what was asked for as a part of `all` and cannot be had, and why.
    pub fn skip(&mut self, skipped: Vec<(String, String)>) {
        self.results.skipped =
            skipped.into_iter().map(|(strategy, reason)| Skipped { strategy, reason }).collect();
    }

    /// What was asked for, ready to begin.
    pub fn new(
        command: &'a BenchCommand,
        wanted: Wanted,
        plan: Plan,
        folder: Folder,
        exports: Exports,
        started_at: Timestamp,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        let Wanted { config, targets } = wanted;
        let mut seeds: Vec<u64> = plan.points.iter().map(|point| point.seed).collect();
        seeds.dedup();
        let progress = Progress::new(command.export.quiet, config.progress, plan.run_count());
        let results = Results {
            schema_version: SCHEMA_VERSION,
            id: folder.id().to_owned(),
            started_at: started_at.to_string(),
            tool: Tool::this(),
            config,
            seeds,
            host: host(),
            clusters: Vec::new(),
            points: plan.points.clone(),
            runs_planned: plan.run_count(),
            complete: false,
            reference: plan.strategies[plan.reference].to_string(),
            skipped: Vec::new(),
            summaries: Vec::new(),
            standings: Vec::new(),
            warnings: Vec::new(),
        };
        Self {
            arguments: &command.bench,
            targets,
            plan,
            folder,
            exports,
            stopped,
            progress,
            transfers: None,
            results,
            intervals: Vec::new(),
            violations: Vec::new(),
        }
    }

    /// Runs everything, prints the table and says how it ended.
    ///
    /// # Errors
    /// An invariant does not hold, not everything was run, or nothing could be.
    pub async fn run(mut self) -> Result<(), Stop> {
        self.announce();
        let ended = self.all_sites().await;
        self.progress.finish();
        if self.results.summaries.is_empty() {
            drop(self.transfers.take());
            std::fs::remove_file(self.folder.path().join("transfers.csv")).ok();
            self.folder.abandon();
            return Err(match ended {
                Err(stop) => stop,
                Ok(()) => Stop::new(Exit::Incomplete, "stopped before anything was measured"),
            });
        }
        self.results.complete = ended.is_ok()
            && self.results.summaries.len() == self.results.runs_planned
            && !self.results.summaries.iter().any(|summary| summary.interrupted);
        self.write()?;
        let width = terminal_width();
        print(table::table(&self.results, width).trim_end())?;
        print(&format!("\nresults: {}", self.folder.path().display()))?;
        self.verdict(ended)
    }

    /// The first of the exit codes 3, 5, 4, 1 that applies.
    fn verdict(self, ended: Result<(), Stop>) -> Result<(), Stop> {
        if !self.violations.is_empty() {
            let mut lines = self.violations;
            lines.push("money was made or lost".to_owned());
            return Err(Stop { exit: Exit::InvariantBroken, lines });
        }
        let in_doubt: u64 = self.results.summaries.iter().map(|s| s.tally.in_doubt).sum();
        let made = Made {
            whole: self.results.summaries.iter().filter(|summary| !summary.interrupted).count(),
            planned: self.results.runs_planned,
        };
        made.verdict(ended, self.results.complete)?;
        if in_doubt > 0 {
            let line = format!("{in_doubt} transfers are still in doubt");
            return Err(Stop::new(Exit::Incomplete, line));
        }
        Ok(())
    }

    fn announce(&self) {
        let names: Vec<String> = self.plan.strategies.iter().map(ToString::to_string).collect();
        let long = self.plan.estimate().map_or_else(
            || "as long as the transfers take".to_owned(),
            |time| format!("about {:.0} min {:02} s", (time.as_secs() / 60), time.as_secs() % 60),
        );
        let seeds: Vec<String> = self.results.seeds.iter().map(ToString::to_string).collect();
        self.progress.say(&format!(
            "{} × {} runs at {} point(s), {long}; seed {}",
            names.join(", "),
            self.plan.runs,
            self.plan.points.len(),
            seeds.join(", ")
        ));
    }

    async fn all_sites(&mut self) -> Result<(), Stop> {
        if self.results.config.log == Some(true) {
            let mut file = self.folder.grow("transfers.csv")?;
            file.write_all(&csv::transfers_header())
                .map_err(|error| Stop::new(Exit::Failed, format!("transfers.csv: {error}")))?;
            self.transfers = Some(file);
        }
        let points = self.plan.points.clone();
        for of_one_site in points.chunk_by(|a, b| a.shards == b.shards) {
            if self.is_stopped() {
                return Ok(());
            }
            let shards = of_one_site[0].shards;
            let demand = Demand::of_transfers(&self.plan, self.targets.is_some(), shards);
            let given = self.targets.as_deref();
            let site = Site::open(given, &demand, self.arguments, &mut self.progress).await?;
            self.results.warnings.extend(site.warnings.clone());
            self.results.clusters.push(site.facts.clone());
            let ended = self.all_points(&site, of_one_site).await;
            let closed = site.close();
            ended.and(closed)?;
        }
        Ok(())
    }

    async fn all_points(&mut self, site: &Site, points: &[Point]) -> Result<(), Stop> {
        for point in points {
            for cell in self.plan.cells(point) {
                if self.is_stopped() {
                    return Ok(());
                }
                site.reset().await?;
                site.set_closed(point, true).await?;
                let run = Run {
                    strategy: self.plan.strategies[cell.strategy].clone(),
                    point: *point,
                    block: cell.block,
                    drain: DRAIN,
                };
                let number = self.results.summaries.len() + 1;
                let cell = Cell {
                    run,
                    run_id: format!("{}-{number:04}", self.folder.id()),
                    site,
                    stopped: self.stopped.clone(),
                    progress: &mut self.progress,
                    transfers: self.transfers.as_mut(),
                    audited: self.results.config.auditor == Some(true),
                };
                let mut done = cell.done().await?;
                let stop = done.stop.take();
                self.take(done)?;
                if let Some(stop) = stop {
                    return Err(stop);
                }
                // Also where no reset follows, because the benchmark is stopped.
                site.set_closed(point, false).await?;
                if !self.violations.is_empty() {
                    return Ok(());
                }
            }
        }
        // What was measured last does not stay in a ledger that is the user's.
        if self.is_stopped() { Ok(()) } else { site.reset().await }
    }

    /// Takes in one run and writes all files anew, so that a late failure loses nothing.
    fn take(&mut self, done: Done) -> Result<(), Stop> {
        let number = self.results.summaries.len() + 1;
        let name = format!("{number:04}-{}", done.summary.label().replace([':', ',', '='], "_"));
        self.folder.write_histograms(&format!("{name}.hlog"), &done.hlog)?;
        self.folder.write_histograms(&format!("{name}.hgrm"), &done.hgrm)?;
        self.results.summaries.push(done.summary);
        self.intervals.push(done.intervals);
        self.violations.extend(done.violations);
        self.progress.end();
        self.write()
    }

    fn write(&mut self) -> Result<(), Stop> {
        self.results.standings = standings(&self.results.summaries, &self.results.reference);
        let (summary, run) = (csv::summary(&self.results), json::run(&self.results));
        let report = markdown::report(&self.results);
        self.folder.write("summary.csv", &summary)?;
        self.folder.write("intervals.csv", &csv::intervals(&self.intervals))?;
        self.folder.write("run.json", &run)?;
        self.folder.write("report.md", &report)?;
        self.exports.write(&summary, &run, &report)
    }

    fn is_stopped(&self) -> bool {
        *self.stopped.borrow()
    }
}

/// How many runs were made.
pub(super) struct Made {
    /// From their beginning to their end.
    pub(super) whole: usize,
    /// All that were to be made.
    pub(super) planned: usize,
}

impl Made {
    /// How a benchmark ends that has results and broke no invariant.
    pub(super) fn verdict(&self, ended: Result<(), Stop>, is_complete: bool) -> Result<(), Stop> {
        let Self { whole, planned } = self;
        let made = format!("incomplete: {whole} of {planned} runs were made in full");
        match ended {
            Err(stop) if stop.exit == Exit::InvariantBroken => Err(stop),
            // There are results, and not all of them.
            Err(mut stop) => {
                stop.exit = Exit::Incomplete;
                stop.lines.push(made);
                Err(stop)
            }
            Ok(()) if !is_complete => Err(Stop::new(Exit::Incomplete, made)),
            Ok(()) => Ok(()),
        }
    }
}

pub(super) fn host() -> Host {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    Host {
        platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        cores: u32::try_from(cores).unwrap_or(1),
        memory_bytes: memory_bytes(),
    }
}

/// As Linux says it; elsewhere nothing.
fn memory_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// The width of the terminal that the table is printed on, if it is one.
pub(super) fn terminal_width() -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col > 0).then_some(size.ws_col)
}
