//! What is to be run: the points of the sweep, and at each the strategies in blocks.

use std::num::NonZeroU32;
use std::ops::Range;
use std::time::Duration;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::Serialize;

use crate::bench::recorder::INTERVAL_NS;
use crate::bench::workload::{Access, CLOSED_PER_SHARD, Workload};
use crate::config::{BenchConfig, Distribution, HotOn, Values, problems};
use crate::strategies::Strategy;
use crate::transfer::Routing;

/// The exponent of `zipfian` where none is given: YCSB's.
const ZIPF_THETA: f64 = 0.99;
/// How many accounts are hot where nothing is said.
const HOT_ACCOUNTS: u64 = 10;
/// Their share where nothing is said.
const HOT_PERCENT: f64 = 90.0;
/// Connecting, recovery, audit and reset around a run, roughly.
pub(in crate::bench) const AROUND_A_RUN: Duration = Duration::from_millis(700);

/// When a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Length {
    /// When this time is over.
    Time(Duration),
    /// When each client has done so many transfers.
    Transfers(u64),
}

impl Length {
    /// The end of the last interval that the load reaches into, in nanoseconds, where the run
    /// ends by time. What ends later was drained.
    #[must_use]
    pub fn load_ns(self) -> Option<u64> {
        match self {
            Self::Time(time) => {
                let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
                Some(ns.div_ceil(INTERVAL_NS).saturating_mul(INTERVAL_NS))
            }
            Self::Transfers(_) => None,
        }
    }
}

/// One combination of everything that may be swept.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// How many shards.
    pub shards: u16,
    /// Accounts that transfers are drawn from.
    pub accounts: u64,
    /// Clients at a time.
    pub clients: u32,
    /// Threads that they are dealt to.
    pub jobs: u32,
    /// When a run ends.
    pub length: Length,
    /// Load before it that is not measured.
    pub warm_up: Duration,
    /// How accounts are picked.
    pub access: Access,
    /// Which end of a transfer that is for.
    pub hot_on: HotOn,
    /// The share of transfers between shards, in percent.
    pub cross_shard_percent: f64,
    /// The share of transfers that must be refused, in percent.
    pub reject_percent: f64,
    /// Amounts are drawn from 1 to this.
    pub amount_max: u64,
    /// Tries before a transfer is given up.
    pub max_tries: NonZeroU32,
    /// Where all chance comes from.
    pub seed: u64,
}

impl Point {
    /// The transfers that `strategy` is given here. One that cannot cross shards gets every
    /// target mapped to its source's shard.
    #[must_use]
    pub fn workload(&self, strategy: &Strategy) -> Workload {
        Workload {
            seed: self.seed,
            accounts: self.accounts,
            routing: Routing::new(self.shards),
            access: self.access,
            hot_on: self.hot_on,
            cross_shard_percent: self.cross_shard_percent_of(strategy),
            reject_percent: self.reject_percent,
            amount_max: self.amount_max,
        }
    }

    /// The accounts beyond the drawn ones that are closed for as long as a run here lasts, so that
    /// transfers to them are refused; none where no transfer is to be.
    #[must_use]
    pub fn closed_accounts(&self) -> Range<u64> {
        let closed =
            if self.reject_percent > 0.0 { CLOSED_PER_SHARD * u64::from(self.shards) } else { 0 };
        self.accounts + 1..self.accounts + 1 + closed
    }

    /// How many accounts a cluster needs for a run here.
    #[must_use]
    pub fn accounts_needed(&self) -> u64 {
        self.closed_accounts().end - 1
    }

    /// The share of transfers between shards that `strategy` is given, in percent.
    #[must_use]
    pub fn cross_shard_percent_of(&self, strategy: &Strategy) -> f64 {
        if strategy.crosses_shards() { self.cross_shard_percent } else { 0.0 }
    }
}

/// One run: a strategy in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// Which block, counted from 0. Every strategy is in each block once.
    pub block: u32,
    /// Which strategy of the plan.
    pub strategy: usize,
}

/// Everything that is to be run.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Its short name.
    pub name: String,
    /// The strategies.
    pub strategies: Vec<Strategy>,
    /// The one that the others are compared with.
    pub reference: usize,
    /// How many blocks there are at each point.
    pub runs: u32,
    /// What every account holds at the start of a run, in minor units.
    pub opening_balance: u64,
    /// The points, in an order that changes the shards least often.
    pub points: Vec<Point>,
}

/// What the machine and the shards add to a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Surroundings {
    /// The shards of a cluster that is given; nothing where local servers are started.
    pub shards: Option<u16>,
    /// Processors of this machine.
    pub cores: u32,
    /// The seed where none is given.
    pub seed: u64,
}

impl Plan {
    /// The plan that a complete configuration describes.
    ///
    /// # Errors
    /// Everything that is wrong with it, one line each.
    pub fn new(config: &BenchConfig, around: Surroundings) -> Result<Self, Vec<String>> {
        let mut found = problems(config);
        let mut strategies: Vec<Strategy> = Vec::new();
        for text in config.strategies.iter().flatten() {
            match text.parse::<Strategy>() {
                Ok(strategy) if strategies.contains(&strategy) => {
                    found.push(format!("strategy {strategy} is given twice; leave one out"));
                }
                Ok(strategy) => strategies.push(strategy),
                Err(error) => found.push(error.to_string()),
            }
        }
        let reference = match &config.reference {
            None => strategies.iter().position(|s| !s.crosses_shards()).unwrap_or(0),
            Some(text) => match text.parse::<Strategy>() {
                Err(error) => {
                    found.push(format!("reference: {error}"));
                    0
                }
                Ok(wanted) => strategies.iter().position(|s| *s == wanted).unwrap_or_else(|| {
                    found.push(format!(
                        "reference {wanted} is not among the strategies that run; add it with \
                         --strategy {wanted}"
                    ));
                    0
                }),
            },
        };
        if !found.is_empty() {
            return Err(found);
        }
        Ok(Self {
            name: config.name.clone().unwrap_or_default(),
            strategies,
            reference,
            runs: config.runs.unwrap_or(1),
            opening_balance: config.opening_balance.unwrap_or(0),
            points: points(config, around),
        })
    }

    /// The runs at one point in the order in which they are made: block after block, the
    /// strategies of a block shuffled, so that nothing that changes with time favours one.
    #[must_use]
    pub fn cells(&self, point: &Point) -> Vec<Cell> {
        blocks(point.seed, self.runs, self.strategies.len())
    }

    /// How many runs there are in all.
    #[must_use]
    pub fn run_count(&self) -> usize {
        self.points.len() * self.strategies.len() * self.runs as usize
    }

    /// About how long it all takes, where runs end by time.
    #[must_use]
    pub fn estimate(&self) -> Option<Duration> {
        let mut sum = Duration::ZERO;
        for point in &self.points {
            let Length::Time(time) = point.length else { return None };
            let runs = self.runs * u32::try_from(self.strategies.len()).unwrap_or(u32::MAX);
            sum += (time + point.warm_up + AROUND_A_RUN) * runs;
        }
        Some(sum)
    }
}

/// So many runs of so many strategies in blocks, each shuffled by `seed`.
pub(in crate::bench) fn blocks(seed: u64, runs: u32, strategies: usize) -> Vec<Cell> {
    let mut chance = Xoshiro256PlusPlus::seed_from_u64(seed);
    let block = |block| {
        let mut cells: Vec<Cell> =
            (0..strategies).map(|strategy| Cell { block, strategy }).collect();
        cells.shuffle(&mut chance);
        cells
    };
    (0..runs).flat_map(block).collect()
}

pub(in crate::bench) fn points(config: &BenchConfig, around: Surroundings) -> Vec<Point> {
    let clients = list(config.clients.as_ref(), 1);
    let jobs = |clients: u32| match &config.jobs {
        Some(jobs) => jobs.as_slice().to_vec(),
        None => vec![around.cores.min(clients).max(1)],
    };
    let shards = match around.shards {
        Some(given) => vec![given],
        None => list(config.shards.as_ref(), 2),
    };
    let lengths: Vec<Length> = match &config.transfers {
        Some(transfers) => transfers.as_slice().iter().map(|n| Length::Transfers(*n)).collect(),
        None => {
            let times = list(config.time.as_ref(), 5.0);
            times.into_iter().map(|s| Length::Time(Duration::from_secs_f64(s))).collect()
        }
    };
    let mut points = vec![Point {
        shards: 0,
        accounts: 0,
        clients: 0,
        jobs: 0,
        length: lengths[0],
        warm_up: Duration::ZERO,
        access: Access::Uniform,
        hot_on: config.hot_on.unwrap_or_default(),
        cross_shard_percent: 0.0,
        reject_percent: 0.0,
        amount_max: 1,
        max_tries: NonZeroU32::MIN,
        seed: 0,
    }];
    sweep(&mut points, &shards, |point, shards| point.shards = *shards);
    sweep(&mut points, &list(config.accounts.as_ref(), 2), |point, n| point.accounts = *n);
    sweep(&mut points, &accesses(config), |point, access| point.access = *access);
    let crossing = list(config.cross_shard_percent.as_ref(), 100.0);
    sweep(&mut points, &crossing, |point, percent| point.cross_shard_percent = *percent);
    let refused = list(config.reject_percent.as_ref(), 0.0);
    sweep(&mut points, &refused, |point, percent| point.reject_percent = *percent);
    sweep(&mut points, &list(config.amount_max.as_ref(), 1), |point, n| point.amount_max = *n);
    sweep(&mut points, &list(config.max_tries.as_ref(), 1), |point, n| {
        point.max_tries = NonZeroU32::new(*n).unwrap_or(NonZeroU32::MIN);
    });
    sweep(&mut points, &list(config.seed.as_ref(), around.seed), |point, seed| point.seed = *seed);
    sweep(&mut points, &lengths, |point, length| point.length = *length);
    sweep(&mut points, &list(config.warmup.as_ref(), 0.0), |point, s| {
        point.warm_up = Duration::from_secs_f64(*s);
    });
    sweep(&mut points, &clients, |point, clients| point.clients = *clients);
    points
        .into_iter()
        .flat_map(|point| {
            // More threads than clients would have nothing to do.
            let jobs = jobs(point.clients).into_iter().map(move |jobs| jobs.min(point.clients));
            jobs.map(move |jobs| Point { jobs, ..point })
        })
        .collect()
}

fn accesses(config: &BenchConfig) -> Vec<Access> {
    let mut all = Vec::new();
    for distribution in list(config.distribution.as_ref(), Distribution::Uniform) {
        match distribution {
            Distribution::Uniform => all.push(Access::Uniform),
            Distribution::Zipfian => {
                let thetas = list(config.zipf_theta.as_ref(), ZIPF_THETA);
                all.extend(thetas.into_iter().map(|theta| Access::Zipfian { theta }));
            }
            Distribution::Hotspot => {
                for accounts in list(config.hot_accounts.as_ref(), HOT_ACCOUNTS) {
                    let percents = list(config.hot_percent.as_ref(), HOT_PERCENT);
                    all.extend(
                        percents.into_iter().map(|percent| Access::Hotspot { accounts, percent }),
                    );
                }
            }
        }
    }
    all
}

pub(in crate::bench) fn list<T: Clone>(values: Option<&Values<T>>, otherwise: T) -> Vec<T> {
    values.map_or_else(|| vec![otherwise], |values| values.as_slice().to_vec())
}

fn sweep<T>(points: &mut Vec<Point>, values: &[T], set: impl Fn(&mut Point, &T)) {
    *points = points
        .iter()
        .flat_map(|point| {
            values.iter().map(|value| {
                let mut point = *point;
                set(&mut point, value);
                point
            })
        })
        .collect();
}

#[cfg(test)]
mod tests;
