//! The flags of `chaos`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::cluster::ShardArguments;
use super::local::PostgresBinaries;
use super::operate::CoordinatorArguments;
use crate::local::{DEFAULT_SHARDS, MAX_SHARDS};

/// `chaos`.
#[derive(Debug, Args)]
pub struct ChaosArguments {
    /// Which fault.
    #[command(subcommand)]
    pub scenario: ChaosScenario,
}

/// Which fault.
#[derive(Debug, Subcommand)]
pub enum ChaosScenario {
    /// kill -9 of a coordinator under load at random instants; each time recover and audit.
    Kill {
        /// How often.
        #[arg(long, value_name = "N", default_value_t = 10)]
        cycles: usize,
        /// The load and where it runs.
        #[command(flatten)]
        load: ChaosLoad,
    },
    /// Immediate stop and restart of one shard under load; each time recover and audit.
    Restart {
        /// How often.
        #[arg(long, value_name = "N", default_value_t = 10)]
        cycles: usize,
        /// The load and where it runs.
        #[command(flatten)]
        load: ChaosLoad,
    },
    /// Recovery every second beside coordinators that are alive: wrong decisions, false aborts,
    /// cost.
    RecoverBeside {
        /// For how long, in seconds: without recovery, with it and no grace, with it and 5 s of
        /// grace, each.
        #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
        seconds: u64,
        /// The load and where it runs.
        #[command(flatten)]
        load: ChaosLoad,
    },
    /// Order transfers until standard input closes. Started by the tool itself.
    #[command(hide = true)]
    Worker(WorkerArguments),
}

/// The load and where it runs.
#[derive(Debug, Args)]
pub struct ChaosLoad {
    /// Accounts that transfers are drawn from; few of them make clients wait for each other.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(4..=10_000_000))]
    pub accounts: u64,
    /// Transfers in flight at a time.
    #[arg(short, long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub clients: u32,
    /// How many local servers to start.
    #[arg(long = "shards", value_name = "N", default_value_t = DEFAULT_SHARDS, value_parser = clap::value_parser!(u16).range(2..=i64::from(MAX_SHARDS)))]
    pub shards: u16,
    /// Where all chance comes from: repeats the schedule of orders and faults [default: drawn,
    /// and printed].
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// What the load runs, with commas or repeated [default: all strategies, with either log,
    /// either answer].
    #[arg(long = "strategy", value_name = "STRATEGY")]
    pub strategies: Vec<String>,
    /// A directory for the servers, which are left there where the run fails.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// The binaries to use.
    #[command(flatten)]
    pub binaries: PostgresBinaries,
}

/// `chaos worker`.
#[derive(Debug, Args)]
pub struct WorkerArguments {
    /// The shards.
    #[command(flatten)]
    pub shards: ShardArguments,
    /// Accounts that transfers are drawn from.
    #[arg(long)]
    pub accounts: u64,
    /// Transfers in flight at a time.
    #[arg(long)]
    pub clients: u32,
    /// Where all chance comes from.
    #[arg(long)]
    pub seed: u64,
    /// What it runs.
    #[arg(long = "strategy")]
    pub strategies: Vec<String>,
    /// Where it writes down what it orders and is told.
    #[arg(long)]
    pub history: PathBuf,
    /// Recover as well, every second.
    #[arg(long)]
    pub recovers: bool,
    /// How to coordinate.
    #[command(flatten)]
    pub coordinator: CoordinatorArguments,
}
