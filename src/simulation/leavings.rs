//! What the calls of a scene can leave behind for recovery.
//!
//! Recovery asks every shard for everything. Where no call of a scene, or repeat of one, is of a
//! strategy that leaves such a thing, the answer is that there is none whenever it comes, so the
//! question is not sent: it would only multiply schedules that do not differ.

use crate::strategies::Strategy;

/// What can be left open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Leavings {
    /// Intents.
    pub intents: bool,
    /// Sagas.
    pub sagas: bool,
    /// Events.
    pub events: bool,
    /// Holds.
    pub holds: bool,
}

impl Leavings {
    /// What `strategies` can leave between them.
    pub fn of<'a>(strategies: impl Iterator<Item = &'a Strategy>) -> Self {
        let mut all = Self::default();
        for strategy in strategies {
            match strategy {
                Strategy::SameShard(_)
                | Strategy::TwoPhase(_)
                | Strategy::TwoPhaseLastAgent(_)
                | Strategy::LockNaive(_) => {}
                Strategy::DistributedLocks(_) => all.intents = true,
                Strategy::Saga(_) => all.sagas = true,
                Strategy::SagaChoreographed(_) => all.events = true,
                Strategy::Reservation(_) => all.holds = true,
            }
        }
        all
    }
}
