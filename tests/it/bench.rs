//! `shardbank bench` as a user calls it: the files, the accounting, being stopped, being refused.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use shardbank::local::LocalCluster;
use shardbank::report::csv::{INTERVAL_COLUMNS, SUMMARY_COLUMNS, TRANSFER_COLUMNS};

use crate::support::{executable, options};

/// An empty directory to run in, with a temporary directory in it, removed in the end.
pub struct Place(PathBuf);

impl Place {
    /// A new one.
    pub fn new() -> Self {
        let name = format!("shardbank-bench-{:08x}", rand::random::<u32>());
        let path = fs::canonicalize(std::env::temp_dir()).unwrap().join(name);
        for directory in [&path, &path.join("tmp"), &path.join("work")] {
            fs::create_dir(directory).unwrap();
            // The servers' user has to get through.
            fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self(path)
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(executable());
        command
            .args(arguments.split_whitespace())
            .current_dir(self.0.join("work"))
            .env("TMPDIR", self.0.join("tmp"))
            .env("XDG_STATE_HOME", self.0.join("work/state"))
            .env_remove("SHARDBANK_SHARDS");
        command
    }

    /// Runs the tool to its end.
    pub fn run(&self, arguments: &str) -> Output {
        self.command(arguments).output().expect("the executable runs")
    }

    /// Starts the tool.
    pub fn start(&self, arguments: &str) -> Child {
        let mut command = self.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the executable runs")
    }

    /// The one folder of results.
    pub fn results(&self) -> Results {
        let folders: Vec<PathBuf> = fs::read_dir(self.0.join("work/results"))
            .expect("there are results")
            .map(|entry| entry.unwrap().path())
            .collect();
        assert_eq!(folders.len(), 1, "{folders:?}");
        Results(folders.into_iter().next().unwrap())
    }

    /// Nothing of the servers is left, and nothing but results where the tool ran.
    pub fn assert_left_clean(&self) {
        let names = |path: &str| -> Vec<String> {
            let entries = fs::read_dir(self.0.join(path)).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        };
        assert_eq!(names("tmp"), Vec::<String>::new());
        assert!(names("work").iter().all(|name| name == "results"), "{:?}", names("work"));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub struct Results(PathBuf);

pub type Row = HashMap<String, String>;

impl Results {
    /// Where a file of it is.
    pub fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }

    /// The rows of a file that has these columns.
    pub fn rows(&self, file: &str, columns: &[&str]) -> Vec<Row> {
        let mut reader = csv::Reader::from_path(self.0.join(file)).expect(file);
        let header: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
        assert_eq!(header, columns, "{file}");
        reader
            .records()
            .map(|record| {
                let cells = record.expect("as many cells as columns");
                header.iter().cloned().zip(cells.iter().map(str::to_owned)).collect()
            })
            .collect()
    }

    pub fn summary(&self) -> Vec<Row> {
        self.rows("summary.csv", &SUMMARY_COLUMNS)
    }

    pub fn run_json(&self) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.0.join("run.json")).unwrap()).unwrap()
    }
}

/// A figure of a row.
pub fn number(row: &Row, column: &str) -> f64 {
    row[column].parse().unwrap_or_else(|_| panic!("{column} = {:?}", row[column]))
}

/// All that was printed.
pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

const ENDINGS: [&str; 7] =
    ["committed", "rejected", "aborted", "failed", "compensated", "skipped", "in_doubt"];

pub fn assert_adds_up(row: &Row) {
    let sum: f64 = ENDINGS.iter().map(|ending| number(row, ending)).sum();
    assert_eq!(number(row, "attempted"), sum, "{row:?}");
}

/// Quantiles rise and lie within the shortest and the longest; those that are not known are
/// empty, never a word.
fn assert_ordered(row: &Row) {
    let known: Vec<f64> = ["min", "p50", "p90", "p95", "p99", "p999", "max"]
        .iter()
        .filter(|name| !row[&format!("latency_{name}_us")].is_empty())
        .map(|name| number(row, &format!("latency_{name}_us")))
        .collect();
    assert!(known.windows(2).all(|pair| pair[0] <= pair[1]), "{known:?}");
    assert!(row.values().all(|cell| !["nan", "inf"].contains(&cell.to_lowercase().as_str())));
}

#[test]
fn a_short_benchmark_is_complete_audited_and_leaves_nothing_behind() {
    let place = Place::new();
    let output = place.run("bench -T 1 -w 0 --runs 1 --seed 7 --tag host==x");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains("seed 7"), "{}", text(&output));
    assert!(text(&output).contains("balanced"), "{}", text(&output));

    let results = place.results();
    let rows = results.summary();
    let mut strategies: Vec<&str> = rows.iter().map(|row| row["strategy"].as_str()).collect();
    strategies.sort_unstable();
    assert_eq!(strategies, ["2pc", "2pc-last-agent", "same-shard"]);
    for row in &rows {
        assert_adds_up(row);
        assert_ordered(row);
        assert!(number(row, "committed") > 0.0);
        let done = number(row, "committed") / number(row, "duration_s");
        assert!((number(row, "throughput_tps") / done - 1.0).abs() < 0.01, "{row:?}");
        let expected = [("conserved", "true"), ("violations", "0"), ("orphan_prepared", "0")];
        for (column, value) in expected.into_iter().chain([("in_doubt", "0"), ("durable", "true")])
        {
            assert_eq!(row[column], value, "{column}");
        }
        let crossing = if row["strategy"] == "same-shard" { "0" } else { "100" };
        assert_eq!(row["cross_shard_percent"], crossing);
    }

    let intervals = results.rows("intervals.csv", &INTERVAL_COLUMNS);
    for row in &rows {
        let of_run = intervals.iter().filter(|interval| interval["run_id"] == row["run_id"]);
        let sum: f64 = of_run.map(|interval| number(interval, "attempted")).sum();
        assert_eq!(sum, number(row, "attempted"));
    }
    intervals.iter().for_each(assert_adds_up);

    let json = results.run_json();
    assert_eq!(json["complete"], true);
    assert_eq!(json["config"]["tags"]["host"], "=x");
    assert!(json["clusters"][0]["shards"][0]["settings"]["fsync"] == "on");
    assert_eq!(fs::read_dir(results.0.join("histograms")).unwrap().count(), 6);
    assert!(results.0.join("report.md").exists());
    place.assert_left_clean();
}

#[test]
fn every_strategy_is_given_the_same_transfers_and_each_is_logged() {
    let place = Place::new();
    let output = place.run(
        "bench -t 40 -c 3 -w 0.1 --runs 1 -l -q --seed 11 --distribution zipfian --zipf-theta 1.1 \
         --strategy 2pc --strategy 2pc:log=file --strategy 2pc-last-agent",
    );
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let results = place.results();
    let mut orders: HashMap<String, Vec<String>> = HashMap::new();
    for row in results.rows("transfers.csv", &TRANSFER_COLUMNS) {
        assert_ne!(row["source_shard"], row["target_shard"]);
        let order = ["client_id", "transfer_no", "source_account", "target_account", "amount"]
            .map(|column| row[column].as_str());
        orders.entry(row["strategy"].clone()).or_default().push(order.join(" "));
    }
    assert_eq!(orders.len(), 3);
    let mut all: Vec<Vec<String>> = orders.into_values().collect();
    all.iter_mut().for_each(|orders| orders.sort());
    assert_eq!(all[0].len(), 120);
    assert!(all.iter().all(|orders| *orders == all[0]));
    place.assert_left_clean();
}

#[test]
fn one_client_pays_the_flushes_that_each_protocol_needs() {
    let place = Place::new();
    let output = place.run(
        "bench -t 150 -c 1 -w 0.1 --runs 1 -q --strategy same-shard --strategy 2pc \
         --strategy 2pc:log=file --strategy 2pc-last-agent --strategy saga \
         --strategy saga-choreographed --strategy reservation",
    );
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    for row in place.results().summary() {
        let needed = match (row["strategy"].as_str(), row["strategy_options"].as_str()) {
            ("same-shard", _) => 1.0,
            // That a saga is completed goes to the disk with whatever comes next.
            ("saga", _) => 2.0,
            ("2pc-last-agent", _) => 3.0,
            ("saga-choreographed", _) => 2.0,
            _ => 5.0,
        };
        // Background processes flush now and then on their own account: also what nobody waits for,
        // which is 5 of the 7 commits by events.
        let own = if row["strategy"] == "saga-choreographed" { 2.0 } else { 0.5 };
        let flushes = number(&row, "wal_flushes_per_transfer");
        assert!((needed..needed + own).contains(&flushes), "{row:?}");
    }
}

#[test]
fn refusals_are_counted_and_are_no_throughput() {
    let place = Place::new();
    let output = place.run(
        "bench -t 60 -c 4 -w 0 --runs 1 -q --accounts 8 --opening-balance 60 --amount-max 100",
    );
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    for row in place.results().summary() {
        assert_adds_up(&row);
        assert_eq!(number(&row, "attempted"), 240.0);
        assert!(number(&row, "rejected") > 0.0 && number(&row, "committed") < 240.0, "{row:?}");
    }
}

#[test]
fn a_benchmark_that_is_interrupted_writes_what_it_has_and_cleans_up() {
    for signal in [Signal::INT, Signal::TERM] {
        let place = Place::new();
        let mut child = place.start("bench -T 600 -w 0 --runs 1 -P 0.2 --strategy 2pc");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let measured = lines.by_ref().map(Result::unwrap).find(|line| line.contains("progress:"));
        assert!(measured.is_some());
        kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), signal).unwrap();
        let rest: Vec<String> = lines.map(Result::unwrap).collect();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(5), "{rest:?}");
        assert!(text(&output).contains("balanced"), "{}", text(&output));
        let rows = place.results().summary();
        assert_eq!(rows.len(), 1);
        assert_adds_up(&rows[0]);
        assert!(rows[0]["warnings"].contains("interrupted"), "{rows:?}");
        assert_eq!((rows[0]["conserved"].as_str(), rows[0]["in_doubt"].as_str()), ("true", "0"));
        place.assert_left_clean();
    }
}

#[test]
fn shards_of_the_users_own_are_measured_by_one_benchmark_at_a_time() {
    let place = Place::new();
    let servers = LocalCluster::start(&options(2)).unwrap();
    let flags: Vec<String> =
        servers.shards().iter().map(|shard| format!("--shard {}", shard.url())).collect();
    let flags = flags.join(" ");

    let output = place.run(&format!("bench -T 1 {flags}"));
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("init"), "{}", text(&output));

    let output = place.run(&format!("init --accounts 100 {flags}"));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));

    let output = place.run(&format!("bench -T 1 --accounts 101 {flags}"));
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("the cluster has 100"), "{}", text(&output));

    let bench = format!("bench --accounts 100 -w 0 --runs 1 --strategy 2pc {flags}");
    let mut first = place.start(&format!("{bench} -T 600 -P 0.2"));
    let mut lines = BufReader::new(first.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("progress:")));
    let second = place.run(&format!("{bench} -T 1"));
    assert_eq!(second.status.code(), Some(1), "{}", text(&second));
    assert!(text(&second).contains("another benchmark"), "{}", text(&second));
    kill_process(Pid::from_raw(first.id().cast_signed()).unwrap(), Signal::INT).unwrap();
    lines.for_each(drop);
    assert_eq!(first.wait().unwrap().code(), Some(5));

    let output = place.run(&format!("audit --at-rest {flags}"));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    servers.stop().unwrap();
}

#[test]
fn all_that_is_wrong_is_told_at_once_and_nothing_is_written() {
    let place = Place::new();
    let output = place.run("bench -c 0 -T 0.01 --zipf-theta 1 --strategy 3pc");
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert_eq!(text(&output).lines().count(), 4, "{}", text(&output));

    fs::write(place.0.join("work/c.toml"), "clints = 4\nwarm_up = 1\n").unwrap();
    let output = place.run("bench --config c.toml");
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    for hint in ["did you mean \"clients\"?", "did you mean \"warmup\"?"] {
        assert!(text(&output).contains(hint), "{}", text(&output));
    }
    assert!(!place.0.join("work/results").exists());
}

#[test]
fn the_configuration_in_effect_is_a_file_that_means_the_same() {
    let place = Place::new();
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench-configs");
    for file in fs::read_dir(configs).unwrap().map(|entry| entry.unwrap().path()) {
        let printed = place.run(&format!("config --config {} -c 3,5", file.display()));
        assert_eq!(printed.status.code(), Some(0), "{}", text(&printed));
        fs::write(place.0.join("work/again.toml"), &printed.stdout).unwrap();
        let again = place.run("config --config again.toml");
        assert_eq!(text(&again), text(&printed));
        assert!(text(&again).contains("clients = [3, 5]"), "{}", text(&again));
    }
}

#[test]
fn a_server_that_crashes_under_load_costs_transfers_and_no_money() {
    let place = Place::new();
    let servers = LocalCluster::start(&options(2)).unwrap();
    let flags: Vec<String> =
        servers.shards().iter().map(|shard| format!("--shard {}", shard.url())).collect();
    let flags = flags.join(" ");
    let output = place.run(&format!("init --accounts 1000 {flags}"));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));

    let bench = format!("bench -T 600 -w 0 -c 4 --runs 1 -P 0.2 --accounts 1000 {flags}");
    let mut child = place.start(&format!("{bench} --strategy 2pc-last-agent"));
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let works = |line: &String| line.contains("progress:") && !line.contains(" 0 tps");
    assert!(lines.any(|line| works(&line)));
    servers.stop_immediately(1).unwrap();
    assert!(lines.any(|line| line.contains("progress:") && !line.contains(" 0 not carried out")));
    servers.restart(1).unwrap();
    assert!(lines.any(|line| works(&line)));
    kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), Signal::INT).unwrap();
    lines.for_each(drop);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", text(&output));

    let rows = place.results().summary();
    assert_adds_up(&rows[0]);
    assert!(number(&rows[0], "committed") > 0.0 && number(&rows[0], "connection_errors") > 0.0);
    assert_eq!((rows[0]["conserved"].as_str(), rows[0]["in_doubt"].as_str()), ("true", "0"));
    assert_eq!(rows[0]["wal_flushes_per_transfer"], "", "a restarted server counts anew");
    let output = place.run(&format!("audit --at-rest {flags}"));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    servers.stop().unwrap();
}
