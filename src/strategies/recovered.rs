//! What recovery did and what it left.

use crate::outcome::{Decision, ShardError};
use crate::transfer::{Epoch, ShardIndex, TransferId};
use crate::verbs::Gid;

/// What one pass did and what it left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Branches committed.
    pub committed: u64,
    /// Branches rolled back.
    pub rolled_back: u64,
    /// Of those, branches of coordinators that were alive: merely slow. The price that timeouts
    /// ask of two-phase commit.
    pub false_aborts: u64,
    /// Branches of live coordinators whose register was asked: recovery and the coordinator raced
    /// for them.
    pub raced: u64,
    /// Young branches, intents and sagas, and unexpired holds, of live coordinators, left alone.
    pub in_flight: u64,
    /// Credits made that intents, sagas or events had promised.
    pub credited: u64,
    /// Debits made good whose targets refused the credit.
    pub refunded: u64,
    /// Holds whose transfers are there now.
    pub confirmed: u64,
    /// Holds given up: expired, or of a dead coordinator.
    pub cancelled: u64,
    /// Intents, sagas, events and holds that stay open because a shard is away or somebody is at it, and
    /// why.
    pub owed: Vec<(TransferId, ShardError)>,
    /// Sagas that were given up after too many attempts, and what the last one met. They wait for an
    /// operator.
    pub given_up: Vec<(TransferId, String)>,
    /// Dead coordinators of whom nothing is left on any shard any more.
    pub closed_epochs: Vec<Epoch>,
    /// Branches that stay prepared because their register is silent, and why.
    pub in_doubt: Vec<(ShardIndex, Gid, ShardError)>,
    /// Branches whose shard did not do what it was told, and why. The next pass sees them again.
    pub unfinished: Vec<(ShardIndex, Gid)>,
    /// Branches on which somebody acted against the verdict.
    pub damage: Vec<(ShardIndex, Gid, Decision)>,
    /// Shards that did not answer.
    pub unreachable: Vec<ShardError>,
}

impl Recovered {
    /// Whether every shard was seen and nothing of a dead coordinator is left on any.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.in_doubt.is_empty()
            && self.owed.is_empty()
            && self.unfinished.is_empty()
            && self.damage.is_empty()
            && self.unreachable.is_empty()
    }

    /// What was done and what was found damaged, without what was left to do.
    #[must_use]
    pub fn done(self) -> Self {
        let (in_flight, owed, given_up) = Default::default();
        let (in_doubt, unfinished, unreachable) = Default::default();
        Self { in_flight, owed, given_up, in_doubt, unfinished, unreachable, ..self }
    }

    /// Adds what another pass, or another shard, did.
    pub fn merge(&mut self, other: Self) {
        self.committed += other.committed;
        self.rolled_back += other.rolled_back;
        self.false_aborts += other.false_aborts;
        self.raced += other.raced;
        self.in_flight += other.in_flight;
        self.credited += other.credited;
        self.refunded += other.refunded;
        self.confirmed += other.confirmed;
        self.cancelled += other.cancelled;
        self.owed.extend(other.owed);
        self.given_up.extend(other.given_up);
        self.closed_epochs.extend(other.closed_epochs);
        self.in_doubt.extend(other.in_doubt);
        self.unfinished.extend(other.unfinished);
        self.damage.extend(other.damage);
        self.unreachable.extend(other.unreachable);
    }
}
