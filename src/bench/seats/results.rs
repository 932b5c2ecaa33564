//! Everything that one call of `bench --workload seats` found out.

use serde::Serialize;

use crate::bench::durations::{Durations, Quantile};
use crate::bench::results::{ClusterFacts, Host, Skipped, Tool};
use crate::bench::seats::plan::SeatPoint;
use crate::bench::seats::record::Record;
use crate::bench::seats::standing::SeatStanding;
use crate::config::BenchConfig;
use crate::seats::{Ending, Way};

/// The version of the files' columns and keys.
pub const SCHEMA_VERSION: u32 = 1;

/// How long something took over a run, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Times {
    /// The median.
    pub p50_us: Option<f64>,
    /// 99 % took no longer.
    pub p99_us: Option<f64>,
    /// The longest.
    pub max_us: Option<f64>,
}

impl From<&Durations> for Times {
    fn from(durations: &Durations) -> Self {
        let us = |ns: Option<u64>| ns.map(|ns| ns as f64 / 1e3);
        Self {
            p50_us: us(durations.quantile_ns(Quantile::P50)),
            p99_us: us(durations.quantile_ns(Quantile::P99)),
            max_us: us(durations.max_ns()),
        }
    }
}

/// One run of one way.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeatSummary {
    /// The row's id.
    pub run_id: String,
    /// When its window opened, RFC 3339.
    pub started_at: String,
    /// The way.
    pub way: String,
    /// Under what circumstances.
    pub point: SeatPoint,
    /// Which block, counted from 1.
    pub run: u32,
    /// Whether what the shards call committed would outlive a power failure.
    pub durable: bool,
    /// How long the window was open, in seconds.
    pub window_s: f64,
    /// Users who came.
    pub users: u64,
    /// Users who have a seat.
    pub sold: u64,
    /// Turned away: the seat was not free.
    pub not_free: u64,
    /// Turned away: others held the seat for too long.
    pub lock_timeouts: u64,
    /// Walked away.
    pub abandoned: u64,
    /// Paid too late.
    pub late: u64,
    /// The tool failed; nothing was sold.
    pub failed: u64,
    /// Not known.
    pub in_doubt: u64,
    /// Sent home because the run was stopped.
    pub dismissed: u64,
    /// Batches that were put on sale, over all shards.
    pub batches: u64,
    /// Seats sold a second, while the window was open.
    pub sold_per_s: Option<f64>,
    /// For how long a row or a lock was held.
    pub window: Times,
    /// From coming to having a seat.
    pub checkout: Times,
    /// From coming to being turned away.
    pub refusal: Times,
    /// Payments for a seat that was paid for already; nothing where nobody could be asked.
    pub double_sales: Option<u64>,
    /// Everything that must never be.
    pub violations: Option<u64>,
    /// Reservations that were over and not freed, rows and locks that were still held.
    pub stuck: Option<u64>,
    /// Whether the run was stopped before its time.
    pub interrupted: bool,
    /// What may be wrong.
    pub warnings: Vec<String>,
}

impl SeatSummary {
    /// What a record says; the caller fills in what is known from elsewhere.
    #[must_use]
    pub fn new(way: Way, point: SeatPoint, record: &Record, window_s: f64) -> Self {
        let rate = (window_s > 0.0).then(|| record.sold_in_time as f64 / window_s);
        Self {
            run_id: String::new(),
            started_at: String::new(),
            way: way.to_string(),
            point,
            run: 1,
            durable: false,
            window_s,
            users: record.users(),
            sold: record.count(Ending::Sold),
            not_free: record.count(Ending::NotFree),
            lock_timeouts: record.count(Ending::LockTimeout),
            abandoned: record.count(Ending::Abandoned),
            late: record.count(Ending::Late),
            failed: record.count(Ending::Failed),
            in_doubt: record.count(Ending::InDoubt),
            dismissed: record.count(Ending::Dismissed),
            batches: 0,
            sold_per_s: rate,
            window: Times::from(&record.window),
            checkout: Times::from(&record.checkout),
            refusal: Times::from(&record.refusal),
            double_sales: None,
            violations: None,
            stuck: None,
            interrupted: false,
            warnings: record.complaints.iter().cloned().collect(),
        }
    }

    /// Users who were turned away.
    #[must_use]
    pub const fn turned_away(&self) -> u64 {
        self.not_free + self.lock_timeouts
    }
}

/// One call of `bench --workload seats`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeatResults {
    /// The version of this structure.
    pub schema_version: u32,
    /// What was measured: `seats`.
    pub workload: &'static str,
    /// The name of its folder; the beginning of its rows' ids.
    pub id: String,
    /// When it began, RFC 3339.
    pub started_at: String,
    /// What made it.
    pub tool: Tool,
    /// The configuration in effect.
    pub config: BenchConfig,
    /// The seed, wherever it came from.
    pub seeds: Vec<u64>,
    /// Where the load came from.
    pub host: Host,
    /// The shards.
    pub clusters: Vec<ClusterFacts>,
    /// The points of the sweep.
    pub points: Vec<SeatPoint>,
    /// Runs that were planned.
    pub runs_planned: usize,
    /// Whether all of them were made.
    pub complete: bool,
    /// The way that the others are compared with.
    pub reference: String,
    /// Ways that `all` stands for and that cannot be had here.
    pub skipped: Vec<Skipped>,
    /// A row for each run, in the order in which they were made.
    pub summaries: Vec<SeatSummary>,
    /// A row for each way at each point.
    pub standings: Vec<SeatStanding>,
    /// What concerns all rows.
    pub warnings: Vec<String>,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::bench::seats::plan::tests::plan;
    use crate::bench::seats::standing::standings;

    /// A run of `way` in block `run` that sold so many seats in five seconds.
    pub fn summary(way: &str, run: u32, sold: u64, window_p50_us: f64) -> SeatSummary {
        let point = plan(|_| {}).expect("valid").points[0];
        let record = Record::new(tokio::time::Instant::now(), point.length);
        let window = Times { p50_us: Some(window_p50_us), p99_us: Some(1e6), max_us: Some(1.1e6) };
        SeatSummary {
            run,
            users: sold + 10,
            sold,
            lock_timeouts: 4,
            not_free: 6,
            sold_per_s: Some(sold as f64 / 5.0),
            window,
            double_sales: Some(0),
            violations: Some(0),
            stuck: Some(0),
            ..SeatSummary::new(way.parse().expect("a way"), point, &record, 5.0)
        }
    }

    /// Five blocks of two ways, for the tests of reports.
    pub fn results() -> SeatResults {
        let mut summaries = Vec::new();
        for run in 1..=5 {
            summaries.push(summary("hold-row", run, 100 + u64::from(run), 100_000.0));
            summaries.push(summary("reserve", run, 700 + u64::from(run), 1_500.0));
        }
        SeatResults {
            schema_version: SCHEMA_VERSION,
            workload: "seats",
            id: "20260102T030405Z-seats".to_owned(),
            started_at: "2026-01-02T03:04:05Z".to_owned(),
            tool: Tool::this(),
            config: BenchConfig::defaults_of(crate::config::WorkloadName::Seats),
            seeds: vec![5],
            host: Host { platform: "linux x86_64".to_owned(), cores: 2, memory_bytes: None },
            clusters: vec![ClusterFacts::default()],
            points: vec![summaries[0].point],
            runs_planned: 10,
            complete: true,
            reference: "hold-row".to_owned(),
            skipped: Vec::new(),
            standings: standings(&summaries, "hold-row"),
            summaries,
            warnings: Vec::new(),
        }
    }
}
