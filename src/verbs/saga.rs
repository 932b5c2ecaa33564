//! The vocabulary of sagas: the saga log, what it says, and what may happen to it.
//!
//! A saga's log row is written in its debit's own transaction. It names whose turn it is and what
//! is owed; it never decides: whether the credit ran is what the credit's leg says. So two
//! orchestrators that both take a saga for theirs do no harm, and the owner in its row only saves
//! them from doing the same work.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use crate::outcome::{Attempt, ShardError};
use crate::transfer::{Branch, Epoch, ShardIndex, Transfer, TransferId};
use crate::verbs::Verbs;

/// How long a saga is its owner's, unless its owner dies.
pub const LEASE: Duration = Duration::from_secs(10);

/// After as many claims that came to nothing a saga is given up: it waits for an operator.
pub const ATTEMPTS_MAX: u32 = 10;

/// How far a saga is, as its log says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SagaState {
    /// The debit is made and the credit is owed.
    Debited,
    /// Nobody is to credit any more: a refund is owed, unless the credit is there already.
    Compensating,
    /// Both effects are there.
    Completed,
    /// The debit was made good.
    Refunded,
    /// Given up after too many attempts. The money is accounted for; an operator says how it ends.
    Dead,
}

/// What happens to a saga.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SagaEvent {
    /// The credit is there.
    Credited,
    /// The debit was made good.
    Refunded,
    /// Too many attempts came to nothing.
    GaveUp,
    /// An operator wants the credit tried again.
    Retried,
    /// An operator wants the debit made good.
    CompensationOrdered,
}

/// An event that a saga in this state cannot have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a saga that is {} cannot be {event:?}", state.name())]
pub struct IllegalTransition {
    /// How far the saga is.
    pub state: SagaState,
    /// What was to happen to it.
    pub event: SagaEvent,
}

impl SagaState {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Debited, Self::Compensating, Self::Completed, Self::Refunded, Self::Dead];

    /// As the `saga` table spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Debited => "debited",
            Self::Compensating => "compensating",
            Self::Completed => "completed",
            Self::Refunded => "refunded",
            Self::Dead => "dead",
        }
    }

    /// The state spelt `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// The state after `event`.
    ///
    /// # Errors
    /// It cannot happen in this state.
    pub const fn on(self, event: SagaEvent) -> Result<Self, IllegalTransition> {
        match (self, event) {
            // Another call with the same id may finish what was given up.
            (Self::Debited | Self::Compensating | Self::Dead, SagaEvent::Credited) => {
                Ok(Self::Completed)
            }
            (Self::Debited | Self::Compensating | Self::Dead, SagaEvent::Refunded) => {
                Ok(Self::Refunded)
            }
            (Self::Debited | Self::Compensating, SagaEvent::GaveUp) => Ok(Self::Dead),
            (Self::Dead, SagaEvent::Retried) => Ok(Self::Debited),
            (Self::Dead, SagaEvent::CompensationOrdered) => Ok(Self::Compensating),
            (Self::Completed | Self::Refunded, _)
            | (Self::Dead, SagaEvent::GaveUp)
            | (
                Self::Debited | Self::Compensating,
                SagaEvent::Retried | SagaEvent::CompensationOrdered,
            ) => Err(IllegalTransition { state: self, event }),
        }
    }
}

/// One claim of one saga by one orchestrator. A fresh one for each, so that nobody writes under
/// another's, or under an earlier one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The process; 0, which no process has, while shard 0 is away and it has none.
    pub epoch: Epoch,
    /// A number that it never gave before.
    pub attempt: u64,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.attempt)
    }
}

/// A saga that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenSaga {
    /// The transfer.
    pub transfer: Transfer,
    /// How far it is.
    pub state: SagaState,
    /// How often it has been claimed.
    pub attempts: u32,
    /// Whose it is.
    pub turn: Turn,
    /// What the last attempt came to.
    pub last_error: Option<String>,
}

/// Whose turn a saga is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Turn {
    /// It was claimed by this call.
    Ours,
    /// A living orchestrator's.
    Anothers,
    /// Nobody's until its next attempt is due, or, where it is dead, until an operator says so.
    NotYet,
}

/// What strategies by steps and compensations ask of shards, beside [`Verbs`].
pub trait SagaVerbs: Verbs {
    /// The name of a claim that this process makes now.
    fn fresh_owner(&self) -> Owner;

    /// Debits the source and writes the saga's log row, in one local transaction.
    fn debit_with_saga(
        &self,
        debit: &Branch,
        owner: Owner,
        strategy: &'static str,
    ) -> impl Future<Output = Attempt> + Send;

    /// The credit with its leg, in one local transaction.
    fn credit(
        &self,
        credit: &Branch,
        strategy: &'static str,
    ) -> impl Future<Output = Attempt> + Send;

    /// Gives the source of `debit` back what was debited, once, and ends the saga where there is
    /// one. To be asked for only once the credit's leg stands and is not applied.
    fn refund_debit(
        &self,
        debit: &Branch,
        strategy: &'static str,
    ) -> impl Future<Output = Attempt> + Send;

    /// Notes that the credit is there. Nothing relies on it, so it is not waited for until it is
    /// durable: a saga that is open again is finished again, to no effect.
    ///
    /// # Errors
    /// The shard did not answer.
    fn complete_saga(&self, debit: &Branch) -> impl Future<Output = Result<(), ShardError>> + Send;

    /// Claims the sagas of a shard that nobody drives: those whose next attempt is due and whose
    /// owner is none, is one of `dead`, has not been heard of for [`LEASE`], or claimed them
    /// longer than `grace` ago. Returns all that are open, each with whose turn it is.
    ///
    /// # Errors
    /// The shard did not answer; some may be claimed.
    fn claim_sagas(
        &self,
        shard: ShardIndex,
        owner: Owner,
        dead: &[Epoch],
        grace: Duration,
    ) -> impl Future<Output = Result<Vec<OpenSaga>, ShardError>> + Send;

    /// Lets go of a saga that `owner` has claimed: somebody is to try again later or, after
    /// [`ATTEMPTS_MAX`] claims, nobody before an operator says so.
    ///
    /// # Errors
    /// The shard did not answer.
    fn postpone_saga(
        &self,
        shard: ShardIndex,
        transfer: TransferId,
        owner: Owner,
        why: &str,
    ) -> impl Future<Output = Result<(), ShardError>> + Send;
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [SagaEvent; 5] = [
        SagaEvent::Credited,
        SagaEvent::Refunded,
        SagaEvent::GaveUp,
        SagaEvent::Retried,
        SagaEvent::CompensationOrdered,
    ];

    #[test]
    fn a_saga_that_has_ended_has_no_future() {
        for state in [SagaState::Completed, SagaState::Refunded] {
            for event in EVENTS {
                assert_eq!(state.on(event), Err(IllegalTransition { state, event }));
            }
        }
    }

    #[test]
    fn what_was_given_up_is_driven_again_only_on_an_operators_word() {
        let driven = [SagaState::Debited, SagaState::Compensating];
        let events = EVENTS
            .into_iter()
            .filter(|event| SagaState::Dead.on(*event).is_ok_and(|state| driven.contains(&state)));
        let events: Vec<SagaEvent> = events.collect();
        assert_eq!(events, [SagaEvent::Retried, SagaEvent::CompensationOrdered]);
    }

    #[test]
    fn every_state_is_found_by_its_name() {
        for state in SagaState::ALL {
            assert_eq!(SagaState::from_name(state.name()), Some(state));
        }
    }
}
