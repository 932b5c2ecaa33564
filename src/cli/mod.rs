//! Every flag of the command line. Parses; never acts. No other module sees a type of clap's,
//! but for `commands`, which is handed the parsed arguments.

pub mod bench;
pub mod chaos;
pub mod cluster;
pub mod local;
pub mod locks;
pub mod operate;
pub mod prune;
pub mod seats;

use clap::{Parser, Subcommand};

/// Money transfers across Postgres shards, by every coordination strategy, measured and audited.
#[derive(Debug, Parser)]
#[command(name = "shardbank", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measure strategies under load, and prove afterwards that no money was made or lost.
    Bench(Box<bench::BenchCommand>),
    /// Print the configuration that `bench` would run with, as a file that it reads.
    Config(Box<bench::BenchArguments>),
    /// Local Postgres servers that stay between commands.
    Local(local::LocalArguments),
    /// Make a cluster on the shards: the tables, and accounts with money.
    Init(cluster::InitArguments),
    /// Remove a cluster from the shards, once it was shown and its id typed.
    Clean(cluster::CleanArguments),
    /// Carry out one transfer and explain each step.
    Transfer(Box<operate::TransferArguments>),
    /// Finish what dead coordinators left.
    Recover(operate::RecoverArguments),
    /// Show what is in flight and what it blocks.
    Status(operate::StatusArguments),
    /// Prove that no money was made or lost.
    Audit(operate::AuditArguments),
    /// Kill coordinators and stop shards under load, on servers of its own, and prove that nothing
    /// is lost.
    Chaos(chaos::ChaosArguments),
    /// Fold old finished transfers into the opening balances; their ids are forgotten.
    Prune(prune::PruneArguments),
}
