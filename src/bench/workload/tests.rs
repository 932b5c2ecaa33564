use super::*;

/// A thousand accounts on three shards.
pub const WORKLOAD: Workload = Workload {
    seed: 7,
    accounts: 1000,
    routing: routing(3),
    access: Access::Uniform,
    hot_on: HotOn::Both,
    cross_shard_percent: 100.0,
    reject_percent: 0.0,
    amount_max: 100,
};

const fn routing(shards: u16) -> Routing {
    Routing::new(shards)
}

fn drawer(block: u32, client: u32) -> Drawer {
    Drawer { block, stretch: Stretch::Measured, client }
}

fn orders(workload: Workload, drawer: Drawer, count: usize) -> Vec<Order> {
    let mut orders = workload.orders(drawer);
    (0..count).map(|_| orders.next_order()).collect()
}

fn crossing_share(workload: Workload) -> f64 {
    let orders = orders(workload, drawer(0, 0), 20_000);
    let shard = |account| workload.routing.shard_of(account);
    let crossing = orders.iter().filter(|o| shard(o.source) != shard(o.target)).count();
    crossing as f64 / orders.len() as f64
}

#[test]
fn the_same_seed_orders_the_same_transfers() {
    assert_eq!(orders(WORKLOAD, drawer(1, 2), 500), orders(WORKLOAD, drawer(1, 2), 500));
}

#[test]
fn another_seed_block_client_or_stretch_orders_others() {
    let base = orders(WORKLOAD, drawer(0, 0), 50);
    assert_ne!(base, orders(Workload { seed: 8, ..WORKLOAD }, drawer(0, 0), 50));
    assert_ne!(base, orders(WORKLOAD, drawer(1, 0), 50));
    assert_ne!(base, orders(WORKLOAD, drawer(0, 1), 50));
    let warm_up = Drawer { stretch: Stretch::WarmUp, ..drawer(0, 0) };
    assert_ne!(base, orders(WORKLOAD, warm_up, 50));
}

#[test]
fn one_choice_does_not_move_the_others() {
    let crossing = orders(WORKLOAD, drawer(0, 0), 200);
    let same = orders(Workload { cross_shard_percent: 0.0, ..WORKLOAD }, drawer(0, 0), 200);
    let dear = orders(Workload { amount_max: 9, ..WORKLOAD }, drawer(0, 0), 200);
    for ((a, b), c) in crossing.iter().zip(&same).zip(&dear) {
        assert_eq!((a.source, a.amount), (b.source, b.amount));
        assert_eq!((a.source, a.target), (c.source, c.target));
    }
}

#[test]
fn no_order_pays_its_own_source_and_all_stay_within_the_accounts() {
    for accounts in [6, 7, 8, 1000] {
        for cross_shard_percent in [0.0, 50.0, 100.0] {
            for access in [Access::Uniform, Access::Hotspot { accounts: 1, percent: 90.0 }] {
                let workload = Workload { accounts, cross_shard_percent, access, ..WORKLOAD };
                for order in orders(workload, drawer(0, 0), 2000) {
                    assert_ne!(order.source, order.target);
                    assert!(order.target.get() <= accounts as i64);
                    assert!((1..=100).contains(&order.amount.get()));
                }
            }
        }
    }
}

#[test]
fn the_share_of_crossing_transfers_is_what_was_asked_for() {
    assert_eq!(crossing_share(WORKLOAD), 1.0);
    assert_eq!(crossing_share(Workload { cross_shard_percent: 0.0, ..WORKLOAD }), 0.0);
    let third = crossing_share(Workload { cross_shard_percent: 30.0, ..WORKLOAD });
    assert!((third - 0.3).abs() < 0.02, "{third}");
}

/// Whether an order must be refused, and if so whether at the target.
fn must_be_refused(order: &Order) -> Option<bool> {
    let at_source = order.amount.get() > MONEY_MAX;
    let at_target = order.target.get() > WORKLOAD.accounts.cast_signed();
    assert!(!(at_source && at_target), "{order:?}");
    (at_source || at_target).then_some(at_target)
}

#[test]
fn the_share_of_refusals_is_what_was_asked_for_half_at_each_end() {
    assert!(orders(WORKLOAD, drawer(0, 0), 2000).iter().all(|o| must_be_refused(o).is_none()));
    let workload = Workload { reject_percent: 20.0, ..WORKLOAD };
    let refused: Vec<bool> =
        orders(workload, drawer(0, 0), 20_000).iter().filter_map(must_be_refused).collect();
    let at_target = refused.iter().filter(|at_target| **at_target).count() as f64;
    assert!((refused.len() as f64 / 20_000.0 - 0.2).abs() < 0.01, "{}", refused.len());
    assert!((at_target / refused.len() as f64 - 0.5).abs() < 0.03, "{at_target}");
    assert_eq!(orders(workload, drawer(0, 0), 500), orders(workload, drawer(0, 0), 500));
}

#[test]
fn refusals_move_no_other_order_and_a_greater_share_refuses_the_same_ones() {
    let with = |reject_percent| orders(Workload { reject_percent, ..WORKLOAD }, drawer(0, 0), 2000);
    let (none, some, more) = (with(0.0), with(20.0), with(60.0));
    for ((none, some), more) in none.iter().zip(&some).zip(&more) {
        match must_be_refused(some) {
            None => assert_eq!(none, some),
            Some(_) => assert_eq!(some, more),
        }
    }
}

#[test]
fn a_closed_target_is_on_the_later_shard_and_among_the_closed_accounts() {
    for accounts in [6, 7, 8, 1000] {
        for cross_shard_percent in [0.0, 100.0] {
            let workload =
                Workload { accounts, cross_shard_percent, reject_percent: 100.0, ..WORKLOAD };
            let closed = accounts + 1..=accounts + 3 * CLOSED_PER_SHARD;
            let mut seen = 0;
            for order in orders(workload, drawer(0, 0), 3000) {
                let target = order.target.get().unsigned_abs();
                if target <= accounts {
                    continue;
                }
                seen += 1;
                assert!(closed.contains(&target), "{order:?}");
                assert!(order.source.get() <= accounts.cast_signed(), "{order:?}");
                let [source, target] =
                    [order.source, order.target].map(|end| workload.routing.shard_of(end));
                let right =
                    if cross_shard_percent == 0.0 { source == target } else { source < target };
                assert!(right, "{order:?}");
            }
            assert!(seen > 1000, "{seen}");
        }
    }
}

#[test]
fn a_zipfian_top_account_has_the_share_that_theory_gives_it() {
    for theta in [0.0, 0.5, 0.99, 1.0, 1.2, 2.0] {
        let workload =
            Workload { access: Access::Zipfian { theta }, hot_on: HotOn::Source, ..WORKLOAD };
        let orders = orders(workload, drawer(0, 0), 100_000);
        let top = orders.iter().filter(|order| order.source.get() == 1).count();
        let measured = top as f64 / orders.len() as f64;
        let norm: f64 = (1..=1000).map(|r| f64::from(r).powf(-theta)).sum();
        assert!((measured - 1.0 / norm).abs() < 0.006, "theta {theta}: {measured}");
    }
}

#[test]
fn hot_accounts_take_their_share_on_the_end_that_is_hot() {
    let access = Access::Hotspot { accounts: 10, percent: 80.0 };
    let workload = Workload { access, hot_on: HotOn::Target, ..WORKLOAD };
    let orders = orders(workload, drawer(0, 0), 50_000);
    let share = |end: &dyn Fn(&Order) -> AccountId| {
        orders.iter().filter(|o| end(o).get() <= 10).count() as f64 / orders.len() as f64
    };
    assert!((share(&|o| o.target) - 0.8).abs() < 0.02);
    assert!(share(&|o| o.source) < 0.02);
}

#[test]
fn one_hot_account_stays_one_whether_transfers_cross_or_not() {
    let access = Access::Hotspot { accounts: 1, percent: 100.0 };
    for cross_shard_percent in [0.0, 100.0] {
        let hot = Workload { access, cross_shard_percent, ..WORKLOAD };
        let targets = orders(Workload { hot_on: HotOn::Target, ..hot }, drawer(0, 0), 500);
        assert!(targets.iter().all(|order| order.target.get() == 1));
        let sources = orders(Workload { hot_on: HotOn::Source, ..hot }, drawer(0, 0), 500);
        assert!(sources.iter().all(|order| order.source.get() == 1));
    }
}
