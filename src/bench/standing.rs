//! How the strategies stand at each point, over all runs.

use serde::Serialize;

use crate::bench::auditor::HalfVisible;
use crate::bench::comparing::{Contender, Run, contenders};
use crate::bench::plan::Point;
use crate::bench::skew::Skew;
use crate::bench::statistics::{
    Comparison, Verdict, coefficient_of_variation, mean, mean_error, median,
};
use crate::bench::summary::{Spread, Summary};
use crate::verbs::observed::Phase;

/// The variation between runs from which their mean is doubtful.
const VARIATION_MAX: f64 = 0.1;

/// One strategy at one point, over its runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Standing {
    /// The point.
    pub point: Point,
    /// The strategy with its options.
    pub strategy: String,
    /// Whether it is what the others are compared with.
    pub is_reference: bool,
    /// The share of transfers between shards that it was given, in percent.
    pub cross_shard_percent: f64,
    /// Runs.
    pub runs: usize,
    /// The mean throughput, in committed transfers a second.
    pub throughput_tps: Option<f64>,
    /// Half the width of that mean's 95 % confidence interval.
    pub throughput_error_tps: Option<f64>,
    /// The deviation of the throughput between runs as a share of the mean.
    pub variation: Option<f64>,
    /// Medians over runs of the response times of committed transfers, in microseconds: median,
    /// 95 %, 99 %, longest.
    pub latency_us: [Option<f64>; 4],
    /// Medians over runs of the time locks are held, in microseconds: median and 99 %.
    pub lock_hold_us: [Option<f64>; 2],
    /// The median over runs of the median window between two effects, in microseconds.
    pub window_p50_us: Option<f64>,
    /// All runs together: what somebody saw who looked on.
    pub half_visible: Option<HalfVisible>,
    /// Medians over runs.
    pub round_trips_per_transfer: Option<f64>,
    /// Medians over runs: messages to a lock service.
    pub lock_round_trips_per_transfer: Option<f64>,
    /// Medians over runs of the shares of the least and the most served client, in percent.
    pub client_share_percent: [Option<f64>; 2],
    /// All runs together: steps that met somebody with a later grant.
    pub fenced_out: u64,
    /// Medians over runs: of the servers, and of a decision log in a file.
    pub wal_flushes_per_transfer: Option<(f64, f64)>,
    /// The median over runs.
    pub wal_bytes_per_transfer: Option<f64>,
    /// The median over runs.
    pub client_cpu_us_per_transfer: Option<f64>,
    /// All runs together.
    pub committed: u64,
    /// All runs together: refused by the business.
    pub rejected: u64,
    /// All runs together: given up, failed or in doubt.
    pub not_carried_out: u64,
    /// Of an attempted transfer.
    pub retries_per_transfer: Option<f64>,
    /// Medians over runs of the time in each phase, in microseconds: median and 99 %.
    pub phases_us: Vec<(Phase, [Option<f64>; 2])>,
    /// Of an attempted transfer: serialization failures, deadlocks, lock timeouts.
    pub conflicts_per_transfer: Option<f64>,
    /// The means over runs of how unevenly accounts were used.
    pub skew: Skew,
    /// Whether every run was audited and none broke an invariant.
    pub conserved: Option<bool>,
    /// How its throughput compares with the reference's.
    pub comparison: Option<Comparison>,
    /// What may be said of that.
    pub verdict: Option<Verdict>,
    /// What may be wrong, each once.
    pub warnings: Vec<String>,
}

/// How the strategies stand, in the order in which points first appear in `summaries`; at each
/// point the reference first. `reference` is a strategy with its options.
#[must_use]
pub fn standings(summaries: &[Summary], reference: &str) -> Vec<Standing> {
    contenders(summaries, reference).into_iter().map(Standing::new).collect()
}

impl Run for Summary {
    type Point = Point;

    fn point(&self) -> Point {
        self.point
    }

    fn contender(&self) -> String {
        self.label()
    }

    fn block(&self) -> u32 {
        self.run
    }

    fn rate(&self) -> Option<f64> {
        self.throughput_tps
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

impl Standing {
    fn new(contender: Contender<'_, Summary>) -> Self {
        let (throughput, mut warnings) = (contender.rates(), contender.warnings());
        let Contender { point, name, is_reference, runs, comparison, verdict } = contender;
        let all = |figure: &dyn Fn(&Summary) -> Option<f64>| -> Vec<f64> {
            runs.iter().filter_map(|run| figure(run)).collect()
        };
        let middle = |figure: &dyn Fn(&Summary) -> Option<f64>| median(&all(figure));
        let latency = |figure: fn(&Spread) -> Option<f64>| middle(&|run| figure(&run.latency));
        let sum = |count: fn(&Summary) -> u64| runs.iter().map(|run| count(run)).sum::<u64>();
        let file_syncs = middle(&|run| {
            let wal = run.wal.filter(|_| run.tally.committed > 0)?;
            Some(wal.file_syncs as f64 / run.tally.committed as f64)
        });
        let phases_us = Phase::ALL
            .into_iter()
            .filter(|phase| runs.iter().any(|run| run.phase(*phase).is_some()))
            .map(|phase| {
                let p50 = middle(&|run| run.phase(phase)?.p50_us);
                (phase, [p50, middle(&|run| run.phase(phase)?.p99_us)])
            })
            .collect();
        let flushes = middle(&|run| run.wal_flushes_per_transfer);
        let attempted = sum(|run| run.tally.attempted);
        let retries = sum(|run| run.tally.retries);
        let audits: Option<Vec<bool>> =
            runs.iter().map(|run| run.audit.as_ref().map(|audit| audit.conserved)).collect();
        let variation = coefficient_of_variation(&throughput);
        if let Some(variation) = variation.filter(|variation| *variation > VARIATION_MAX) {
            warnings.push(format!(
                "runs differ by {:.0} % (coefficient of variation)",
                variation * 100.0
            ));
        }
        Self {
            point,
            strategy: name,
            is_reference,
            cross_shard_percent: runs.first().map_or(0.0, |run| run.cross_shard_percent),
            runs: runs.len(),
            throughput_tps: mean(&throughput),
            throughput_error_tps: mean_error(&throughput),
            variation,
            latency_us: [
                latency(|spread| spread.p50_us),
                latency(|spread| spread.p95_us),
                latency(|spread| spread.p99_us),
                latency(|spread| spread.max_us),
            ],
            lock_hold_us: [
                middle(&|run| run.lock_hold.p50_us),
                middle(&|run| run.lock_hold.p99_us),
            ],
            window_p50_us: middle(&|run| run.window.p50_us),
            half_visible: runs.iter().filter_map(|run| run.half_visible).reduce(HalfVisible::and),
            round_trips_per_transfer: middle(&|run| run.round_trips_per_transfer),
            lock_round_trips_per_transfer: middle(&|run| run.lock_round_trips_per_transfer),
            client_share_percent: [0, 1]
                .map(|end| middle(&|run| run.client_share_percent.map(|shares| shares[end]))),
            fenced_out: sum(|run| run.tally.fenced_out),
            wal_flushes_per_transfer: flushes
                .zip(file_syncs)
                .map(|(flushes, syncs)| (flushes - syncs, syncs)),
            wal_bytes_per_transfer: middle(&|run| run.wal_bytes_per_transfer),
            client_cpu_us_per_transfer: middle(&|run| run.client_cpu_us_per_transfer),
            committed: sum(|run| run.tally.committed),
            rejected: sum(|run| run.tally.rejected),
            not_carried_out: sum(|run| run.tally.aborted + run.tally.failed + run.tally.in_doubt),
            retries_per_transfer: (attempted > 0).then(|| retries as f64 / attempted as f64),
            phases_us,
            conflicts_per_transfer: mean(&all(&|run| run.conflicts_per_transfer)),
            skew: Skew {
                top_1: mean(&all(&|run| Some(run.skew.top_1))).unwrap_or(0.0),
                top_10: mean(&all(&|run| Some(run.skew.top_10))).unwrap_or(0.0),
            },
            conserved: audits.map(|audits| audits.into_iter().all(|conserved| conserved)),
            comparison,
            verdict,
            warnings,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::summary::tests::summary;

    #[test]
    fn the_reference_stands_first_and_the_others_are_compared_block_by_block() {
        let mut summaries = Vec::new();
        for run in 1..=5 {
            // Blocks differ a lot, strategies within a block always by the same factor.
            let response = u64::from(run) * 10_000;
            summaries.push(summary("2pc", run, response * 4));
            summaries.push(summary("same-shard", run, response));
        }
        let standings = standings(&summaries, "same-shard");
        assert_eq!(standings.len(), 2);
        assert!(standings[0].is_reference && standings[0].comparison.is_none());
        let comparison = standings[1].comparison.expect("compared");
        assert!((comparison.ratio - 0.25).abs() < 1e-6);
        assert_eq!(standings[1].verdict, Some(Verdict::Lower));
        assert_eq!((standings[1].runs, standings[1].committed), (5, 5));
        assert!(standings[0].warnings.iter().any(|w| w.contains("runs differ")));
    }

    #[test]
    fn few_runs_are_said_to_be_few() {
        let summaries = [summary("2pc", 1, 100), summary("same-shard", 1, 50)];
        let standings = standings(&summaries, "same-shard");
        assert_eq!(standings[1].verdict, Some(Verdict::TooFewRuns));
    }

    #[test]
    fn file_syncs_are_told_apart_from_flushes() {
        let standings = standings(&[summary("2pc:log=file", 1, 100)], "same-shard");
        assert_eq!(standings[0].wal_flushes_per_transfer, Some((4.0, 1.0)));
    }
}
