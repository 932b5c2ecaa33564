use super::*;
use crate::bench::recorder::Recorder;
use crate::bench::results::tests::results;
use crate::bench::sample::Ending;
use crate::bench::sample::tests::sample;

fn read(bytes: &[u8]) -> (Vec<String>, Vec<Vec<String>>) {
    let mut reader = csv::Reader::from_reader(bytes);
    let strings = |record: &csv::StringRecord| record.iter().map(str::to_owned).collect();
    let columns = strings(reader.headers().expect("a header"));
    let rows = reader.records().map(|row| strings(&row.expect("a row"))).collect();
    (columns, rows)
}

#[test]
fn every_row_has_a_cell_for_every_column_and_no_nan() {
    let (columns, rows) = read(&summary(&results()));
    assert_eq!(columns, SUMMARY_COLUMNS);
    assert_eq!(rows.len(), results().summaries.len());
    for cell in rows.iter().flatten() {
        assert!(!cell.to_lowercase().contains("nan") && cell != "inf", "{cell}");
    }
    let column = |name| columns.iter().position(|column| column == name).expect("exists");
    assert_eq!(rows[0][column("latency_max_us")], "50");
    assert_eq!(rows[0][column("latency_p99_us")], "", "too few samples");
    assert_eq!(rows[0][column("wal_flushes_per_transfer")], "5");
    assert_eq!(rows[0][column("half_visible_ratio")], "0.0125");
}

#[test]
fn text_that_looks_like_a_formula_is_disarmed() {
    let mut results = results();
    results.summaries[0].warnings = vec!["=cmd()|' /C calc'!A0, \"quoted\"".to_owned()];
    let (columns, rows) = read(&summary(&results));
    let warnings = columns.iter().position(|column| column == "warnings").expect("exists");
    assert_eq!(rows[0][warnings], "'=cmd()|' /C calc'!A0, \"quoted\"");
}

#[test]
fn intervals_and_transfers_have_their_columns() {
    let mut recorder = Recorder::default();
    let one = sample(Ending::Committed, 100, 1_200_000);
    recorder.record(&one);
    let run = RunIntervals {
        run_id: "r".to_owned(),
        began_us: 1_000_000,
        strategy: "2pc".to_owned(),
        run: 1,
        load_ns: Some(1_000_000_000),
        intervals: recorder.into_intervals(),
    };
    let (columns, rows) = read(&intervals(&[run]));
    assert_eq!(columns, INTERVAL_COLUMNS);
    assert_eq!(rows[0][0], "1970-01-01T00:00:01Z");
    assert_eq!([&rows[0][4], &rows[1][4]], ["measured", "drain"]);
    assert_eq!([&rows[0][13], &rows[1][13]], ["1", "0"]);

    let of = TransfersOf { run_id: "r", strategy: "2pc", run: 1, routing: Routing::new(2) };
    let (columns, rows) = read(&[transfers_header(), transfers(of, &[one])].concat());
    assert_eq!(columns, TRANSFER_COLUMNS);
    assert_eq!(rows[0][10], "committed");
    assert_eq!([&rows[0][13], &rows[0][14]], ["0", "1"]);
}
