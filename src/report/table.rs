//! The table on the terminal: a row for each strategy at each point.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};

use crate::bench::auditor::HalfVisible;
use crate::bench::plan::{Length, Point};
use crate::bench::results::{Results, Skipped};
use crate::bench::standing::Standing;
use crate::bench::statistics::{Comparison, Verdict};
use crate::bench::workload::Access;
use crate::config::HotOn;
use crate::report::units::{NOT_AVAILABLE, figure, three_digits, time};
use crate::verbs::observed::Phase;

/// Below this many columns of text only the most telling figures are shown.
pub(super) const WIDE: u16 = 150;
/// The strategy that may lose money.
const UNSAFE: &str = "lock-naive";
/// Where the width is not known.
pub(super) const WIDTH_DEFAULT: u16 = 200;

/// What is said of a comparison that rests on too little.
pub(super) const TOO_FEW_RUNS: &str =
    "fewer than 5 runs: no comparison can be made with confidence; add --runs 5";

/// The table of all points, with what has to be said about it. `width` is the terminal's.
#[must_use]
pub fn table(results: &Results, width: Option<u16>) -> String {
    let width = width.unwrap_or(WIDTH_DEFAULT);
    let mut text = String::new();
    for point in &results.points {
        let here: Vec<&Standing> =
            results.standings.iter().filter(|standing| standing.point == *point).collect();
        if here.is_empty() {
            continue;
        }
        text.push_str(&heading(point));
        text.push('\n');
        text.push_str(&rows(&here, &results.skipped, width).to_string());
        text.push('\n');
        text.push_str(&phases(&here, width).to_string());
        text.push('\n');
        for note in notes(&here).into_iter().chain(left_out(&results.skipped)) {
            text.push_str(&note);
            text.push('\n');
        }
        text.push('\n');
    }
    for server in results.clusters.iter().flat_map(|cluster| &cluster.lock_servers) {
        text.push_str(&format!("lock server: {server}\n"));
    }
    for warning in &results.warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    text
}

/// A point in words.
#[must_use]
pub fn heading(point: &Point) -> String {
    let end = match point.hot_on {
        HotOn::Source => " of sources",
        HotOn::Target => " of targets",
        HotOn::Both => "",
    };
    let access = access(point.access, end, "hot account");
    let length = match point.length {
        Length::Time(time) => format!("{} s a run", three_digits(time.as_secs_f64())),
        Length::Transfers(transfers) => format!("{} a client", several(transfers, "transfer")),
    };
    let refused = match point.reject_percent {
        0.0 => String::new(),
        percent => format!(", {percent} % to be refused"),
    };
    format!(
        "{}, {}, {} ({access}), {} % across shards{refused}, {length}, seed {}",
        several(point.shards.into(), "shard"),
        several(point.clients.into(), "client"),
        several(point.accounts, "account"),
        point.cross_shard_percent,
        point.seed
    )
}

/// How they were picked, in words.
pub(super) fn access(access: Access, end: &str, hot: &str) -> String {
    match access {
        Access::Uniform => "uniform".to_owned(),
        Access::Zipfian { theta } => format!("zipfian {theta}{end}"),
        Access::Hotspot { accounts, percent } => {
            format!("{percent} %{end} on {}", several(accounts, hot))
        }
    }
}

/// A count and what is counted.
pub(super) fn several(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!(
        "{} {what}{plural}",
        if count < 100 { count.to_string() } else { three_digits(count as f64) }
    )
}

/// A column: its heading, and its figure.
pub type Column = (&'static str, fn(&Standing) -> String);

const NARROW_COLUMNS: [Column; 7] = [
    ("strategy", strategy),
    ("tps", throughput),
    ("vs reference", comparison),
    ("p50", |s| time(s.latency_us[0])),
    ("p99", |s| time(s.latency_us[2])),
    ("WAL flushes", flushes),
    ("books", books),
];

const WIDE_COLUMNS: [Column; 15] = [
    ("strategy", strategy),
    ("across", |s| format!("{} %", s.cross_shard_percent)),
    ("tps", throughput),
    ("vs reference", comparison_with_p),
    ("p50", |s| time(s.latency_us[0])),
    ("p95", |s| time(s.latency_us[1])),
    ("p99", |s| time(s.latency_us[2])),
    ("max", |s| time(s.latency_us[3])),
    ("locks p50", |s| time(s.lock_hold_us[0])),
    ("window p50 · half-visible", consistency),
    ("trips", trips),
    ("WAL flushes", flushes),
    ("client CPU", |s| time(s.client_cpu_us_per_transfer)),
    ("not done · retries · conflicts", not_done),
    ("books", books),
];

/// The columns where there is room for all.
#[must_use]
pub const fn columns() -> &'static [Column] {
    &WIDE_COLUMNS
}

fn rows(standings: &[&Standing], skipped: &[Skipped], width: u16) -> Table {
    let columns: &[Column] = if width < WIDE { &NARROW_COLUMNS } else { &WIDE_COLUMNS };
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width)
        .set_header(columns.iter().map(|(name, _)| *name));
    for standing in standings {
        table.add_row(columns.iter().enumerate().map(|(i, (_, figure))| {
            let alignment = if i == 0 { CellAlignment::Left } else { CellAlignment::Right };
            Cell::new(figure(standing)).set_alignment(alignment)
        }));
    }
    for Skipped { strategy, .. } in skipped {
        // The one reason that there is; what to do about it is told below.
        table.add_row([strategy.as_str(), "skipped", "not found"]);
    }
    table
}

/// The phases that any of `standings` has.
#[must_use]
pub fn phases_of(standings: &[&Standing]) -> Vec<Phase> {
    let has = |phase: &Phase| standings.iter().any(|s| s.phases_us.iter().any(|(p, _)| p == phase));
    Phase::ALL.into_iter().filter(has).collect()
}

/// The time in a phase, median and 99 %.
#[must_use]
pub fn phase_time(s: &Standing, phase: Phase) -> String {
    match s.phases_us.iter().find(|(named, _)| *named == phase) {
        None => String::new(),
        Some((_, [p50, p99])) => format!("{} · {}", time(*p50), time(*p99)),
    }
}

/// Where a transfer's time goes.
fn phases(standings: &[&Standing], width: u16) -> Table {
    let phases = phases_of(standings);
    let mut table = Table::new();
    let headings = phases.iter().map(|phase| format!("{} p50 · p99", phase.name()));
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width)
        .set_header(std::iter::once("time by phase".to_owned()).chain(headings));
    for standing in standings {
        let cells = phases.iter().map(|phase| {
            Cell::new(phase_time(standing, *phase)).set_alignment(CellAlignment::Right)
        });
        table.add_row(std::iter::once(Cell::new(&standing.strategy)).chain(cells));
    }
    table
}

/// The strategy, with a warning where it needs one.
fn strategy(s: &Standing) -> String {
    if s.strategy == UNSAFE { format!("{UNSAFE} (UNSAFE)") } else { s.strategy.clone() }
}

fn throughput(s: &Standing) -> String {
    rate(s.throughput_tps, s.throughput_error_tps)
}

/// A mean with its error, where that is known.
pub(super) fn rate(mean: Option<f64>, error: Option<f64>) -> String {
    match error {
        Some(error) => format!("{} ± {}", figure(mean), three_digits(error)),
        None => figure(mean),
    }
}

fn comparison(s: &Standing) -> String {
    ratio(s.is_reference, s.comparison, s.verdict)
}

/// How something compares with the reference.
pub(super) fn ratio(
    is_reference: bool,
    comparison: Option<Comparison>,
    verdict: Option<Verdict>,
) -> String {
    let Some(comparison) = comparison else {
        return if is_reference { "1".to_owned() } else { NOT_AVAILABLE.to_owned() };
    };
    let ratio = three_digits(comparison.ratio);
    match (verdict, comparison.interval) {
        (Some(Verdict::NoDifferenceShown), Some((low, high))) => {
            format!("{ratio} [{}, {}] no difference shown", three_digits(low), three_digits(high))
        }
        (Some(Verdict::Lower | Verdict::Higher), Some((low, high))) => {
            format!("{ratio} [{}, {}]", three_digits(low), three_digits(high))
        }
        _ => ratio,
    }
}

/// The same with its p value, corrected for the number of comparisons.
fn comparison_with_p(s: &Standing) -> String {
    let p = s.comparison.filter(|_| s.verdict != Some(Verdict::TooFewRuns)).and_then(|c| c.p);
    match p {
        None => comparison(s),
        Some(p) if p < 0.001 => format!("{}, p < 0.001", comparison(s)),
        Some(p) => format!("{}, p {p:.3}", comparison(s)),
    }
}

/// How long the two effects are apart, and how often somebody who looks on sees one of them alone.
fn consistency(s: &Standing) -> String {
    let seen = s.half_visible.and_then(HalfVisible::ratio);
    let share = seen.map_or_else(
        || NOT_AVAILABLE.to_owned(),
        |ratio| format!("{} %", three_digits(ratio * 100.0)),
    );
    format!("{} · {share}", time(s.window_p50_us))
}

/// Messages of a transfer that were awaited one after another; those to a lock service apart.
fn trips(s: &Standing) -> String {
    match s.lock_round_trips_per_transfer {
        Some(locks) if locks > 0.0 => {
            format!("{} + {} lock", figure(s.round_trips_per_transfer), three_digits(locks))
        }
        _ => figure(s.round_trips_per_transfer),
    }
}

/// Forced writes of a transfer; those of a decision log in a file are told apart.
fn flushes(s: &Standing) -> String {
    match s.wal_flushes_per_transfer {
        None => NOT_AVAILABLE.to_owned(),
        Some((servers, file)) if file > 0.0 => format!(
            "{} ({} + {} file)",
            three_digits(servers + file),
            three_digits(servers),
            three_digits(file)
        ),
        Some((servers, _)) => three_digits(servers),
    }
}

fn not_done(s: &Standing) -> String {
    let not_done = s.rejected + s.not_carried_out;
    let (retries, conflicts) = (s.retries_per_transfer, s.conflicts_per_transfer);
    format!("{not_done} · {} · {}", figure(retries), figure(conflicts))
}

fn books(s: &Standing) -> String {
    match s.conserved {
        Some(true) => "balanced",
        Some(false) => "BROKEN",
        None => "not audited",
    }
    .to_owned()
}

/// Why strategies were left out, one line each.
#[must_use]
pub fn left_out(skipped: &[Skipped]) -> Vec<String> {
    let line = |one: &Skipped| format!("{} is skipped: {}", one.strategy, one.reason);
    skipped.iter().map(line).collect()
}

/// What the locks of a strategy did beside granting.
fn of_locks(s: &Standing) -> Option<String> {
    s.lock_round_trips_per_transfer.filter(|trips| *trips > 0.0)?;
    let [least, most] = s.client_share_percent;
    Some(format!(
        "{}: the least served client carried {} % of all transfers, the most served {} %; {} \
         step(s) fenced out",
        s.strategy,
        figure(least),
        figure(most),
        s.fenced_out
    ))
}

/// What has to be said under the table of one point.
#[must_use]
pub fn notes(standings: &[&Standing]) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(standing) = standings.iter().find(|s| s.cross_shard_percent > 0.0) {
        notes.push(format!(
            "measured: the most used account took {} % of all uses, the ten most used {} %",
            three_digits(standing.skew.top_1 * 100.0),
            three_digits(standing.skew.top_10 * 100.0)
        ));
    }
    let bounded = standings.iter().any(|s| s.cross_shard_percent == 0.0)
        && standings.iter().any(|s| s.cross_shard_percent > 0.0);
    if bounded {
        notes.push(
            "same-shard carries every transfer within one shard: it is the bound, not a rival"
                .to_owned(),
        );
    }
    if standings.iter().any(|s| s.verdict == Some(Verdict::TooFewRuns)) {
        notes.push(TOO_FEW_RUNS.to_owned());
    }
    if standings.iter().any(|s| s.latency_us.iter().any(Option::is_none)) {
        notes.push("n/a: too few transfers stand behind the figure".to_owned());
    }
    if standings.iter().any(|s| s.strategy == UNSAFE) {
        notes.push(format!(
            "{UNSAFE} is UNSAFE by design: it shows what is lost without a fence and a journal"
        ));
    }
    notes.extend(standings.iter().filter_map(|s| of_locks(s)));
    for standing in standings {
        for warning in &standing.warnings {
            notes.push(format!("{}: {warning}", standing.strategy));
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::tests::results;

    #[test]
    fn a_wide_table_tells_all_and_a_narrow_one_fits() {
        let wide = table(&results(), Some(220));
        assert!(wide.contains("5.00 (4.00 + 1.00 file)"), "{wide}");
        assert!(wide.contains("same-shard carries every transfer"), "{wide}");
        for width in [60, 80, 100] {
            let narrow = table(&results(), Some(width));
            let lines = narrow.lines().filter(|line| line.contains(['│', '┆', '─']));
            for line in lines {
                assert!(line.chars().count() <= usize::from(width), "{width}: {line}");
            }
        }
    }

    #[test]
    fn books_that_do_not_balance_cannot_be_overlooked() {
        let mut results = results();
        results.standings[0].conserved = Some(false);
        assert!(table(&results, None).contains("BROKEN"));
    }

    #[test]
    fn figures_that_stand_on_too_little_are_not_told() {
        assert!(table(&results(), None).contains("n/a: too few transfers"));
    }
}
