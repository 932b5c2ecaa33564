//! The flags of the workload of seats.

use clap::{Args, ValueEnum};

use crate::config::{BenchConfig, SeatsOn, Values, WorkloadName};

/// What is measured, and how seats are sold where that is seats.
#[derive(Debug, Args)]
pub struct SeatArguments {
    /// What is measured [default: transfers]. Under seats --strategy names ways of keeping a seat
    /// while its user thinks: hold-row, reserve, lock (which is lock-lease) and the other lock-…;
    /// --distribution is that of the seats that users prefer, and --hot-accounts counts seats.
    #[arg(long, value_name = "NAME", value_enum)]
    pub workload: Option<Workload>,
    /// Seats of a batch. When nobody sees a free one on a shard, the next batch opens there
    /// [default: 2000].
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub seats: Vec<u64>,
    /// Where seats live: seat n on shard (n − 1) mod count, or all on shard 0 [default:
    /// all-shards].
    #[arg(long, value_name = "WHERE", value_enum)]
    pub seats_on: Option<Spread>,
    /// How long a user thinks before paying, on average, in milliseconds; exponential [default:
    /// 100].
    #[arg(long, value_name = "MS", value_delimiter = ',')]
    pub think_time: Vec<u64>,
    /// How long a seat is kept for a user who does not pay, in milliseconds [default: 1000].
    #[arg(long, value_name = "MS", value_delimiter = ',')]
    pub hold_time: Vec<u64>,
    /// The share of users who walk away without a word once a seat is kept for them, in percent
    /// [default: 5].
    #[arg(long, value_name = "P", value_delimiter = ',')]
    pub abandon_percent: Vec<f64>,
}

/// `--workload`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    /// Transfers between accounts.
    Transfers,
    /// Seats that are looked for, thought about and paid for; no money moves.
    Seats,
}

/// `--seats-on`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Spread {
    /// Dealt to all shards in turn.
    AllShards,
    /// All on shard 0.
    OneShard,
}

impl SeatArguments {
    /// What the flags say, laid over `below`.
    pub(super) fn over(&self, below: BenchConfig) -> BenchConfig {
        let values = |given: &[u64]| Values::several(given.to_vec());
        BenchConfig {
            workload: self.workload.map(|workload| match workload {
                Workload::Transfers => WorkloadName::Transfers,
                Workload::Seats => WorkloadName::Seats,
            }),
            seats: values(&self.seats),
            seats_on: self.seats_on.map(|spread| match spread {
                Spread::AllShards => SeatsOn::AllShards,
                Spread::OneShard => SeatsOn::OneShard,
            }),
            think_time: values(&self.think_time),
            hold_time: values(&self.hold_time),
            abandon_percent: Values::several(self.abandon_percent.clone()),
            ..below
        }
    }
}
