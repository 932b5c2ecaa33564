//! What `shardbank bench` refuses and what it sees half done, as a user calls it.

use shardbank::report::csv::TRANSFER_COLUMNS;

use crate::bench::{Place, Row, assert_adds_up, number, text};

#[test]
fn who_looks_on_can_be_left_out_and_sees_nothing_half_where_nothing_crosses() {
    for flag in ["", "--no-auditor"] {
        let place = Place::new();
        let output = place.run(&format!(
            "bench -T 2 -w 0.2 --runs 1 -q {flag} --strategy same-shard,lock-advisory"
        ));
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        let results = place.results();
        let json = results.run_json();
        assert_eq!(json["config"]["auditor"], flag.is_empty());
        for row in results.summary() {
            let summaries = json["summaries"].as_array().unwrap();
            let told =
                summaries.iter().find(|one| one["run_id"] == row["run_id"].as_str()).unwrap();
            let seen = &told["half_visible"];
            if flag.is_empty() {
                assert!(seen["visible"].as_u64() > Some(0), "{seen}");
                let half = seen["half"].as_u64().unwrap() as f64;
                let ratio = half / seen["visible"].as_u64().unwrap() as f64;
                assert!((number(&row, "half_visible_ratio") - ratio).abs() < 1e-6, "{seen}");
                let crosses = row["strategy"] != "same-shard";
                assert!(crosses || (ratio == 0.0 && seen["undetermined"] == 0), "{seen}");
            } else {
                assert!(seen.is_null());
                assert_eq!(row["half_visible_ratio"], "");
            }
        }
    }
}

#[test]
fn every_strategy_meets_the_share_of_refusals_that_was_asked_for_at_both_ends() {
    let place = Place::new();
    let output = place.run(
        "bench -t 60 -c 4 -w 0.1 --runs 1 -l -q --seed 5 --accounts 1000 --reject-percent 20 \
         --strategy same-shard,2pc,2pc:log=file,2pc:visit=parallel,2pc-last-agent,lock-advisory \
         --strategy lock-lease,lock-naive",
    );
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let results = place.results();
    let rows = results.summary();
    assert_eq!(rows.len(), 8);
    for row in &rows {
        assert_adds_up(row);
        assert_eq!(row["reject_percent"], "20");
        assert_eq!(row["conserved"], "true");
        let refused = number(row, "rejected") + number(row, "compensated");
        let share = refused / number(row, "attempted");
        assert!((0.15..0.25).contains(&share), "{row:?}");
    }
    let transfers = results.rows("transfers.csv", &TRANSFER_COLUMNS);
    for row in &rows {
        let mine = |transfer: &&Row| transfer["run_id"] == row["run_id"];
        let must = |transfer: &Row| {
            let at_source = number(transfer, "amount") > 1e18;
            let at_target = number(transfer, "target_account") > 1000.0;
            [at_source, at_target]
        };
        let mut met = [0, 0];
        for transfer in transfers.iter().filter(mine) {
            let [at_source, at_target] = must(transfer);
            if at_source || at_target {
                let outcome = transfer["outcome"].as_str();
                assert!(["rejected", "compensated"].contains(&outcome), "{transfer:?}");
            }
            met[0] += u32::from(at_source);
            met[1] += u32::from(at_target);
        }
        assert!(met.iter().all(|met| *met > 12), "{met:?} of 240, {row:?}");
    }
}
