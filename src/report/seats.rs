//! The workload of seats: its table, `seats.csv` and its `report.md`.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};

use crate::bench::seats::plan::SeatPoint;
use crate::bench::seats::results::{SCHEMA_VERSION, SeatResults, SeatSummary};
use crate::bench::seats::standing::SeatStanding;
use crate::bench::statistics::Verdict;
use crate::config::SeatsOn;
use crate::report::cells::{access, count, number, text};
use crate::report::csv::file;
use crate::report::markdown::{escaped, opening, row, rule, surroundings};
use crate::report::table::{self, TOO_FEW_RUNS, WIDE, WIDTH_DEFAULT, left_out, several};
use crate::report::units::{three_digits, time};

/// The columns of `seats.csv`. They keep their names and their order for good; a new one is added
/// at the end.
pub const SEAT_COLUMNS: [&str; 48] = [
    "schema_version",
    "run_id",
    "started_at",
    "tool_version",
    "way",
    "run",
    "seed",
    "durable",
    "shards",
    "clients",
    "seats",
    "seats_on",
    "distribution",
    "zipf_theta",
    "hot_seats",
    "hot_percent",
    "think_time_ms",
    "hold_time_ms",
    "abandon_percent",
    "warmup_s",
    "duration_s",
    "users",
    "sold",
    "not_free",
    "lock_timeouts",
    "abandoned",
    "late",
    "failed",
    "in_doubt",
    "dismissed",
    "turned_away",
    "batches",
    "sold_per_s",
    "window_p50_us",
    "window_p99_us",
    "window_max_us",
    "checkout_p50_us",
    "checkout_p99_us",
    "checkout_max_us",
    "refusal_p50_us",
    "refusal_p99_us",
    "refusal_max_us",
    "double_sales",
    "violations",
    "stuck",
    "interrupted",
    "window_s",
    "warnings",
];

/// `seats.csv`, one row a run.
#[must_use]
pub fn csv(results: &SeatResults) -> Vec<u8> {
    file(&SEAT_COLUMNS, results.summaries.iter().map(|summary| csv_row(results, summary)))
}

fn csv_row(results: &SeatResults, s: &SeatSummary) -> Vec<String> {
    let [distribution, theta, hot_seats, hot_percent] = access(s.point.access);
    vec![
        SCHEMA_VERSION.to_string(),
        text(&s.run_id),
        s.started_at.clone(),
        results.tool.version.clone(),
        text(&s.way),
        s.run.to_string(),
        s.point.seed.to_string(),
        s.durable.to_string(),
        s.point.shards.to_string(),
        s.point.clients.to_string(),
        s.point.seats.to_string(),
        s.point.seats_on.name().to_owned(),
        distribution,
        theta,
        hot_seats,
        hot_percent,
        s.point.think.as_millis().to_string(),
        s.point.hold.as_millis().to_string(),
        number(Some(s.point.abandon_percent)),
        number(Some(s.point.warm_up.as_secs_f64())),
        number(Some(s.point.length.as_secs_f64())),
        s.users.to_string(),
        s.sold.to_string(),
        s.not_free.to_string(),
        s.lock_timeouts.to_string(),
        s.abandoned.to_string(),
        s.late.to_string(),
        s.failed.to_string(),
        s.in_doubt.to_string(),
        s.dismissed.to_string(),
        s.turned_away().to_string(),
        s.batches.to_string(),
        number(s.sold_per_s),
        number(s.window.p50_us),
        number(s.window.p99_us),
        number(s.window.max_us),
        number(s.checkout.p50_us),
        number(s.checkout.p99_us),
        number(s.checkout.max_us),
        number(s.refusal.p50_us),
        number(s.refusal.p99_us),
        number(s.refusal.max_us),
        count(s.double_sales),
        count(s.violations),
        count(s.stuck),
        s.interrupted.to_string(),
        number(Some(s.window_s)),
        text(&s.warnings.join("; ")),
    ]
}

/// A column: its heading, and its figure.
type Column = (&'static str, fn(&SeatStanding) -> String);

const NARROW_COLUMNS: [Column; 7] = [
    ("way", |s| s.way.clone()),
    ("sold/s", rate),
    ("turned away", turned_away),
    ("window p50", |s| time(s.window_us[0])),
    ("window p99", |s| time(s.window_us[1])),
    ("double sales", |s| proved(s.double_sales)),
    ("stuck", |s| proved(s.stuck)),
];

const WIDE_COLUMNS: [Column; 13] = [
    ("way", |s| s.way.clone()),
    ("sold/s", rate),
    ("vs reference", |s| table::ratio(s.is_reference, s.comparison, s.verdict)),
    ("sold", |s| three_digits(s.sold as f64)),
    ("turned away · not free · timeout", turned_away_wide),
    ("after p50", |s| time(s.refusal_us[0])),
    ("abandoned · late", |s| format!("{} · {}", s.abandoned, s.late)),
    ("window p50", |s| time(s.window_us[0])),
    ("window p99", |s| time(s.window_us[1])),
    ("window max", |s| time(s.window_us[2])),
    ("checkout p50", |s| time(s.checkout_us[0])),
    ("double sales", |s| proved(s.double_sales)),
    ("stuck", |s| proved(s.stuck)),
];

fn rate(s: &SeatStanding) -> String {
    table::rate(s.sold_per_s, s.sold_error_per_s)
}

fn turned_away(s: &SeatStanding) -> String {
    let away = s.not_free + s.lock_timeouts;
    if s.users == 0 {
        return away.to_string();
    }
    format!("{away} ({} %)", three_digits(away as f64 / s.users as f64 * 100.0))
}

fn turned_away_wide(s: &SeatStanding) -> String {
    format!("{} · {} · {}", turned_away(s), s.not_free, s.lock_timeouts)
}

/// What the audit says; a number above 0 is never a mere figure.
fn proved(value: Option<u64>) -> String {
    match value {
        None => "not audited".to_owned(),
        Some(0) => "0".to_owned(),
        Some(some) => format!("{some} !"),
    }
}

/// A point in words.
fn heading(point: &SeatPoint) -> String {
    let place = match point.seats_on {
        SeatsOn::AllShards => several(point.shards.into(), "shard"),
        SeatsOn::OneShard => format!("one of {}", several(point.shards.into(), "shard")),
    };
    format!(
        "seats: {} a batch on {place} ({}), {}, thinking {} ms, kept for {} ms, {} % walk away, {} \
         s a run, seed {}",
        several(point.seats, "seat"),
        table::access(point.access, "", "hot seat"),
        several(point.clients.into(), "client"),
        point.think.as_millis(),
        point.hold.as_millis(),
        point.abandon_percent,
        three_digits(point.length.as_secs_f64()),
        point.seed
    )
}

/// What has to be said under the table of one point.
fn notes(standings: &[&SeatStanding]) -> Vec<String> {
    let mut notes = vec![
        "window: how long a row or a lock is held at a time; under reserve twice a sale, and the \
         seat itself is kept from others in between"
            .to_owned(),
        "a sale moves no money: the seat is what is contended".to_owned(),
    ];
    if standings.iter().any(|s| s.verdict == Some(Verdict::TooFewRuns)) {
        notes.push(TOO_FEW_RUNS.to_owned());
    }
    for standing in standings {
        if standing.violations.is_some_and(|violations| violations > 0) {
            notes.push(format!("{}: the sales are BROKEN", standing.way));
        }
        if standing.not_carried_out > 0 {
            notes.push(format!(
                "{}: {} users could not be served",
                standing.way, standing.not_carried_out
            ));
        }
        for warning in &standing.warnings {
            notes.push(format!("{}: {warning}", standing.way));
        }
    }
    notes
}

fn at<'a>(results: &'a SeatResults, point: &SeatPoint) -> Vec<&'a SeatStanding> {
    results.standings.iter().filter(|standing| standing.point == *point).collect()
}

/// The table of all points, with what has to be said about it. `width` is the terminal's.
#[must_use]
pub fn table(results: &SeatResults, width: Option<u16>) -> String {
    let width = width.unwrap_or(WIDTH_DEFAULT);
    let columns: &[Column] = if width < WIDE { &NARROW_COLUMNS } else { &WIDE_COLUMNS };
    let mut text = String::new();
    for point in &results.points {
        let here = at(results, point);
        if here.is_empty() {
            continue;
        }
        let mut rows = Table::new();
        rows.load_style(presets::UTF8_FULL_CONDENSED)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(width)
            .set_header(columns.iter().map(|(name, _)| *name));
        for standing in &here {
            rows.add_row(columns.iter().enumerate().map(|(i, (_, figure))| {
                let side = if i == 0 { CellAlignment::Left } else { CellAlignment::Right };
                Cell::new(figure(standing)).set_alignment(side)
            }));
        }
        text.push_str(&format!("{}\n{rows}\n", heading(point)));
        for note in notes(&here).into_iter().chain(left_out(&results.skipped)) {
            text.push_str(&format!("{note}\n"));
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

/// `report.md`.
#[must_use]
pub fn report(results: &SeatResults) -> Vec<u8> {
    let question = results.config.description.as_deref();
    let made = (results.summaries.len(), results.runs_planned);
    let mut text = opening(&results.id, question, &results.tool, &results.started_at, made);
    for point in &results.points {
        let here = at(results, point);
        if here.is_empty() {
            continue;
        }
        text.push_str(&format!("## {}\n\n", heading(point)));
        text.push_str(&row(WIDE_COLUMNS.iter().map(|(name, _)| (*name).to_owned()).collect()));
        text.push_str(&rule(WIDE_COLUMNS.len()));
        for standing in &here {
            let cells = WIDE_COLUMNS.iter().map(|(_, figure)| escaped(&figure(standing)));
            text.push_str(&row(cells.collect()));
        }
        text.push('\n');
        for note in notes(&here).into_iter().chain(left_out(&results.skipped)) {
            text.push_str(&format!("- {}\n", escaped(&note)));
        }
        text.push('\n');
    }
    text.push_str(&surroundings(&results.host, &results.clusters, &results.warnings));
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::seats::results::tests::results;

    #[test]
    fn one_table_tells_what_each_way_sold_and_for_how_long_it_held() {
        let text = table(&results(), Some(220));
        for told in ["hold-row", "reserve", "100 ms", "1.50 ms", "double sales", "moves no money"] {
            assert!(text.contains(told), "{told}: {text}");
        }
        for width in [80, 100] {
            let narrow = table(&results(), Some(width));
            let lines = narrow.lines().filter(|line| line.contains(['│', '┆', '─']));
            for line in lines {
                assert!(line.chars().count() <= usize::from(width), "{width}: {line}");
            }
        }
    }

    #[test]
    fn every_row_of_the_file_has_every_column() {
        let bytes = csv(&results());
        let mut reader = csv::Reader::from_reader(bytes.as_slice());
        assert_eq!(reader.headers().expect("a header").len(), SEAT_COLUMNS.len());
        let rows: Vec<_> = reader.records().collect::<Result<_, _>>().expect("whole rows");
        assert_eq!(rows.len(), 10);
        let place = |name: &str| SEAT_COLUMNS.iter().position(|c| *c == name).expect("a column");
        assert_eq!(&rows[0][place("way")], "hold-row");
        assert_eq!(&rows[0][place("window_p50_us")], "100000");
        assert_eq!(&rows[0][place("turned_away")], "10");
    }

    #[test]
    fn a_double_sale_cannot_be_overlooked_and_what_is_not_proved_is_not_zero() {
        let mut results = results();
        results.standings[0].double_sales = Some(2);
        results.standings[0].violations = Some(2);
        results.standings[1].double_sales = None;
        let text = table(&results, None);
        assert!(text.contains("BROKEN") && text.contains("2 !"), "{text}");
        assert!(text.contains("not audited"), "{text}");
    }

    #[test]
    fn the_report_says_what_made_it_and_stays_text() {
        let mut results = results();
        results.config.description = Some("a | b".to_owned());
        let text = String::from_utf8(report(&results)).expect("text");
        assert!(text.contains("a \\| b") && text.contains("10 of 10 runs"), "{text}");
        assert!(text.contains("| reserve |"), "{text}");
    }
}
