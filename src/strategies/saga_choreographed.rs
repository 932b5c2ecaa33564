//! `saga-choreographed`: two local commits that follow each other by events. Nobody is in charge.
//!
//! ```text
//! caller              shard of the source              relays              shard of the target
//!   | -- leg, debit, DebitCompleted, COMMIT -> |          |                           |
//!   |                 | <------ takes it ---------------- |                           |
//!   |                 |                    | -- leg, credit, CreditCompleted, COMMIT -> |
//!   |                 |                                   | ------- takes it -------> |
//!   |                 | <-- TransferCompleted, COMMIT --- |                           |
//!   | <- woken, or looks |                                                            |
//! ```
//!
//! The rule it keeps: a change and the event that announces it are one local transaction, so no event
//! is lost and none is told of what did not happen; and whoever handles an event writes its leg
//! first, so it takes effect once however often it comes. The caller orders the debit and waits; it
//! decides nothing. The target decides by its leg: applied, or rejected for good, and its answer is
//! written in the same transaction. Only such an answer has the debit refunded; that no answer has
//! come, refunds nothing.
//!
//! ```text
//! TransferStarted -> DebitCompleted -> CreditCompleted | CreditRejected
//!                                      -> TransferCompleted | TransferRefunded
//! ```
//!
//! | the process dies, with its relays | what stands after recovery, or other relays |
//! | --- | --- |
//! | before the debit | nothing |
//! | the debit is made, with its event | both effects: the event is delivered |
//! | the target has credited and answered | both effects: the answer is delivered |
//! | the target has refused and answered | neither: the answer is delivered, the debit refunded |
//! | the transfer's end is written | what it says; the answer is delivered once more, to no effect |
//!
//! Costs: 2 forced flushes, of the debit and of the credit; a batch of credits shares one. 1 round
//! trip of the caller, and a share of what relays send: alone 6, of which 4 are waited for. The money
//! is away from both accounts from the debit to the credit.
//!
//! Sources: Garcia-Molina and Salem 1987 (sagas); Helland 2007 (entities, messages and activities);
//! the transactional outbox (Richardson 2018).

use std::num::NonZeroU32;
use std::time::Duration;

use crate::fail_points::FailPoint;
use crate::outcome::{AbortReason, Attempt, Outcome, Refusal, ShardError, StandingLeg};
use crate::strategies::relay::{self, Relay};
use crate::strategies::{Coordinator, Try, ending, promises};
use crate::transfer::{Branch, IdOrigin, LegKind, Transfer};
use crate::verbs::StrategyVerbs;
use crate::verbs::events::{Event, Happened, RelayTerms, Settled, Standing};

/// The strategy's name.
pub const NAME: &str = "saga-choreographed";

/// How often a shard that is in the way is asked again before the rest is left to relays.
const ASKS: u32 = 5;

/// Two local commits that follow each other by events, and how this process's relays work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SagaChoreographed {
    /// How.
    pub relays: RelayTerms,
}

/// The default size of a batch.
pub const BATCH: NonZeroU32 = NonZeroU32::new(64).expect("it is not 0");
/// How often a relay looks by default that nobody wakes.
pub const POLL: Duration = Duration::from_millis(20);

impl Default for SagaChoreographed {
    fn default() -> Self {
        Self { relays: RelayTerms { batch: BATCH, poll: POLL, notifies: false } }
    }
}

impl Coordinator for SagaChoreographed {
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
        if let Err(error) = verbs.epoch().await {
            return Try::Ended(Outcome::Failed(error));
        }
        verbs.run_beside(Relay(self.relays));

        // Nothing was sent: nothing happened.
        verbs.reached(FailPoint::EventsStarted).await;

        if transfer.origin == IdOrigin::MayBeRepeated {
            match promises::recorded(verbs, transfer).await {
                Ok(None) => {}
                Ok(Some(outcome)) => return Try::Ended(outcome),
                Err(error) => return Try::Ended(Outcome::Failed(error)),
            }
        }
        let debit = transfer.debit(verbs.routing());
        let ticket = verbs.expect_end(transfer.id);
        match verbs.debit_with_event(&debit, NAME).await {
            Attempt::Done => {}
            no => return refused(verbs, &debit, no).await,
        }

        // The debit is made and its event stands: relays, or recovery, carry it on.
        verbs.reached(FailPoint::EventsDebited).await;

        let awaited = verbs.await_end(&debit, &ticket).await;

        // The end is known here, and written where a repeated call finds it.
        verbs.reached(FailPoint::EventsCompleted).await;

        Try::Ended(match awaited.map(|awaited| awaited.settled) {
            Ok(Some(settled)) => outcome_of(settled),
            Ok(None) => Outcome::InDoubt(ShardError {
                shard: debit.shard,
                sqlstate: None,
                message: "the debit is made and relays have not carried it to its end yet"
                    .to_owned(),
            }),
            Err(error) => Outcome::InDoubt(error),
        })
    }
}

/// Ends a try whose debit was not made, or met another.
async fn refused<V: StrategyVerbs>(verbs: &V, debit: &Branch, no: Attempt) -> Try {
    match no {
        Attempt::Rejected(rejection) => {
            // Nothing is written down: the same id may be tried again.
            verbs.reached(FailPoint::EventsRefused).await;

            let refusal = Refusal::Rejected(rejection);
            let outcome = promises::decide_against(verbs, debit, refusal, NAME).await;

            // The refusal is written, not answered: a repeated call gets it.
            verbs.reached(FailPoint::EventsRefusalRecorded).await;
            Try::Ended(outcome)
        }
        // An earlier call, or try, made it or had it refused.
        Attempt::LegStands => promises::met_debit(verbs, debit, NAME).await,
        // The reply was lost. Either the debit ran, and is carried to its end now, or it never will.
        Attempt::Unknown(lost) => {
            let outcome = ending::ask_leg(verbs, debit, lost).await;
            Try::Ended(promises::everywhere(verbs, debit, outcome, NAME).await)
        }
        Attempt::Retry(reason) => Try::Again(reason),
        Attempt::Failed(error) => Try::Ended(Outcome::Failed(error)),
        Attempt::Done | Attempt::DecisionStands => {
            unreachable!("a debit by events is not refused with {no:?}")
        }
    }
}

/// Whether `leg`, which is applied and stands for `branch`, may be all that there is of its
/// transfer.
#[must_use]
pub fn promises_more(leg: &StandingLeg, branch: &Branch) -> bool {
    branch.kind == LegKind::Debit && leg.strategy == NAME
}

/// Carries a transfer whose debit was made by events to its end, for a caller who has met that
/// debit, and answers. No relay is needed, and any number may be at it.
pub async fn keep<V: StrategyVerbs>(verbs: &V, transfer: &Transfer) -> Outcome {
    let debit = transfer.debit(verbs.routing());
    let transfer = Transfer { origin: IdOrigin::MayBeRepeated, ..*transfer };
    let event = Event { transfer, what: Happened::DebitCompleted };
    let mut asked = 1;
    loop {
        let owed = match verbs.read_event(&debit).await {
            Ok(Some((Standing::Settled(settled), _))) => return outcome_of(settled),
            Ok(Some((Standing::Open, good_until))) => {
                match relay::settle(verbs, &[event], good_until).await.as_deref() {
                    Ok([Some(settled)]) => return outcome_of(*settled),
                    Ok(_) => owed(&debit, "its event vanished between two statements"),
                    Err(no) => owed(&debit, &format!("{no:?}")),
                }
            }
            // It was pruned since the leg was read: asked again, the id is a new transfer's.
            Ok(None) => owed(&debit, "its event vanished between two statements"),
            Err(error) => error,
        };
        if asked >= ASKS {
            return Outcome::InDoubt(owed);
        }
        asked += 1;
        verbs.back_off(asked).await;
    }
}

fn owed(debit: &Branch, why: &str) -> ShardError {
    let message = format!("the transfer's end is still owed: {why}");
    ShardError { shard: debit.shard, sqlstate: None, message }
}

const fn outcome_of(settled: Settled) -> Outcome {
    match settled {
        Settled::Completed => Outcome::Committed,
        Settled::Refunded(Refusal::Rejected(why)) => Outcome::Rejected(why),
        Settled::Refunded(Refusal::Aborted(why)) => Outcome::Aborted(why),
    }
}
