//! `summary.csv`, `intervals.csv` and `transfers.csv`.
//!
//! Columns keep their names and their order for good; a new one is added at the end. A figure
//! that is not known is an empty cell, never `nan`. Text that a spreadsheet would take for a
//! formula is quoted by an apostrophe.

use jiff::Timestamp;

use crate::bench::results::{Results, RunIntervals, SCHEMA_VERSION};
use crate::bench::sample::Sample;
use crate::bench::summary::Summary;
use crate::report::cells::{access, count, number, ratio, text};
use crate::transfer::Routing;

/// The columns of `summary.csv`.
pub const SUMMARY_COLUMNS: [&str; 72] = [
    "schema_version",
    "run_id",
    "started_at",
    "tool_version",
    "strategy",
    "strategy_options",
    "run",
    "seed",
    "durable",
    "shards",
    "accounts",
    "clients",
    "distribution",
    "zipf_theta",
    "hot_accounts",
    "hot_percent",
    "cross_shard_percent",
    "fault",
    "rate_target",
    "rate_achieved_ratio",
    "warmup_s",
    "duration_s",
    "attempted",
    "committed",
    "rejected",
    "aborted",
    "failed",
    "compensated",
    "skipped",
    "in_doubt",
    "retried",
    "retries",
    "serialization_failures",
    "deadlock_failures",
    "lock_timeouts",
    "fenced_out",
    "connection_errors",
    "other_failures",
    "false_aborts",
    "throughput_tps",
    "latency_mean_us",
    "latency_min_us",
    "latency_p50_us",
    "latency_p90_us",
    "latency_p95_us",
    "latency_p99_us",
    "latency_p999_us",
    "latency_max_us",
    "service_p50_us",
    "service_p99_us",
    "lag_p99_us",
    "lag_max_us",
    "lock_hold_p50_us",
    "lock_hold_p99_us",
    "window_p50_us",
    "window_p99_us",
    "half_visible_ratio",
    "round_trips_per_transfer",
    "wal_flushes_per_transfer",
    "wal_bytes_per_transfer",
    "client_cpu_us_per_transfer",
    "conserved",
    "violations",
    "orphan_prepared",
    "unfinished",
    "recovery_ms",
    "warnings",
    "lock_round_trips_per_transfer",
    "client_share_least_percent",
    "client_share_most_percent",
    "reject_percent",
    "expired",
];

/// The columns of `intervals.csv`.
pub const INTERVAL_COLUMNS: [&str; 20] = [
    "interval_start",
    "run_id",
    "strategy",
    "run",
    "phase",
    "attempted",
    "committed",
    "rejected",
    "aborted",
    "failed",
    "compensated",
    "skipped",
    "retries",
    "in_flight",
    "in_doubt",
    "p50_us",
    "p95_us",
    "p99_us",
    "max_us",
    "event",
];

/// The columns of `transfers.csv`.
pub const TRANSFER_COLUMNS: [&str; 18] = [
    "run_id",
    "strategy",
    "run",
    "client_id",
    "transfer_no",
    "transfer_id",
    "due_us",
    "started_us",
    "ended_us",
    "tries",
    "outcome",
    "sqlstate",
    "failed_phase",
    "source_shard",
    "target_shard",
    "source_account",
    "target_account",
    "amount",
];

/// `summary.csv`.
#[must_use]
pub fn summary(results: &Results) -> Vec<u8> {
    let rows = results.summaries.iter().map(|summary| summary_row(results, summary));
    file(&SUMMARY_COLUMNS, rows)
}

/// `intervals.csv`.
#[must_use]
pub fn intervals(runs: &[RunIntervals]) -> Vec<u8> {
    file(&INTERVAL_COLUMNS, runs.iter().flat_map(interval_rows))
}

/// The first line of `transfers.csv`.
#[must_use]
pub fn transfers_header() -> Vec<u8> {
    file(&TRANSFER_COLUMNS, std::iter::empty())
}

/// Whose transfers are written.
#[derive(Debug, Clone, Copy)]
pub struct TransfersOf<'a> {
    /// The run's row.
    pub run_id: &'a str,
    /// The strategy with its options.
    pub strategy: &'a str,
    /// Which block, counted from 1.
    pub run: u32,
    /// Where accounts live.
    pub routing: Routing,
}

/// Lines of `transfers.csv`.
#[must_use]
pub fn transfers(of: TransfersOf<'_>, samples: &[Sample]) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    for sample in samples {
        write(&mut writer, transfer_row(of, sample));
    }
    writer.into_inner().expect("writing to memory does not fail")
}

pub(super) fn file(columns: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(columns).expect("writing to memory does not fail");
    for row in rows {
        write(&mut writer, row);
    }
    writer.into_inner().expect("writing to memory does not fail")
}

fn write(writer: &mut csv::Writer<Vec<u8>>, row: Vec<String>) {
    writer.write_record(row).expect("every row has as many cells as there are columns");
}

fn summary_row(results: &Results, s: &Summary) -> Vec<String> {
    let [distribution, theta, hot_accounts, hot_percent] = access(s.point.access);
    let t = &s.tally;
    let audit = s.audit.as_ref();
    vec![
        SCHEMA_VERSION.to_string(),
        text(&s.run_id),
        s.started_at.clone(),
        results.tool.version.clone(),
        text(&s.strategy),
        text(&s.strategy_options),
        s.run.to_string(),
        s.point.seed.to_string(),
        s.durable.to_string(),
        s.point.shards.to_string(),
        s.point.accounts.to_string(),
        s.point.clients.to_string(),
        distribution,
        theta,
        hot_accounts,
        hot_percent,
        number(Some(s.cross_shard_percent)),
        String::new(),
        String::new(),
        String::new(),
        number(Some(s.point.warm_up.as_secs_f64())),
        number(Some(s.duration_s)),
        t.attempted.to_string(),
        t.committed.to_string(),
        t.rejected.to_string(),
        t.aborted.to_string(),
        t.failed.to_string(),
        t.compensated.to_string(),
        t.skipped.to_string(),
        t.in_doubt.to_string(),
        t.retried.to_string(),
        t.retries.to_string(),
        t.serialization_failures.to_string(),
        t.deadlock_failures.to_string(),
        t.lock_timeouts.to_string(),
        t.fenced_out.to_string(),
        t.connection_errors.to_string(),
        t.other_failures.to_string(),
        t.false_aborts.to_string(),
        number(s.throughput_tps),
        number(s.latency.mean_us),
        number(s.latency.min_us),
        number(s.latency.p50_us),
        number(s.latency.p90_us),
        number(s.latency.p95_us),
        number(s.latency.p99_us),
        number(s.latency.p999_us),
        number(s.latency.max_us),
        number(s.service.p50_us),
        number(s.service.p99_us),
        String::new(),
        String::new(),
        number(s.lock_hold.p50_us),
        number(s.lock_hold.p99_us),
        number(s.window.p50_us),
        number(s.window.p99_us),
        ratio(s.half_visible_ratio),
        number(s.round_trips_per_transfer),
        number(s.wal_flushes_per_transfer),
        number(s.wal_bytes_per_transfer),
        number(s.client_cpu_us_per_transfer),
        audit.map(|audit| audit.conserved.to_string()).unwrap_or_default(),
        count(audit.map(|audit| audit.violations)),
        count(audit.map(|audit| audit.orphan_prepared)),
        count(audit.map(|audit| audit.unfinished)),
        number(s.recovery_ms),
        text(&s.warnings.join("; ")),
        number(s.lock_round_trips_per_transfer),
        number(s.client_share_percent.map(|shares| shares[0])),
        number(s.client_share_percent.map(|shares| shares[1])),
        number(Some(s.point.reject_percent)),
        t.expired.to_string(),
    ]
}

fn interval_rows(run: &RunIntervals) -> impl Iterator<Item = Vec<String>> {
    run.intervals.iter().map(|interval| {
        let began_us = run.began_us + i64::try_from(interval.start_ns / 1000).unwrap_or(0);
        let drained = run.load_ns.is_some_and(|load| interval.start_ns >= load);
        let us = |ns: Option<u64>| number(ns.map(|ns| ns as f64 / 1000.0));
        let [p50, p95, p99, longest] = interval.quantiles_ns;
        let t = &interval.tally;
        vec![
            Timestamp::from_microsecond(began_us).map(|at| at.to_string()).unwrap_or_default(),
            text(&run.run_id),
            text(&run.strategy),
            run.run.to_string(),
            if drained { "drain" } else { "measured" }.to_owned(),
            t.attempted.to_string(),
            t.committed.to_string(),
            t.rejected.to_string(),
            t.aborted.to_string(),
            t.failed.to_string(),
            t.compensated.to_string(),
            t.skipped.to_string(),
            t.retries.to_string(),
            interval.in_flight.to_string(),
            t.in_doubt.to_string(),
            us(p50),
            us(p95),
            us(p99),
            us(longest),
            String::new(),
        ]
    })
}

fn transfer_row(of: TransfersOf<'_>, s: &Sample) -> Vec<String> {
    let us = |ns: u64| number(Some(ns as f64 / 1000.0));
    let transfer = &s.transfer;
    vec![
        text(of.run_id),
        text(of.strategy),
        of.run.to_string(),
        s.client.to_string(),
        s.number.to_string(),
        transfer.id.to_string(),
        us(s.due_ns),
        us(s.started_ns),
        us(s.ended_ns),
        s.tries.to_string(),
        s.ending.name().to_owned(),
        s.sqlstate.map(|code| text(&String::from_utf8_lossy(&code))).unwrap_or_default(),
        s.failed_phase().map(|phase| phase.name().to_owned()).unwrap_or_default(),
        of.routing.shard_of(transfer.source).to_string(),
        of.routing.shard_of(transfer.target).to_string(),
        transfer.source.to_string(),
        transfer.target.to_string(),
        transfer.amount.to_string(),
    ]
}

#[cfg(test)]
mod tests;
