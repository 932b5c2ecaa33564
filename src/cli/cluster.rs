//! Which shards, for every subcommand that works on them; and the flags of `init` and `clean`.

use clap::Args;

use crate::transfer::ClusterId;

/// Which shards.
#[derive(Debug, Args)]
pub struct ShardArguments {
    /// One shard: postgres://USER@HOST:PORT/DATABASE, or 'host=HOST dbname=DATABASE'. Repeat it
    /// for each shard, always in the same order. What is left out comes from PGHOST, PGUSER and
    /// the like, and the password from PGPASSWORD or ~/.pgpass, as for psql; it may not stand
    /// here. Without --shard, SHARDBANK_SHARDS holds the URLs, separated by spaces.
    #[arg(long = "shard", value_name = "URL")]
    pub shards: Vec<String>,
}

/// `init`.
#[derive(Debug, Args)]
pub struct InitArguments {
    /// The shards.
    #[command(flatten)]
    pub shards: ShardArguments,
    /// How many accounts, dealt to the shards in turn.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub accounts: u64,
    /// What each account begins with, in minor units (cents).
    #[arg(long, value_name = "AMOUNT", default_value_t = 1_000_000, allow_negative_numbers = true)]
    pub opening_balance: i64,
    /// Grant this existing role what it needs to run; without it the grants are printed.
    #[arg(long, value_name = "ROLE")]
    pub run_role: Option<String>,
    /// Show no progress.
    #[arg(short, long)]
    pub quiet: bool,
}

/// `clean`.
#[derive(Debug, Args)]
pub struct CleanArguments {
    /// The shards.
    #[command(flatten)]
    pub shards: ShardArguments,
    /// The cluster to remove, instead of typing it when asked.
    #[arg(long, value_name = "UUID")]
    pub cluster_id: Option<ClusterId>,
    /// Only show what would be removed.
    #[arg(long)]
    pub dry_run: bool,
}
