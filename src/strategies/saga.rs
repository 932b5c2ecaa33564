//! `saga`: two local commits by an orchestrator with a log, the first made good where the second
//! is refused.
//!
//! ```text
//! orchestrator       shard of the source        shard of the target
//!     | - debit, saga log, COMMIT -> |                  |
//!     | ------------------------------ credit, COMMIT -> |
//!     | - saga completed (lazily) -> |                  |
//!
//!     | ------------------------------ credit? refused - |
//!     | ----------- the refusal as the credit's leg ---> |
//!     | - refund, saga refunded ---> |                  |
//! ```
//!
//! The rule it keeps: the debit comes first, because it is the step that can be compensated; a
//! credit that ran can be spent at once. Every step inserts its own leg first, so doing it twice
//! does it once. And the compensation comes only after the credit's leg is final and not applied:
//! a lost reply proves nothing. The log says what is owed and whose turn it is, and decides
//! nothing, so any number of orchestrators may run, on several machines.
//!
//! | the orchestrator dies | what stands after recovery |
//! | --- | --- |
//! | before the debit | nothing |
//! | debited | both effects: another orchestrator credits |
//! | credited, the saga is open | both effects: the credit's leg stands, the saga is completed |
//! | the target refuses the credit | neither: the refusal is recorded, the debit refunded |
//! | refunded | neither: the refund's leg stands |
//!
//! Costs: 3 round trips, 2 forced flushes and a lazy one. Nothing is locked between the steps, and
//! nothing is isolated: until the credit, everybody sees the money on neither account.
//!
//! Sources: Garcia-Molina and Salem 1987; Helland 2007 (each step a message that may come twice).

use std::time::Duration;

use crate::fail_points::FailPoint;
use crate::outcome::{AbortReason, Attempt, Outcome, Refusal, ShardError};
use crate::strategies::promises::{self, Kept, Promise};
use crate::strategies::recovery::Recovered;
use crate::strategies::{Coordinator, Try, ending};
use crate::transfer::{Branch, Epoch, IdOrigin, ShardIndex, Transfer};
use crate::verbs::StrategyVerbs;
use crate::verbs::saga::{OpenSaga, Owner, SagaState, Turn};

/// The strategy's name.
pub const NAME: &str = "saga";

/// A saga with an orchestrator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Saga;

impl Coordinator for Saga {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn give_up<V: StrategyVerbs>(
        &self,
        verbs: &V,
        transfer: &Transfer,
        reason: AbortReason,
    ) -> Outcome {
        let debit = transfer.debit(verbs.routing());
        promises::decide_against(verbs, &debit, Refusal::Aborted(reason), NAME).await
    }

    async fn try_once<V: StrategyVerbs>(&self, verbs: &V, transfer: &Transfer) -> Try {
        let routing = verbs.routing();
        let (debit, credit) = (transfer.debit(routing), transfer.credit(routing));
        if let Err(error) = verbs.epoch().await {
            return Try::Ended(Outcome::Failed(error));
        }
        let owner = verbs.fresh_owner();

        // Nothing was sent: nothing happened.
        verbs.reached(FailPoint::SagaStarted).await;

        if transfer.origin == IdOrigin::MayBeRepeated {
            match promises::recorded(verbs, transfer).await {
                Ok(None) => {}
                Ok(Some(outcome)) => return Try::Ended(outcome),
                Err(error) => return Try::Ended(Outcome::Failed(error)),
            }
        }
        match verbs.debit_with_saga(&debit, owner, NAME).await {
            Attempt::Done => {}
            Attempt::LegStands => return promises::met_debit(verbs, &debit, NAME).await,
            // The reply was lost. Either the debit ran, and what it owes is done now, or it never
            // will.
            Attempt::Unknown(lost) => {
                let outcome = ending::ask_leg(verbs, &debit, lost).await;
                return Try::Ended(promises::everywhere(verbs, &debit, outcome, NAME).await);
            }
            no => return refused(verbs, &debit, no).await,
        }

        // The debit is made and the saga is open: whoever claims it credits.
        verbs.reached(FailPoint::SagaDebited).await;

        if verbs.credit(&credit, NAME).await != Attempt::Done {
            // Refused, done by somebody else, or nobody knows: this is what anybody does who
            // claims the saga.
            let outcome = promises::answer(verbs, transfer, Promise::Saga, NAME).await;
            if let Outcome::InDoubt(error) = &outcome {
                // Where that fails, its lease runs out.
                let why = error.to_string();
                verbs.postpone_saga(debit.shard, transfer.id, owner, &why).await.ok();
            }
            return Try::Ended(outcome);
        }

        // Both effects are there: whoever claims the saga completes it.
        verbs.reached(FailPoint::SagaCredited).await;

        // It failed where the shard is away; whoever claims the saga completes it.
        verbs.complete_saga(&debit).await.ok();

        // Completed, not answered: a repeated call finds the legs.
        verbs.reached(FailPoint::SagaCompleted).await;
        Try::Ended(Outcome::Committed)
    }
}

/// Ends a try whose debit was refused: no money has moved.
async fn refused<V: StrategyVerbs>(verbs: &V, debit: &Branch, no: Attempt) -> Try {
    match no {
        Attempt::Rejected(rejection) => {
            // Nothing is written down: the same id may be tried again.
            verbs.reached(FailPoint::SagaRefused).await;

            let refusal = Refusal::Rejected(rejection);
            let outcome = promises::decide_against(verbs, debit, refusal, NAME).await;

            // The refusal is written, not answered: a repeated call gets it.
            verbs.reached(FailPoint::SagaRefusalRecorded).await;
            Try::Ended(outcome)
        }
        Attempt::Retry(reason) => Try::Again(reason),
        Attempt::Failed(error) => Try::Ended(Outcome::Failed(error)),
        Attempt::Done | Attempt::LegStands | Attempt::Unknown(_) | Attempt::DecisionStands => {
            unreachable!("a saga's debit is not refused with {no:?}")
        }
    }
}

/// Drives the sagas of a shard that nobody else drives, each to its end or until it has to wait.
pub async fn resume<V: StrategyVerbs>(
    verbs: &V,
    shard: ShardIndex,
    owner: Owner,
    dead: &[Epoch],
    grace: Duration,
    recovered: &mut Recovered,
) {
    let sagas = match verbs.claim_sagas(shard, owner, dead, grace).await {
        Ok(sagas) => sagas,
        Err(error) => {
            recovered.unreachable.push(error);
            return;
        }
    };
    if sagas.iter().any(|saga| saga.turn == Turn::Ours) {
        // Claimed and not driven: once this owner is dead, or its lease is over, another claims.
        verbs.reached(FailPoint::RecoverySagasClaimed).await;
    }
    for OpenSaga { transfer, state, turn, last_error, .. } in sagas {
        let promise = match (state, turn) {
            (SagaState::Dead, _) => {
                recovered.given_up.push((transfer.id, last_error.unwrap_or_default()));
                continue;
            }
            (_, Turn::Anothers) => {
                recovered.in_flight += 1;
                continue;
            }
            (_, Turn::NotYet) => {
                let message =
                    format!("waits to be tried again: {}", last_error.unwrap_or_default());
                let error = ShardError { shard, sqlstate: None, message };
                recovered.owed.push((transfer.id, error));
                continue;
            }
            (SagaState::Compensating, Turn::Ours) => Promise::Compensation,
            (_, Turn::Ours) => Promise::Saga,
        };
        match promises::keep(verbs, &transfer, promise, promises::ON_BEHALF).await {
            Kept::Credited => recovered.credited += 1,
            Kept::Refunded(_) => recovered.refunded += 1,
            Kept::Owed(error) => {
                let why = error.to_string();
                // Where that fails, the claim's lease runs out.
                verbs.postpone_saga(shard, transfer.id, owner, &why).await.ok();
                recovered.owed.push((transfer.id, error));
            }
        }
    }
}
