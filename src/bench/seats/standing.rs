//! How the ways stand at each point, over all runs.

use serde::Serialize;

use crate::bench::comparing::{Contender, Run, contenders};
use crate::bench::seats::plan::SeatPoint;
use crate::bench::seats::results::SeatSummary;
use crate::bench::statistics::{Comparison, Verdict, mean, mean_error, median};

/// One way at one point, over its runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeatStanding {
    /// The point.
    pub point: SeatPoint,
    /// The way.
    pub way: String,
    /// Whether it is what the others are compared with.
    pub is_reference: bool,
    /// Runs.
    pub runs: usize,
    /// The mean rate.
    pub sold_per_s: Option<f64>,
    /// Half the width of that mean's 95 % confidence interval.
    pub sold_error_per_s: Option<f64>,
    /// How that rate compares with the reference's.
    pub comparison: Option<Comparison>,
    /// What may be said of that.
    pub verdict: Option<Verdict>,
    /// All runs together: users, and of these those who have a seat.
    pub users: u64,
    /// All runs together.
    pub sold: u64,
    /// All runs together: turned away because the seat was not free.
    pub not_free: u64,
    /// All runs together: turned away because others held the seat for too long.
    pub lock_timeouts: u64,
    /// All runs together.
    pub abandoned: u64,
    /// All runs together.
    pub late: u64,
    /// All runs together: failed or in doubt.
    pub not_carried_out: u64,
    /// Medians over runs of how long a row or a lock was held: median, 99 %, longest.
    pub window_us: [Option<f64>; 3],
    /// Medians over runs from coming to having a seat: median, 99 %.
    pub checkout_us: [Option<f64>; 2],
    /// Medians over runs from coming to being turned away: median, 99 %.
    pub refusal_us: [Option<f64>; 2],
    /// All runs together; nothing where one of them was not audited.
    pub double_sales: Option<u64>,
    /// All runs together; nothing where one of them was not audited.
    pub violations: Option<u64>,
    /// All runs together; nothing where one of them was not audited.
    pub stuck: Option<u64>,
    /// What may be wrong, each once.
    pub warnings: Vec<String>,
}

/// How the ways stand, in the order in which points first appear in `summaries`; at each point the
/// reference first.
#[must_use]
pub fn standings(summaries: &[SeatSummary], reference: &str) -> Vec<SeatStanding> {
    contenders(summaries, reference).into_iter().map(SeatStanding::new).collect()
}

impl Run for SeatSummary {
    type Point = SeatPoint;

    fn point(&self) -> SeatPoint {
        self.point
    }

    fn contender(&self) -> String {
        self.way.clone()
    }

    fn block(&self) -> u32 {
        self.run
    }

    fn rate(&self) -> Option<f64> {
        self.sold_per_s
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

impl SeatStanding {
    fn new(contender: Contender<'_, SeatSummary>) -> Self {
        let (rates, warnings) = (contender.rates(), contender.warnings());
        let Contender { point, name, is_reference, runs, comparison, verdict } = contender;
        let middle = |figure: &dyn Fn(&SeatSummary) -> Option<f64>| {
            median(&runs.iter().filter_map(|run| figure(run)).collect::<Vec<f64>>())
        };
        let sum = |figure: fn(&SeatSummary) -> u64| runs.iter().map(|run| figure(run)).sum();
        let proved = |figure: fn(&SeatSummary) -> Option<u64>| {
            runs.iter().map(|run| figure(run)).sum::<Option<u64>>()
        };
        Self {
            point,
            way: name,
            is_reference,
            runs: runs.len(),
            sold_per_s: mean(&rates),
            sold_error_per_s: mean_error(&rates),
            comparison,
            verdict,
            users: sum(|run| run.users),
            sold: sum(|run| run.sold),
            not_free: sum(|run| run.not_free),
            lock_timeouts: sum(|run| run.lock_timeouts),
            abandoned: sum(|run| run.abandoned),
            late: sum(|run| run.late),
            not_carried_out: sum(|run| run.failed + run.in_doubt),
            window_us: [
                middle(&|run| run.window.p50_us),
                middle(&|run| run.window.p99_us),
                middle(&|run| run.window.max_us),
            ],
            checkout_us: [middle(&|run| run.checkout.p50_us), middle(&|run| run.checkout.p99_us)],
            refusal_us: [middle(&|run| run.refusal.p50_us), middle(&|run| run.refusal.p99_us)],
            double_sales: proved(|run| run.double_sales),
            violations: proved(|run| run.violations),
            stuck: proved(|run| run.stuck),
            warnings,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::seats::results::tests::summary;

    #[test]
    fn the_reference_comes_first_and_the_others_are_compared_with_it() {
        let mut summaries = Vec::new();
        for run in 1..=5 {
            summaries.push(summary("reserve", run, 500 + u64::from(run), 2000.0));
            summaries.push(summary("hold-row", run, 100 + u64::from(run), 100_000.0));
        }
        let standings = standings(&summaries, "hold-row");
        let ways: Vec<&str> = standings.iter().map(|standing| standing.way.as_str()).collect();
        assert_eq!(ways, ["hold-row", "reserve"]);
        assert!(standings[0].is_reference && standings[0].comparison.is_none());
        assert_eq!(standings[1].verdict, Some(Verdict::Higher));
        assert_eq!((standings[1].lock_timeouts, standings[1].not_free), (20, 30));
        assert_eq!(standings[1].window_us[0], Some(2000.0));
    }

    #[test]
    fn one_run_that_was_not_audited_leaves_nothing_proved() {
        let mut summaries = vec![summary("reserve", 1, 9, 1.0), summary("reserve", 2, 9, 1.0)];
        assert_eq!(standings(&summaries, "reserve")[0].double_sales, Some(0));
        summaries[1].double_sales = None;
        assert_eq!(standings(&summaries, "reserve")[0].double_sales, None);
    }
}
