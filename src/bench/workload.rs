//! The workload: which transfers are ordered, as a pure function of the seed.
//!
//! Every kind of choice has a random stream of its own, seeded from the seed, the block, the
//! stretch, the client and the kind. So every strategy of a block is given the same accounts and
//! amounts, and a choice added later moves none of the others. How often a stream is drawn from
//! does not depend on time.
//!
//! Rank r of a skewed distribution is account r. Accounts are dealt to shards in turn, so the hot
//! ones are spread over all shards.

use rand::{Rng, RngExt, SeedableRng};
use rand_distr::{Distribution as _, Zipf};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::config::HotOn;
use crate::transfer::{AccountId, Amount, IdOrigin, Routing, Transfer, TransferId};

/// How accounts are picked.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// All alike.
    Uniform,
    /// The r-th account in proportion to 1/r^theta; theta may be 1 or more.
    Zipfian {
        /// The exponent, 0 or more.
        theta: f64,
    },
    /// The first accounts take a fixed share of the draws.
    Hotspot {
        /// How many accounts are hot, 1 or more.
        accounts: u64,
        /// Their share of the draws, in percent.
        percent: f64,
    },
}

/// Which transfers there are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Workload {
    /// Where all chance comes from.
    pub seed: u64,
    /// Accounts 1 to this, at least two a shard.
    pub accounts: u64,
    /// Where they live.
    pub routing: Routing,
    /// How they are picked.
    pub access: Access,
    /// Which end of a transfer `access` is for.
    pub hot_on: HotOn,
    /// The share of transfers between two shards, in percent. To make a pair cross or not, its
    /// target is moved to a neighbour on the shard that it takes; or its source, where only
    /// targets are hot.
    pub cross_shard_percent: f64,
    /// Amounts are drawn evenly from 1 to this.
    pub amount_max: u64,
}

/// The part of a run that a transfer belongs to. The measured part is the same however much was
/// done to warm up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stretch {
    /// Not measured.
    WarmUp,
    /// Measured.
    Measured,
}

/// Who draws: one client in one stretch of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drawer {
    /// The block of runs, which every strategy is part of once.
    pub block: u32,
    /// Which part of the run.
    pub stretch: Stretch,
    /// Which client, counted from 0.
    pub client: u32,
}

/// Who pays whom how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// The account that pays.
    pub source: AccountId,
    /// The account that is paid.
    pub target: AccountId,
    /// How much.
    pub amount: Amount,
}

impl Order {
    /// The order under an id of its own.
    #[must_use]
    pub fn transfer(self) -> Transfer {
        let Self { source, target, amount } = self;
        Transfer { id: TransferId::fresh(), source, target, amount, origin: IdOrigin::Fresh }
    }
}

/// The endless row of one client's orders.
#[derive(Debug, Clone)]
pub struct Orders {
    workload: Workload,
    zipf: Option<Zipf<f64>>,
    source: Xoshiro256PlusPlus,
    target: Xoshiro256PlusPlus,
    crossing: Xoshiro256PlusPlus,
    shard: Xoshiro256PlusPlus,
    amount: Xoshiro256PlusPlus,
}

impl Workload {
    /// The orders of one client.
    #[must_use]
    pub fn orders(&self, drawer: Drawer) -> Orders {
        let stream = |kind| {
            let stretch = drawer.stretch as u64;
            let words = [u64::from(drawer.block), stretch, u64::from(drawer.client), kind];
            stream(self.seed, words)
        };
        let zipf = match self.access {
            Access::Zipfian { theta } => {
                let zipf = Zipf::new(self.accounts as f64, theta);
                Some(zipf.expect("accounts and theta were checked"))
            }
            Access::Uniform | Access::Hotspot { .. } => None,
        };
        Orders {
            workload: *self,
            zipf,
            source: stream(0),
            target: stream(1),
            crossing: stream(2),
            shard: stream(3),
            amount: stream(4),
        }
    }
}

/// A random stream of its own for every seed and row of words.
pub(in crate::bench) fn stream(seed: u64, words: [u64; 4]) -> Xoshiro256PlusPlus {
    // The golden ratio's bits keep small words from cancelling each other.
    const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
    let mixed = words.into_iter().fold(seed, |mixed, word| {
        let key = mixed ^ (word + 1).wrapping_mul(SPREAD);
        Xoshiro256PlusPlus::seed_from_u64(key).next_u64()
    });
    Xoshiro256PlusPlus::seed_from_u64(mixed)
}

impl Orders {
    /// The next order.
    pub fn next_order(&mut self) -> Order {
        let Workload { hot_on, amount_max, .. } = self.workload;
        let source = self.pick(hot_on != HotOn::Target, End::Source);
        let target = self.pick(hot_on != HotOn::Source, End::Target);
        let crosses = self.crossing.random::<f64>() * 100.0 < self.workload.cross_shard_percent;
        // The end that is hot stays where it is: moved, one hot account would become several.
        let (source, target) = if hot_on == HotOn::Target {
            (self.settle(target, source, crosses), target)
        } else {
            (source, self.settle(source, target, crosses))
        };
        let amount = self.amount.random_range(1..=amount_max);
        Order { source: account(source), target: account(target), amount: minor_units(amount) }
    }

    fn pick(&mut self, by_access: bool, end: End) -> u64 {
        let Workload { accounts, access, .. } = self.workload;
        let stream = match end {
            End::Source => &mut self.source,
            End::Target => &mut self.target,
        };
        match (access, &self.zipf) {
            (Access::Zipfian { .. }, Some(zipf)) if by_access => {
                let rank = zipf.sample(stream) as u64;
                rank.clamp(1, accounts)
            }
            (Access::Hotspot { accounts: hot, percent }, _) if by_access => {
                let is_hot = stream.random::<f64>() * 100.0 < percent;
                if is_hot || hot >= accounts {
                    stream.random_range(1..=hot.min(accounts))
                } else {
                    stream.random_range(hot + 1..=accounts)
                }
            }
            _ => stream.random_range(1..=accounts),
        }
    }

    /// Moves `account` as little as may be, so that it is on another shard than `anchor` where
    /// the order crosses, on the same one where it does not, and never the same account.
    fn settle(&mut self, anchor: u64, account: u64, crosses: bool) -> u64 {
        let shards = u64::from(self.workload.routing.shard_count());
        let accounts = self.workload.accounts;
        let home = (anchor - 1) % shards;
        let wanted = if !crosses {
            home
        } else if (account - 1) % shards != home {
            return account;
        } else {
            (home + 1 + self.shard.random_range(0..shards - 1)) % shards
        };
        let moved = (account - 1) / shards * shards + wanted + 1;
        let moved = if moved > accounts { moved - shards } else { moved };
        if moved != anchor {
            moved
        } else if moved + shards <= accounts {
            moved + shards
        } else {
            moved - shards
        }
    }
}

#[derive(Clone, Copy)]
enum End {
    Source,
    Target,
}

fn account(number: u64) -> AccountId {
    i64::try_from(number).ok().and_then(AccountId::new).expect("accounts are numbered from 1")
}

fn minor_units(number: u64) -> Amount {
    i64::try_from(number).ok().and_then(Amount::new).expect("amounts are drawn from 1")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A thousand accounts on three shards.
    pub const WORKLOAD: Workload = Workload {
        seed: 7,
        accounts: 1000,
        routing: routing(3),
        access: Access::Uniform,
        hot_on: HotOn::Both,
        cross_shard_percent: 100.0,
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
}
