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
use crate::shards::creation::MONEY_MAX;
use crate::transfer::{AccountId, Amount, IdOrigin, Routing, Transfer, TransferId};

/// Closed accounts on each shard, where transfers are to be refused: enough that those who are
/// sent there do not queue for one another.
pub const CLOSED_PER_SHARD: u64 = 100;

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
    /// The share of transfers that must be refused, in percent: half of them order more than
    /// there is, the others pay one of the closed accounts that follow the drawn ones.
    pub reject_percent: f64,
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
    refusal: Xoshiro256PlusPlus,
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
            refusal: stream(5),
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
        match self.refused() {
            None => order(source, target, amount),
            Some(Refused::AtSource) => order(source, target, MORE_THAN_THERE_IS),
            Some(Refused::AtTarget { nth }) => {
                let (source, target) = self.to_closed(source, target, nth);
                order(source, target, amount)
            }
        }
    }

    /// Whether and where the next order is to be refused. A greater share refuses the same ones,
    /// at the same end, and more.
    fn refused(&mut self) -> Option<Refused> {
        let refused = self.refusal.random::<f64>() * 100.0 < self.workload.reject_percent;
        let at_source = self.refusal.random::<bool>();
        let nth = self.refusal.random_range(0..CLOSED_PER_SHARD);
        let end = if at_source { Refused::AtSource } else { Refused::AtTarget { nth } };
        refused.then_some(end)
    }

    /// The order with the `nth` closed account of a shard as its target. Shards are visited in the
    /// order of their numbers, so the end on the lower one pays: whoever asks the target has found
    /// that the source was fine, or asks the target first on purpose.
    fn to_closed(&self, source: u64, target: u64, nth: u64) -> (u64, u64) {
        let Workload { accounts, routing, .. } = self.workload;
        let shards = u64::from(routing.shard_count());
        let shard = |account: u64| (account - 1) % shards;
        let (pays, paid) =
            if shard(source) > shard(target) { (target, source) } else { (source, target) };
        // Of the accounts behind the last one that is drawn, the first on that shard.
        let first = accounts + 1 + (shard(paid) + shards - shard(accounts + 1)) % shards;
        (pays, first + nth * shards)
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

/// The end of a transfer at which it is refused.
enum Refused {
    AtSource,
    AtTarget { nth: u64 },
}

/// No account ever holds it: it is more than a cluster can hold. And no account that is credited
/// with it overflows.
const MORE_THAN_THERE_IS: u64 = MONEY_MAX.unsigned_abs() + 1;

#[derive(Clone, Copy)]
enum End {
    Source,
    Target,
}

fn order(source: u64, target: u64, amount: u64) -> Order {
    Order { source: account(source), target: account(target), amount: minor_units(amount) }
}

fn account(number: u64) -> AccountId {
    i64::try_from(number).ok().and_then(AccountId::new).expect("accounts are numbered from 1")
}

fn minor_units(number: u64) -> Amount {
    i64::try_from(number).ok().and_then(Amount::new).expect("amounts are drawn from 1")
}

#[cfg(test)]
pub(crate) mod tests;
