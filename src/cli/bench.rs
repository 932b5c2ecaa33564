//! The flags of `bench` and `config`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::cluster::ShardArguments;
use super::local::PostgresBinaries;
use super::locks::LockArguments;
use super::operate::CoordinatorArguments;
use super::seats::SeatArguments;
use crate::config::{BenchConfig, Distribution, HotOn, Values};
use crate::strategies::name::split_list;

/// `bench` and `config`. Whatever a flag leaves open is taken from the file, then from the
/// defaults. Ranges are checked where all layers are known.
#[derive(Debug, Args)]
pub struct BenchArguments {
    /// The shards; without any, local servers are started for as long as the benchmark runs.
    /// What is measured is emptied again: the ledger of these shards is lost.
    #[command(flatten)]
    pub shards: ShardArguments,
    /// How many local servers to start, where no shard is given [default: 2].
    #[arg(long = "shards", value_name = "N", value_delimiter = ',', conflicts_with = "shards")]
    pub local_shards: Vec<u16>,
    /// Read what no flag says from this TOML file (see bench-configs/).
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A strategy: same-shard, 2pc, 2pc-last-agent, lock-advisory, lock-lease, lock-redis,
    /// lock-etcd, lock-zookeeper, saga-choreographed, or lock-naive (unsafe, to show what is lost);
    /// with options as in 2pc:log=file,statements=one-by-one. Several with commas, or repeated; all
    /// is every safe one whose servers are found [default: the first three].
    #[arg(long = "strategy", value_name = "STRATEGY")]
    pub strategies: Vec<String>,
    /// The strategy that the others are compared with [default: same-shard, or the first].
    #[arg(long, value_name = "STRATEGY")]
    pub reference: Option<String>,
    /// Clients at a time. This and most other numbers also take a list, as in 1,8,32: then every
    /// combination is run [default: 16].
    #[arg(short, long, value_name = "N", value_delimiter = ',')]
    pub clients: Vec<u32>,
    /// Threads that the clients are dealt to [default: one a processor].
    #[arg(short, long, value_name = "N", value_delimiter = ',')]
    pub jobs: Vec<u32>,
    /// Seconds that a run is measured [default: 5].
    #[arg(
        short = 'T',
        long,
        value_name = "S",
        value_delimiter = ',',
        conflicts_with = "transfers"
    )]
    pub time: Vec<f64>,
    /// Transfers of each client, instead of a time.
    #[arg(short, long, value_name = "N", value_delimiter = ',')]
    pub transfers: Vec<u64>,
    /// Seconds of load before a run that are not measured [default: 1].
    #[arg(short, long, value_name = "S", value_delimiter = ',')]
    pub warmup: Vec<f64>,
    /// How often each strategy runs [default: 5].
    #[arg(long, value_name = "N")]
    pub runs: Option<u32>,
    /// Where all chance comes from: the same seed orders the same transfers [default: drawn, and
    /// printed].
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub seed: Vec<u64>,
    /// Accounts that transfers are drawn from [default: 10000].
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub accounts: Vec<u64>,
    /// How accounts are picked [default: uniform].
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_enum)]
    pub distribution: Vec<DistributionName>,
    /// The exponent of zipfian; may be 1 or more [default: 0.99].
    #[arg(long, value_name = "THETA", value_delimiter = ',')]
    pub zipf_theta: Vec<f64>,
    /// How many accounts of hotspot are hot [default: 10].
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub hot_accounts: Vec<u64>,
    /// The share of draws that they take, in percent [default: 90].
    #[arg(long, value_name = "P", value_delimiter = ',')]
    pub hot_percent: Vec<f64>,
    /// Which end of a transfer the distribution is for [default: both].
    #[arg(long, value_name = "END", value_enum)]
    pub hot_on: Option<HotEnd>,
    /// The share of transfers between two shards, in percent [default: 100].
    #[arg(long, value_name = "P", value_delimiter = ',')]
    pub cross_shard_percent: Vec<f64>,
    /// The share of transfers that must be refused, in percent: half of them order more than
    /// there is, half pay an account that is closed for the run, beyond the drawn ones; 100 such
    /// accounts are needed on each shard [default: 0].
    #[arg(long, value_name = "P", value_delimiter = ',')]
    pub reject_percent: Vec<f64>,
    /// Amounts are drawn from 1 to this, in minor units [default: 100].
    #[arg(long, value_name = "AMOUNT", value_delimiter = ',')]
    pub amount_max: Vec<u64>,
    /// What accounts of local servers begin with, in minor units [default: 1000000].
    #[arg(long, value_name = "AMOUNT")]
    pub opening_balance: Option<u64>,
    /// How often a transfer is tried before it is given up [default: 10].
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub max_tries: Vec<u32>,
    /// Print a line of progress every so many seconds.
    #[arg(short = 'P', long, value_name = "S")]
    pub progress: Option<f64>,
    /// Let nobody look on. Without this an auditor with connections of its own reads the legs of
    /// young transfers during each run, about 25 times a second, and counts those of which only
    /// half is visible.
    #[arg(long)]
    pub no_auditor: bool,
    /// Write every transfer to transfers.csv.
    #[arg(short, long)]
    pub log: bool,
    /// A short name for this benchmark: part of its folder's [default: bench].
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Words of your own for the results, as KEY=VALUE. Repeat it for each.
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = tag)]
    pub tags: Vec<(String, String)>,
    /// The folder in which the folder of the results is made [default: results].
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<String>,
    /// What is measured.
    #[command(flatten)]
    pub seats: SeatArguments,
    /// How to coordinate.
    #[command(flatten)]
    pub coordinator: CoordinatorArguments,
    /// Who grants locks.
    #[command(flatten)]
    pub locks: LockArguments,
    /// Which Postgres to start.
    #[command(flatten)]
    pub binaries: PostgresBinaries,
}

/// Where results go beside their folder.
#[derive(Debug, Args)]
pub struct ExportArguments {
    /// Write summary.csv to this file as well.
    #[arg(long, value_name = "FILE")]
    pub export_csv: Option<PathBuf>,
    /// Write run.json to this file as well.
    #[arg(long, value_name = "FILE")]
    pub export_json: Option<PathBuf>,
    /// Write report.md to this file as well.
    #[arg(long, value_name = "FILE")]
    pub export_markdown: Option<PathBuf>,
    /// Show no progress, only the table.
    #[arg(short, long)]
    pub quiet: bool,
}

/// `bench`.
#[derive(Debug, Args)]
pub struct BenchCommand {
    /// What to run.
    #[command(flatten)]
    pub bench: BenchArguments,
    /// Where results go.
    #[command(flatten)]
    pub export: ExportArguments,
}

/// `--distribution`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DistributionName {
    /// All accounts alike.
    Uniform,
    /// The r-th account in proportion to 1/r^theta.
    Zipfian,
    /// A few accounts take a fixed share.
    Hotspot,
}

/// `--hot-on`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HotEnd {
    /// The account that pays.
    Source,
    /// The account that is paid.
    Target,
    /// Both.
    Both,
}

impl BenchArguments {
    /// What the flags say, as the uppermost layer of a configuration.
    #[must_use]
    pub fn layer(&self) -> BenchConfig {
        let distributions = self.distribution.iter().map(|name| match name {
            DistributionName::Uniform => Distribution::Uniform,
            DistributionName::Zipfian => Distribution::Zipfian,
            DistributionName::Hotspot => Distribution::Hotspot,
        });
        self.seats.over(BenchConfig {
            name: self.name.clone(),
            strategies: (!self.strategies.is_empty())
                .then(|| self.strategies.iter().flat_map(|list| split_list(list)).collect()),
            reference: self.reference.clone(),
            runs: self.runs,
            seed: values(&self.seed),
            time: values(&self.time),
            transfers: values(&self.transfers),
            warmup: values(&self.warmup),
            clients: values(&self.clients),
            jobs: values(&self.jobs),
            accounts: values(&self.accounts),
            opening_balance: self.opening_balance,
            amount_max: values(&self.amount_max),
            distribution: Values::several(distributions.collect()),
            zipf_theta: values(&self.zipf_theta),
            hot_accounts: values(&self.hot_accounts),
            hot_percent: values(&self.hot_percent),
            hot_on: self.hot_on.map(|end| match end {
                HotEnd::Source => HotOn::Source,
                HotEnd::Target => HotOn::Target,
                HotEnd::Both => HotOn::Both,
            }),
            cross_shard_percent: values(&self.cross_shard_percent),
            reject_percent: values(&self.reject_percent),
            max_tries: values(&self.max_tries),
            shards: values(&self.local_shards),
            shard: (!self.shards.shards.is_empty()).then(|| self.shards.shards.clone()),
            progress: self.progress,
            auditor: self.no_auditor.then_some(false),
            log: self.log.then_some(true),
            output: self.output.clone(),
            tags: self.tags.iter().cloned().collect(),
            ..BenchConfig::default()
        })
    }
}

fn values<T: Clone>(given: &[T]) -> Option<Values<T>> {
    Values::several(given.to_vec())
}

fn tag(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a tag is KEY=VALUE")?;
    if key.trim().is_empty() {
        return Err("a tag is KEY=VALUE, and its key is not empty".to_owned());
    }
    Ok((key.trim().to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn layer(flags: &str) -> BenchConfig {
        let words = ["shardbank", "bench"].into_iter().chain(flags.split_whitespace());
        match Cli::try_parse_from(words).expect(flags).command {
            Command::Bench(command) => command.bench.layer(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn no_flag_says_nothing() {
        assert_eq!(layer(""), BenchConfig::default());
    }

    #[test]
    fn flags_are_pgbenchs_and_take_lists() {
        let config = layer("-c 1,8 -j 2 -T 3 -w 0 -P 1 -l --distribution hotspot --tag a=b=c");
        assert_eq!(config.clients, Values::several(vec![1, 8]));
        assert_eq!(config.time, Some(Values::one(3.0)));
        assert_eq!(config.distribution, Some(Values::one(Distribution::Hotspot)));
        assert_eq!((config.log, config.progress), (Some(true), Some(1.0)));
        assert_eq!(config.tags.get("a").map(String::as_str), Some("b=c"));
    }

    #[test]
    fn a_strategy_keeps_the_commas_of_its_options() {
        let config = layer("--strategy 2pc:log=file,ack=early --strategy same-shard");
        let strategies = config.strategies.expect("given");
        assert_eq!(strategies, ["2pc:log=file,ack=early", "same-shard"]);
    }

    #[test]
    fn local_servers_and_given_shards_exclude_each_other() {
        let words = ["shardbank", "bench", "--shards", "2", "--shard", "postgres://h/d"];
        assert!(Cli::try_parse_from(words).is_err());
    }
}
