//! What a benchmark is to do, as a file or the command line says it.
//!
//! A configuration is read in layers: flags over a file over the defaults. A layer says only what
//! it sets. Everything is checked here, all problems at once, each with its reason; nothing is
//! acted upon. Absent: what a key's strategy means (`bench::plan` knows strategies) and any type
//! of the command line's.

mod check;
mod file;
mod seats;
mod values;

pub use check::problems;
pub use file::{ConfigError, read, to_toml};
pub use seats::{SeatsOn, WorkloadName};
pub use values::Values;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How accounts are picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Distribution {
    /// All alike.
    Uniform,
    /// The r-th account in proportion to 1/r^theta.
    Zipfian,
    /// A few accounts take a fixed share.
    Hotspot,
}

impl Distribution {
    /// As files spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Zipfian => "zipfian",
            Self::Hotspot => "hotspot",
        }
    }
}

/// Which end of a transfer is picked by the distribution; the other is picked uniformly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HotOn {
    /// The account that pays.
    Source,
    /// The account that is paid.
    Target,
    /// Both.
    #[default]
    Both,
}

/// One layer of a benchmark's configuration. A key that is absent is left to the layer below.
///
/// Keys that describe the measured point take one value or a list; the benchmark then runs every
/// combination.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BenchConfig {
    /// What is measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<WorkloadName>,
    /// A short name: part of the result folder's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The question that this benchmark answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The strategies to compare, as `--strategy` spells them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategies: Option<Vec<String>>,
    /// The strategy that the others are compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// How often each strategy runs at each point.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runs: Option<u32>,
    /// Where all chance comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<Values<u64>>,
    /// The length of a run, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Values<f64>>,
    /// The length of a run, in transfers of each client, instead of `time`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transfers: Option<Values<u64>>,
    /// Load before the run that is not measured, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup: Option<Values<f64>>,
    /// Concurrent clients; each waits for its transfer before it starts the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients: Option<Values<u32>>,
    /// Threads that the clients are dealt to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jobs: Option<Values<u32>>,
    /// Accounts that transfers are drawn from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accounts: Option<Values<u64>>,
    /// What every account holds at the start of a run, in minor units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opening_balance: Option<u64>,
    /// Amounts are drawn from 1 to this, in minor units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount_max: Option<Values<u64>>,
    /// How accounts are picked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distribution: Option<Values<Distribution>>,
    /// The exponent of `zipfian`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zipf_theta: Option<Values<f64>>,
    /// How many accounts of `hotspot` are hot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hot_accounts: Option<Values<u64>>,
    /// The share of draws that falls on the hot accounts of `hotspot`, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hot_percent: Option<Values<f64>>,
    /// Which end of a transfer the distribution is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hot_on: Option<HotOn>,
    /// The share of transfers whose accounts live on different shards, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cross_shard_percent: Option<Values<f64>>,
    /// The share of transfers that must be refused, in percent: half for want of money, half
    /// because their target is closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reject_percent: Option<Values<f64>>,
    /// How often a transfer is tried before it is given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tries: Option<Values<u32>>,
    /// Seats of a batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seats: Option<Values<u64>>,
    /// Where seats live.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seats_on: Option<SeatsOn>,
    /// How long a user thinks before paying, on average, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub think_time: Option<Values<u64>>,
    /// How long a seat is kept for a user who does not pay, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_time: Option<Values<u64>>,
    /// The share of users who walk away without a word, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abandon_percent: Option<Values<f64>>,
    /// How many local servers to start, where no shard is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shards: Option<Values<u16>>,
    /// The shards to use, as `--shard` takes them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<Vec<String>>,
    /// Seconds between two lines of progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<f64>,
    /// Whether somebody looks on during each run and counts half-visible transfers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auditor: Option<bool>,
    /// Whether every transfer is written to `transfers.csv`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<bool>,
    /// The folder that result folders are made in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// Words of the user's own, written into the results.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

impl BenchConfig {
    /// The lowest layer: three strategies on two local servers, under two minutes.
    #[must_use]
    pub fn defaults() -> Self {
        Self {
            name: Some("bench".to_owned()),
            strategies: Some(["same-shard", "2pc", "2pc-last-agent"].map(str::to_owned).to_vec()),
            runs: Some(5),
            time: Some(Values::one(5.0)),
            warmup: Some(Values::one(1.0)),
            clients: Some(Values::one(16)),
            accounts: Some(Values::one(10_000)),
            opening_balance: Some(1_000_000),
            amount_max: Some(Values::one(100)),
            distribution: Some(Values::one(Distribution::Uniform)),
            max_tries: Some(Values::one(10)),
            auditor: Some(true),
            log: Some(false),
            output: Some("results".to_owned()),
            ..Self::default()
        }
    }

    /// The lowest layer under `workload`.
    #[must_use]
    pub fn defaults_of(workload: WorkloadName) -> Self {
        match workload {
            WorkloadName::Transfers => Self::defaults(),
            WorkloadName::Seats => Self::seat_defaults(),
        }
    }

    /// This layer over `below`. A run's length is one thing with two spellings, so a layer that
    /// gives one of `time` and `transfers` hides both below it; the same holds for `shards` and
    /// `shard`.
    #[must_use]
    pub fn over(self, below: Self) -> Self {
        let length = self.time.is_some() || self.transfers.is_some();
        let where_ = self.shards.is_some() || self.shard.is_some();
        let mut tags = below.tags;
        tags.extend(self.tags);
        Self {
            workload: self.workload.or(below.workload),
            name: self.name.or(below.name),
            description: self.description.or(below.description),
            strategies: self.strategies.or(below.strategies),
            reference: self.reference.or(below.reference),
            runs: self.runs.or(below.runs),
            seed: self.seed.or(below.seed),
            time: if length { self.time } else { below.time },
            transfers: if length { self.transfers } else { below.transfers },
            warmup: self.warmup.or(below.warmup),
            clients: self.clients.or(below.clients),
            jobs: self.jobs.or(below.jobs),
            accounts: self.accounts.or(below.accounts),
            opening_balance: self.opening_balance.or(below.opening_balance),
            amount_max: self.amount_max.or(below.amount_max),
            distribution: self.distribution.or(below.distribution),
            zipf_theta: self.zipf_theta.or(below.zipf_theta),
            hot_accounts: self.hot_accounts.or(below.hot_accounts),
            hot_percent: self.hot_percent.or(below.hot_percent),
            hot_on: self.hot_on.or(below.hot_on),
            cross_shard_percent: self.cross_shard_percent.or(below.cross_shard_percent),
            reject_percent: self.reject_percent.or(below.reject_percent),
            max_tries: self.max_tries.or(below.max_tries),
            seats: self.seats.or(below.seats),
            seats_on: self.seats_on.or(below.seats_on),
            think_time: self.think_time.or(below.think_time),
            hold_time: self.hold_time.or(below.hold_time),
            abandon_percent: self.abandon_percent.or(below.abandon_percent),
            shards: if where_ { self.shards } else { below.shards },
            shard: if where_ { self.shard } else { below.shard },
            progress: self.progress.or(below.progress),
            auditor: self.auditor.or(below.auditor),
            log: self.log.or(below.log),
            output: self.output.or(below.output),
            tags,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_higher_layer_wins_and_the_rest_shines_through() {
        let flags = BenchConfig { clients: Some(Values::one(3)), ..BenchConfig::default() };
        let merged = flags.over(BenchConfig::defaults());
        assert_eq!(merged.clients, Some(Values::one(3)));
        assert_eq!(merged.runs, Some(5));
    }

    #[test]
    fn a_count_of_transfers_hides_the_time_below_it() {
        let flags = BenchConfig { transfers: Some(Values::one(100)), ..BenchConfig::default() };
        let merged = flags.over(BenchConfig::defaults());
        assert_eq!((merged.time, merged.transfers), (None, Some(Values::one(100))));
    }

    #[test]
    fn the_defaults_have_no_problem() {
        assert_eq!(problems(&BenchConfig::defaults()), Vec::<String>::new());
    }
}
