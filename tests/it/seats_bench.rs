//! `shardbank bench --workload seats` as a user calls it.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};

use rustix::process::{Pid, Signal, kill_process};
use shardbank::local::LocalCluster;
use shardbank::report::seats::SEAT_COLUMNS;

use crate::bench::{Place, number, text};
use crate::support::{connect, options};

type Row = HashMap<String, String>;

fn rows(place: &Place) -> Vec<Row> {
    place.results().rows("seats.csv", &SEAT_COLUMNS)
}

const ENDINGS: [&str; 8] =
    ["sold", "not_free", "lock_timeouts", "abandoned", "late", "failed", "in_doubt", "dismissed"];

fn assert_adds_up(row: &Row) {
    let sum: f64 = ENDINGS.iter().map(|ending| number(row, ending)).sum();
    assert_eq!(number(row, "users"), sum, "{row:?}");
}

#[test]
fn three_ways_stand_in_one_table_audited_and_nothing_is_left_behind() {
    let place = Place::new();
    let output = place.run(
        "bench --workload seats -T 1 -w 0.2 --runs 1 -c 8 --seats 40 --think-time 20 \
         --hold-time 300 --distribution hotspot --hot-accounts 3 --seed 7 -q",
    );
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    for told in ["hold-row", "reserve", "lock-lease", "double sales", "window p50", "seed 7"] {
        assert!(text(&output).contains(told), "{told}: {}", text(&output));
    }
    let rows = rows(&place);
    let mut ways: Vec<&str> = rows.iter().map(|row| row["way"].as_str()).collect();
    ways.sort_unstable();
    assert_eq!(ways, ["hold-row", "lock-lease", "reserve"]);
    for row in &rows {
        assert_adds_up(row);
        assert!(number(row, "sold") > 0.0 && number(row, "sold_per_s") > 0.0, "{row:?}");
        assert!(number(row, "sold_per_s") <= number(row, "sold") / number(row, "window_s"));
        for (column, value) in
            [("double_sales", "0"), ("violations", "0"), ("stuck", "0"), ("durable", "true")]
        {
            assert_eq!(row[column], value, "{row:?}");
        }
        assert!(number(row, "window_max_us") > 0.0);
    }
    let folder = place.results();
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.path("run.json")).unwrap()).unwrap();
    assert_eq!((&json["workload"], &json["complete"]), (&"seats".into(), &true.into()));
    assert_eq!(json["config"]["think_time"], 20);
    assert!(folder.path("report.md").exists());
    place.assert_left_clean();
}

#[test]
fn flags_of_the_other_workload_are_refused_with_their_names() {
    let place = Place::new();
    for (flags, told) in [
        ("--workload seats --accounts 10", "accounts is of the workload of transfers"),
        ("--workload seats -t 10", "transfers is of the workload of transfers"),
        ("--workload seats --strategy 2pc", "there is no way \"2pc\" of selling seats"),
        ("--think-time 5", "think_time is of the workload of seats"),
        ("--strategy reserve", "reserve"),
    ] {
        let output = place.run(&format!("bench {flags}"));
        assert_eq!(output.status.code(), Some(2), "{flags}: {}", text(&output));
        assert!(text(&output).contains(told), "{flags}: {}", text(&output));
    }
}

#[test]
fn a_benchmark_of_seats_that_is_interrupted_writes_what_it_has_and_holds_nothing() {
    let place = Place::new();
    let mut child = place.start(
        "bench --workload seats -T 600 -w 0 --runs 1 -c 4 --think-time 30000 --hold-time 30000 \
         -P 0.2 --strategy hold-row",
    );
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("progress:")));
    kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), Signal::INT).unwrap();
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{rest:?}");
    let rows = rows(&place);
    assert_eq!(rows.len(), 1);
    assert_adds_up(&rows[0]);
    assert!(number(&rows[0], "dismissed") > 0.0, "{rows:?}");
    assert!(rows[0]["warnings"].contains("interrupted"), "{rows:?}");
    assert_eq!((rows[0]["double_sales"].as_str(), rows[0]["stuck"].as_str()), ("0", "0"));
    place.assert_left_clean();
}

#[test]
fn a_double_sale_ends_with_exit_code_3_and_is_left_to_be_looked_at() {
    let place = Place::new();
    let servers = LocalCluster::start(&options(2)).unwrap();
    let flags: Vec<String> =
        servers.shards().iter().map(|shard| format!("--shard {}", shard.url())).collect();
    let flags = flags.join(" ");
    let output = place.run(&format!("init --accounts 4 {flags}"));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));

    let bench = format!("bench --workload seats -w 0 --runs 1 --strategy reserve {flags}");
    let mut child = place.start(&format!("{bench} -T 600 -P 0.2"));
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let sells = |line: &String| line.contains("progress:") && !line.contains(" 0 sold/s");
    assert!(lines.any(|line| sells(&line.unwrap())));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let shard = servers.shards()[0].clone();
    runtime.block_on(async {
        let again = "insert into shardbank.sale (seat_id, buyer, way) \
             select seat_id, gen_random_uuid(), way from shardbank.sale limit 1";
        let client = connect(&shard).await;
        while client.execute(again, &[]).await.expect("planted") == 0 {}
    });
    kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), Signal::INT).unwrap();
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{rest:?}");
    assert!(rest.iter().any(|line| line.contains("was sold 2 times")), "{rest:?}");
    assert!(text(&output).contains("BROKEN"), "{}", text(&output));
    assert_eq!(rows(&place)[0]["double_sales"], "1");
    let left: i64 = runtime.block_on(async {
        let count = "select count(*) from shardbank.sale";
        connect(&shard).await.query_one(count, &[]).await.expect("counted").get(0)
    });
    assert!(left > 1, "what is broken was cleared away");

    // The next benchmark empties the seats, and finds nothing wrong with its own.
    std::fs::remove_dir_all(place.results().path("")).unwrap();
    let output = place.run(&format!("{bench} -T 0.5 -q"));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    servers.stop().unwrap();
}
