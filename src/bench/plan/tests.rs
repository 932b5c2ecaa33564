use super::*;

const AROUND: Surroundings = Surroundings { shards: None, cores: 4, seed: 9 };

fn plan(change: impl FnOnce(&mut BenchConfig)) -> Result<Plan, Vec<String>> {
    let mut config = BenchConfig::defaults();
    change(&mut config);
    Plan::new(&config, AROUND)
}

#[test]
fn the_defaults_are_three_strategies_at_one_point_under_two_minutes() {
    let plan = plan(|_| {}).expect("valid");
    assert_eq!((plan.points.len(), plan.run_count()), (1, 15));
    assert!(plan.estimate().expect("timed") < Duration::from_secs(120));
    let point = plan.points[0];
    assert_eq!((point.shards, point.clients, point.jobs, point.seed), (2, 16, 4, 9));
    assert_eq!(plan.strategies[plan.reference].name(), "same-shard");
}

#[test]
fn lists_make_every_combination_and_knobs_only_their_own_distributions() {
    let plan = plan(|c| {
        c.clients = Values::several(vec![1, 8]);
        c.distribution = Values::several(vec![Distribution::Uniform, Distribution::Zipfian]);
        c.zipf_theta = Values::several(vec![0.5, 0.9, 1.1]);
    });
    let plan = plan.expect("valid");
    assert_eq!(plan.points.len(), 2 * 4);
    assert!(plan.points.iter().all(|point| point.jobs <= point.clients));
}

#[test]
fn accounts_are_closed_behind_the_drawn_ones_and_only_where_transfers_are_refused() {
    let plan = plan(|c| {
        c.reject_percent = Values::several(vec![0.0, 20.0]);
        c.accounts = Some(Values::one(1000));
        c.shards = Some(Values::one(3));
    });
    let points = plan.expect("valid").points;
    assert_eq!(points.len(), 2);
    assert_eq!((points[0].closed_accounts(), points[0].accounts_needed()), (1001..1001, 1000));
    assert_eq!((points[1].closed_accounts(), points[1].accounts_needed()), (1001..1301, 1300));
    let workload = points[1].workload(&"2pc".parse().expect("a strategy"));
    assert_eq!(workload.reject_percent, 20.0);
}

#[test]
fn every_block_has_every_strategy_once_and_the_order_is_the_seeds() {
    let plan = plan(|c| c.runs = Some(20)).expect("valid");
    let cells = plan.cells(&plan.points[0]);
    for block in cells.chunks(3) {
        let mut strategies: Vec<usize> = block.iter().map(|cell| cell.strategy).collect();
        strategies.sort_unstable();
        assert_eq!(strategies, [0, 1, 2]);
        assert!(block.iter().all(|cell| cell.block == block[0].block));
    }
    assert_eq!(cells, plan.cells(&plan.points[0]));
    let first: Vec<usize> = cells.chunks(3).map(|block| block[0].strategy).collect();
    assert!((0..3).all(|strategy| first.contains(&strategy)), "{first:?}");
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let lines = plan(|c| {
        c.strategies = Some(vec!["3pc".to_owned(), "2pc".to_owned(), "2pc".to_owned()]);
        c.reference = Some("same-shard".to_owned());
        c.clients = Some(Values::one(0));
    });
    assert_eq!(lines.expect_err("wrong").len(), 4);
}

#[test]
fn a_strategy_that_cannot_cross_is_given_nothing_to_cross() {
    let plan = plan(|_| {}).expect("valid");
    let shares: Vec<f64> = plan
        .strategies
        .iter()
        .map(|strategy| plan.points[0].workload(strategy).cross_shard_percent)
        .collect();
    assert_eq!(shares, [0.0, 100.0, 100.0]);
}
