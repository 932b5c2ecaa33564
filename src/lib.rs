//! shardbank: money transfers between accounts on several Postgres servers, by every
//! coordination strategy that engineers argue about, measured and audited.
//!
//! # The map
//!
//! A module uses only modules on lower rows, and nothing on its own row:
//!
//! ```text
//! main          parse, run, print the error, choose the exit code
//! cli           every flag; parses, never acts
//! commands      one file a subcommand: gather, call, print
//! chaos         coordinators in child processes that are killed, shards that are stopped
//! report        files and tables, rendered from figures
//! bench         workload, load, recorder, summary, statistics
//! simulation    an in-memory cluster under a seeded scheduler (test builds)
//! seats         seats that are looked for, thought about and paid for: three ways, and their proof
//! strategies    the protocols, a file each, and recovery     audit   the proof, from the shards
//! prune         old finished transfers, folded into the opening balances
//! locks         distributed locks, a module a service
//! ledger        what the shards hold, a module a table; the storage verbs on Postgres
//! coordination  what outlives a coordinator, a module a table; the decision log as a file
//! shards        where they are, how to get in, pools, what an error means, the schema
//! local         Postgres and lock servers of our own
//! config        a benchmark's configuration
//! verbs, transfer, outcome, fail_points    the vocabulary
//! ```
//!
//! # What holds
//!
//! - What happened to the money is an [`outcome::Outcome`], never an `Err`, and has three kinds:
//!   it did, it did not, nobody knows yet.
//! - The first writer of a transfer's decision decides; nobody infers an outcome from absence.
//! - Every effect inserts its own leg first, in its own transaction.
//! - A verdict is durable before anything is done on its strength.
//! - A connection whose transaction did not end for certain is closed, never used again.
//!
//! # What is deliberately absent
//!
//! No SQL above the storage layers. No clock and no file in `report`. No printing outside `main`
//! and `commands`. No global state. No clap type outside `cli`. Strategies see no address and no
//! pool; `bench` does not know which strategy it drives. `tests/tidy.rs` holds the tree to it.

pub mod audit;
pub mod bench;
pub mod chaos;
pub mod cli;
pub mod commands;
pub mod config;
pub mod coordination;
pub mod fail_points;
pub mod ledger;
pub mod local;
pub mod locks;
pub mod outcome;
pub mod prune;
pub mod report;
pub mod seats;
pub mod shards;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
pub mod strategies;
pub mod transfer;
pub mod verbs;
