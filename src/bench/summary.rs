//! One run in figures: a row of `summary.csv`, and a little more.

use std::time::Duration;

use serde::Serialize;

use crate::bench::auditor::HalfVisible;
use crate::bench::durations::{Durations, Quantile};
use crate::bench::plan::{Length, Point};
use crate::bench::recorder::Recorder;
use crate::bench::sample::Ending;
use crate::bench::skew::Skew;
use crate::bench::tally::Tally;
use crate::bench::wal::WalUse;
use crate::strategies::Strategy;
use crate::verbs::observed::Phase;

/// How far the clients' own idleness may go before a row is flagged, as a share.
const IDLENESS_MAX: f64 = 0.05;
/// The share of its processors from which the generator may itself be what is measured.
const GENERATOR_CPU_MAX: f64 = 0.9;

/// How durations spread, in microseconds. A quantile with too few samples behind it is absent.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Spread {
    /// How many there are.
    pub count: u64,
    /// The mean.
    pub mean_us: Option<f64>,
    /// The shortest.
    pub min_us: Option<f64>,
    /// The median.
    pub p50_us: Option<f64>,
    /// 90 % are no longer.
    pub p90_us: Option<f64>,
    /// 95 % are no longer.
    pub p95_us: Option<f64>,
    /// 99 % are no longer.
    pub p99_us: Option<f64>,
    /// 99.9 % are no longer.
    pub p999_us: Option<f64>,
    /// The longest.
    pub max_us: Option<f64>,
}

impl Spread {
    /// The spread of `durations`.
    #[must_use]
    pub fn of(durations: &Durations) -> Self {
        let us = |ns: u64| ns as f64 / 1000.0;
        let quantile = |q| durations.quantile_ns(q).map(us);
        Self {
            count: durations.count(),
            mean_us: durations.mean_ns().map(|ns| ns / 1000.0),
            min_us: durations.min_ns().map(us),
            p50_us: quantile(Quantile::P50),
            p90_us: quantile(Quantile::P90),
            p95_us: quantile(Quantile::P95),
            p99_us: quantile(Quantile::P99),
            p999_us: quantile(Quantile::P999),
            max_us: durations.max_ns().map(us),
        }
    }
}

/// What the audit after a run found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Audited {
    /// Whether no money was made or lost.
    pub conserved: bool,
    /// How much is there that must never be.
    pub violations: u64,
    /// Branches that were still prepared.
    pub orphan_prepared: u64,
    /// Transfers that were neither whole nor undone.
    pub unfinished: u64,
    /// What was found, in words.
    pub details: Vec<String>,
}

/// What is known of a run beside its record.
#[derive(Debug, Clone, PartialEq)]
pub struct Circumstances {
    /// The row's own id, shared by its rows in every file.
    pub run_id: String,
    /// When the measured window began, RFC 3339.
    pub started_at: String,
    /// Which block, counted from 1.
    pub run: u32,
    /// Whether what was committed would outlive a power failure.
    pub durable: bool,
    /// What the servers wrote, where it is known.
    pub wal: Option<WalUse>,
    /// What somebody saw who looked on, where there was one.
    pub half_visible: Option<HalfVisible>,
    /// What the audit found, where there was one.
    pub audit: Option<Audited>,
    /// How long recovery took after the load had stopped.
    pub recovery: Option<Duration>,
    /// Whether its load was stopped before its time.
    pub interrupted: bool,
    /// What went wrong around the run, one line each.
    pub warnings: Vec<String>,
}

/// One run in figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// The row's own id.
    pub run_id: String,
    /// When the measured window began, RFC 3339.
    pub started_at: String,
    /// The strategy's name.
    pub strategy: String,
    /// Its options that are not the defaults.
    pub strategy_options: String,
    /// Which block, counted from 1.
    pub run: u32,
    /// Whether what was committed would outlive a power failure.
    pub durable: bool,
    /// The circumstances that may be swept.
    pub point: Point,
    /// The share of transfers between shards that the strategy was given, in percent.
    pub cross_shard_percent: f64,
    /// From the start of the measured window to the end of its last transfer, in seconds.
    pub duration_s: f64,
    /// How many transfers ended how.
    pub tally: Tally,
    /// Committed transfers a second.
    pub throughput_tps: Option<f64>,
    /// Response times of committed transfers.
    pub latency: Spread,
    /// Service times of committed transfers.
    pub service: Spread,
    /// How long locks were held by committed transfers: an upper bound.
    pub lock_hold: Spread,
    /// Between the two effects of committed transfers.
    pub window: Spread,
    /// What somebody saw who looked on.
    pub half_visible: Option<HalfVisible>,
    /// The share of samples of visible transfers of which only half was.
    pub half_visible_ratio: Option<f64>,
    /// Time in each phase of committed transfers that had it.
    pub phases: Vec<(Phase, Spread)>,
    /// Messages sent and awaited one after another, of a committed transfer.
    pub round_trips_per_transfer: Option<f64>,
    /// Messages to a lock service, of a committed transfer.
    pub lock_round_trips_per_transfer: Option<f64>,
    /// The shares of all transfers that the least and the most served client carried, in percent.
    pub client_share_percent: Option<[f64; 2]>,
    /// What the servers wrote in all.
    pub wal: Option<WalUse>,
    /// Forced writes of a committed transfer, a decision log's syncs among them.
    pub wal_flushes_per_transfer: Option<f64>,
    /// Bytes of write-ahead log of a committed transfer.
    pub wal_bytes_per_transfer: Option<f64>,
    /// Processor time of this process for a committed transfer, in microseconds.
    pub client_cpu_us_per_transfer: Option<f64>,
    /// How unevenly accounts were used.
    pub skew: Skew,
    /// Conflicts (serialization failures, deadlocks, lock timeouts) of an attempted transfer.
    pub conflicts_per_transfer: Option<f64>,
    /// Committed transfers by the tries that they took.
    pub tries: Vec<u64>,
    /// Transfers that were on their way at a time, on average.
    pub in_flight_mean: f64,
    /// What the audit found.
    pub audit: Option<Audited>,
    /// How long recovery took after the load had stopped, in milliseconds.
    pub recovery_ms: Option<f64>,
    /// Whether its load was stopped before its time.
    pub interrupted: bool,
    /// What may be wrong with this row.
    pub warnings: Vec<String>,
}

impl Summary {
    /// The figures of one run.
    #[must_use]
    pub fn new(
        strategy: &Strategy,
        point: &Point,
        recorder: &Recorder,
        took: Took,
        skew: Skew,
        around: Circumstances,
    ) -> Self {
        let tally = recorder.tally;
        let latency = &recorder.response[Ending::Committed as usize];
        let committed = tally.committed as f64;
        let each = |sum: f64| finite(sum / committed);
        let duration_s = if recorder.last_ended_ns > 0 {
            recorder.last_ended_ns as f64 / 1e9
        } else {
            took.elapsed.as_secs_f64()
        };
        let in_flight_mean = finite(recorder.busy_ns as f64 / 1e9 / duration_s).unwrap_or(0.0);
        let conflicts =
            tally.serialization_failures + tally.deadlock_failures + tally.lock_timeouts;
        let phases = Phase::ALL
            .into_iter()
            .zip(&recorder.phases[Ending::Committed as usize])
            .filter(|(_, durations)| durations.count() > 0)
            .map(|(phase, durations)| (phase, Spread::of(durations)))
            .collect();
        let mut summary = Self {
            run_id: around.run_id,
            started_at: around.started_at,
            strategy: strategy.name().to_owned(),
            strategy_options: strategy.options(),
            run: around.run,
            durable: around.durable,
            point: *point,
            cross_shard_percent: point.cross_shard_percent_of(strategy),
            duration_s,
            tally,
            throughput_tps: finite(committed / duration_s),
            latency: Spread::of(latency),
            service: Spread::of(&recorder.service),
            lock_hold: Spread::of(&recorder.lock_hold),
            window: Spread::of(&recorder.window),
            half_visible: around.half_visible,
            half_visible_ratio: around.half_visible.and_then(HalfVisible::ratio),
            phases,
            round_trips_per_transfer: each(recorder.round_trips as f64),
            lock_round_trips_per_transfer: each(recorder.lock_round_trips as f64),
            client_share_percent: client_shares(&recorder.ordered, point.clients),
            wal: around.wal,
            wal_flushes_per_transfer: around
                .wal
                .and_then(|wal| each((wal.flushes + wal.file_syncs) as f64)),
            wal_bytes_per_transfer: around.wal.and_then(|wal| each(wal.bytes as f64)),
            client_cpu_us_per_transfer: each(took.cpu.as_secs_f64() * 1e6),
            skew,
            conflicts_per_transfer: finite(conflicts as f64 / tally.attempted as f64),
            tries: recorder.tries.to_vec(),
            in_flight_mean,
            audit: around.audit,
            recovery_ms: around.recovery.map(|time| time.as_secs_f64() * 1000.0),
            interrupted: around.interrupted,
            warnings: around.warnings,
        };
        summary.check(took);
        summary
    }

    /// The strategy with its options, as the command line spells it.
    #[must_use]
    pub fn label(&self) -> String {
        if self.strategy_options.is_empty() {
            self.strategy.clone()
        } else {
            format!("{}:{}", self.strategy, self.strategy_options)
        }
    }

    /// The time in `phase`, where a committed transfer had it.
    #[must_use]
    pub fn phase(&self, phase: Phase) -> Option<&Spread> {
        self.phases.iter().find(|(named, _)| *named == phase).map(|(_, spread)| spread)
    }

    /// Doubts whether the run measured what it was meant to.
    fn check(&mut self, took: Took) {
        let mut found = Vec::new();
        if self.interrupted {
            found.push(format!("interrupted after {:.1} s", took.elapsed.as_secs_f64()));
        }
        if self.tally.committed == 0 {
            found.push("no transfer committed".to_owned());
        }
        // Little's law: clients that always have a transfer on its way keep exactly their number
        // in flight. They come and go with a count of transfers, so only time is held to it.
        let clients = f64::from(self.point.clients);
        let idle = 1.0 - self.in_flight_mean / clients;
        if idle > IDLENESS_MAX
            && self.tally.failed == 0
            && matches!(self.point.length, Length::Time(_))
        {
            found.push(format!(
                "clients were idle {:.0} % of the time: the load generator was in its own way",
                idle * 100.0
            ));
        }
        let processors = f64::from(self.point.jobs);
        let busy = finite(took.cpu.as_secs_f64() / took.elapsed.as_secs_f64() / processors);
        if let Some(busy) = busy.filter(|busy| *busy > GENERATOR_CPU_MAX) {
            found.push(format!(
                "the load generator used {:.0} % of its {} threads' time: it may be what was \
                 measured; give it more with --jobs",
                busy * 100.0,
                self.point.jobs
            ));
        }
        if !self.durable {
            found.push("a server has fsync off: nothing here is durable".to_owned());
        }
        if self.tally.in_doubt > 0 {
            found.push(format!("{} transfers are in doubt", self.tally.in_doubt));
        }
        self.warnings.extend(found);
    }
}

/// What a run took of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Took {
    /// By the clock.
    pub elapsed: Duration,
    /// Of processors, by this process.
    pub cpu: Duration,
}

/// What the least and the most served of `clients` carried, in percent of all.
fn client_shares(ordered: &[u64], clients: u32) -> Option<[f64; 2]> {
    let all: u64 = ordered.iter().sum();
    let clients = usize::try_from(clients).unwrap_or(usize::MAX);
    // A client that carried nothing may not be listed.
    let least = if ordered.len() < clients { 0 } else { ordered.iter().copied().min()? };
    let most = ordered.iter().copied().max()?;
    (all > 0).then(|| [least, most].map(|count| count as f64 * 100.0 / all as f64))
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::bench::fake::point;
    use crate::bench::sample::tests::sample;

    /// A summary of one committed transfer of `response_us` and one that was aborted.
    pub fn summary(strategy: &str, run: u32, response_us: u64) -> Summary {
        let mut recorder = Recorder::default();
        recorder.record(&sample(Ending::Committed, 0, response_us));
        recorder.record(&sample(Ending::Aborted, 0, response_us));
        of(strategy, run, &recorder)
    }

    fn of(strategy: &str, run: u32, recorder: &Recorder) -> Summary {
        let around = Circumstances {
            run_id: format!("test-{run}"),
            started_at: "2026-01-02T03:04:05Z".to_owned(),
            run,
            durable: true,
            wal: Some(WalUse { flushes: 4, bytes: 1000, file_syncs: 1 }),
            half_visible: Some(HalfVisible {
                looks: 10,
                visible: 80,
                half: 1,
                ..HalfVisible::default()
            }),
            audit: None,
            recovery: Some(Duration::from_millis(3)),
            interrupted: false,
            warnings: Vec::new(),
        };
        let took = Took { elapsed: Duration::from_secs(1), cpu: Duration::from_micros(500) };
        let skew = Skew { top_1: 0.1, top_10: 0.5 };
        let strategy = strategy.parse().expect("a strategy");
        Summary::new(&strategy, &point(1, 1), recorder, took, skew, around)
    }

    #[test]
    fn a_run_in_which_nothing_committed_has_no_figure_that_is_no_number() {
        let summary = of("2pc", 1, &Recorder::default());
        assert_eq!(summary.throughput_tps, Some(0.0));
        assert_eq!(summary.wal_flushes_per_transfer, None);
        assert_eq!((summary.conflicts_per_transfer, summary.in_flight_mean), (None, 0.0));
        assert!(summary.warnings[0].contains("no transfer committed"));
    }

    #[test]
    fn goodput_is_committed_transfers_alone() {
        let summary = summary("2pc", 1, 500_000);
        assert_eq!((summary.tally.attempted, summary.tally.committed), (2, 1));
        assert_eq!(summary.throughput_tps, Some(2.0));
        assert_eq!(summary.wal_flushes_per_transfer, Some(5.0));
        assert_eq!(summary.client_cpu_us_per_transfer, Some(500.0));
    }

    #[test]
    fn clients_that_idle_are_told_of() {
        let mut recorder = Recorder::default();
        recorder.record(&sample(Ending::Committed, 0, 500_000));
        recorder.record(&sample(Ending::Committed, 900_000, 1_000_000));
        let mut summary = of("2pc", 1, &recorder);
        summary.point.length = Length::Time(Duration::from_secs(1));
        summary.warnings.clear();
        summary.check(Took { elapsed: Duration::from_secs(1), cpu: Duration::from_millis(950) });
        assert!(summary.warnings[0].contains("idle 40 %"), "{:?}", summary.warnings);
        assert!(summary.warnings[1].contains("95 % of its 1 threads"), "{:?}", summary.warnings);
    }
}
