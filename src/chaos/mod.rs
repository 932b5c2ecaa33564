//! Faults on purpose: a coordinator under load is killed at any instant, or a shard is stopped as
//! by a crash, and then everything must be whole again, within seconds.
//!
//! A cycle is always the same: load, a fault at a seeded random instant, recovery by a new
//! process until nothing of the dead coordinator is left, the audit of shards at rest, and the
//! comparison of what callers were told with what the ledger says. The load comes from a child
//! process ([`worker`]) that writes what it is about to order, and what it was answered, into a
//! history ([`history`]) that outlives it. The seed repeats the schedule of faults and orders, not
//! how real servers interleave them.
//!
//! A cycle in which the fault hit nothing proves nothing; the [`tally`] counts how many did.
//!
//! Absent: printing, and any fault on servers or processes that were not started here.

pub mod beside;
pub mod error;
pub mod ground;
pub mod history;
pub mod kill;
pub mod restart;
pub mod tally;
pub mod tool;
pub mod victim;
pub mod worker;

use std::path::PathBuf;

pub use error::ChaosError;

use crate::strategies::Strategy;

/// What the load runs by default: every protocol, every place for its decision, both moments of
/// the answer.
pub const MIX: &[&str] = &[
    "same-shard",
    "2pc",
    "2pc:log=file",
    "2pc:statements=one-by-one",
    "2pc:ack=early",
    "2pc:log=file,ack=early",
    "2pc-last-agent",
    "2pc-last-agent:ack=early",
    "lock-lease",
    "saga",
    "reservation",
    "reservation:confirm=lazy",
    "saga-choreographed",
];

/// What every scenario needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How many accounts the load uses.
    pub accounts: u64,
    /// How many transfers are in flight at a time.
    pub clients: u32,
    /// How many shards to start.
    pub shards: u16,
    /// Where all chance comes from.
    pub seed: u64,
    /// What the load runs, by name.
    pub strategies: Vec<Strategy>,
    /// Where to keep the servers and histories of a run that fails; without it they go in any
    /// case.
    pub directory: Option<PathBuf>,
    /// The directory of Postgres' binaries, where they are not to be looked for.
    pub binaries: Option<PathBuf>,
}
