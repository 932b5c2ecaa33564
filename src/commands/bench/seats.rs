//! `shardbank bench --workload seats`: sites, points, runs, and after each run all files.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

use super::demand::Demand;
use super::folder::{Exports, Folder};
use super::layers::Wanted;
use super::progress::Progress;
use super::seat_cell::{Done, SeatCell};
use super::session::{Made, host, terminal_width};
use super::site::Site;
use crate::bench::results::{Skipped, Tool};
use crate::bench::seats::plan::{SeatPlan, SeatPoint};
use crate::bench::seats::results::{SCHEMA_VERSION, SeatResults};
use crate::bench::seats::run::SeatRun;
use crate::bench::seats::standing::standings;
use crate::cli::bench::{BenchArguments, BenchCommand};
use crate::commands::output::print;
use crate::commands::{Exit, Stop};
use crate::report::{json, seats};
use crate::seats::books;
use crate::shards::ShardTarget;

/// One benchmark of seats.
pub struct SeatSession<'a> {
    arguments: &'a BenchArguments,
    targets: Option<Vec<ShardTarget>>,
    plan: SeatPlan,
    folder: Folder,
    exports: Exports,
    stopped: watch::Receiver<bool>,
    progress: Progress,
    results: SeatResults,
    violations: Vec<String>,
}

impl<'a> SeatSession<'a> {
    /// What was asked for, ready to begin; `skipped` was asked for as a part of `all` and cannot
    /// be had.
    pub fn new(
        command: &'a BenchCommand,
        (wanted, skipped): (Wanted, Vec<(String, String)>),
        plan: SeatPlan,
        (folder, exports): (Folder, Exports),
        started_at: Timestamp,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        let Wanted { config, targets } = wanted;
        let mut seeds: Vec<u64> = plan.points.iter().map(|point| point.seed).collect();
        seeds.dedup();
        let progress = Progress::new(command.export.quiet, config.progress, plan.run_count());
        let skipped = skipped.into_iter();
        let results = SeatResults {
            schema_version: SCHEMA_VERSION,
            workload: "seats",
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
            reference: plan.ways[plan.reference].to_string(),
            skipped: skipped.map(|(strategy, reason)| Skipped { strategy, reason }).collect(),
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
            results,
            violations: Vec::new(),
        }
    }

    /// Runs everything, prints the table and says how it ended.
    ///
    /// # Errors
    /// A seat was sold twice, not everything was run, or nothing could be.
    pub async fn run(mut self) -> Result<(), Stop> {
        self.announce();
        let ended = self.all_sites().await;
        self.progress.finish();
        if self.results.summaries.is_empty() {
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
        print(seats::table(&self.results, terminal_width()).trim_end())?;
        print(&format!("\nresults: {}", self.folder.path().display()))?;
        self.verdict(ended)
    }

    /// The first of the exit codes 3, 5, 1 that applies.
    fn verdict(self, ended: Result<(), Stop>) -> Result<(), Stop> {
        let Self { results, violations: mut lines, .. } = self;
        if !lines.is_empty() {
            lines.push("seats were not sold once each; they are left as they are".to_owned());
            return Err(Stop { exit: Exit::InvariantBroken, lines });
        }
        let made = Made {
            whole: results.summaries.iter().filter(|summary| !summary.interrupted).count(),
            planned: results.runs_planned,
        };
        made.verdict(ended, results.complete)
    }

    fn announce(&self) {
        let names: Vec<&str> = self.plan.ways.iter().map(|way| way.name()).collect();
        let long = self.plan.estimate().as_secs();
        let seeds: Vec<String> = self.results.seeds.iter().map(ToString::to_string).collect();
        self.progress.say(&format!(
            "seats: {} × {} runs at {} point(s), about {} min {:02} s; seed {}",
            names.join(", "),
            self.plan.runs,
            self.plan.points.len(),
            long / 60,
            long % 60,
            seeds.join(", ")
        ));
    }

    async fn all_sites(&mut self) -> Result<(), Stop> {
        let lock_wait = Duration::from_millis(self.arguments.coordinator.lock_timeout);
        let points = self.plan.points.clone();
        for of_one_site in points.chunk_by(|a, b| a.shards == b.shards) {
            if self.is_stopped() {
                return Ok(());
            }
            let shards = of_one_site[0].shards;
            let demand = Demand::of_seats(&self.plan, self.targets.is_some(), shards, lock_wait);
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

    /// Whatever comes of it, nothing that was measured stays on the shards; but what breaks an
    /// invariant does, so that it can be looked at.
    async fn all_points(&mut self, site: &Site, points: &[SeatPoint]) -> Result<(), Stop> {
        let ended = self.all_cells(site, points).await;
        let empty = async |site: &Site| {
            let emptied = books::empty(&site.context.cluster).await;
            emptied.map_err(|error| Stop::new(Exit::Failed, error.to_string()))
        };
        if self.violations.is_empty() { ended.and(empty(site).await) } else { ended }
    }

    async fn all_cells(&mut self, site: &Site, points: &[SeatPoint]) -> Result<(), Stop> {
        for point in points {
            for cell in self.plan.cells(point) {
                if self.is_stopped() || !self.violations.is_empty() {
                    return Ok(());
                }
                let way = self.plan.ways[cell.strategy];
                let number = self.results.summaries.len() + 1;
                let cell = SeatCell {
                    run: SeatRun { way, point: *point, block: cell.block },
                    run_id: format!("{}-{number:04}", self.folder.id()),
                    site,
                    stopped: self.stopped.clone(),
                    progress: &mut self.progress,
                };
                let mut done = cell.done().await?;
                let stop = done.stop.take();
                self.take(number, done)?;
                if let Some(stop) = stop {
                    return Err(stop);
                }
            }
        }
        Ok(())
    }

    /// Takes in one run and writes all files anew, so that a late failure loses nothing.
    fn take(&mut self, number: usize, done: Done) -> Result<(), Stop> {
        let Done { summary, histograms, violations, .. } = done;
        for (what, hgrm) in histograms {
            let name = format!("{number:04}-{}-{what}.hgrm", summary.way);
            self.folder.write_histograms(&name, &hgrm)?;
        }
        self.results.summaries.push(summary);
        self.violations.extend(violations);
        self.progress.end();
        self.write()
    }

    fn write(&mut self) -> Result<(), Stop> {
        self.results.standings = standings(&self.results.summaries, &self.results.reference);
        let (csv, run) = (seats::csv(&self.results), json::run(&self.results));
        let report = seats::report(&self.results);
        self.folder.write("seats.csv", &csv)?;
        self.folder.write("run.json", &run)?;
        self.folder.write("report.md", &report)?;
        self.exports.write(&csv, &run, &report)
    }

    fn is_stopped(&self) -> bool {
        *self.stopped.borrow()
    }
}
