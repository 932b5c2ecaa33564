//! What strategies share that make the debit first and owe the credit: those under locks, and
//! sagas. (One by events shares its refusals; its promise is an event, which relays keep.)
//!
//! A debit that is made is a promise: credit the target, or refund the source. It is kept by
//! whoever finds it open: the next holder of a lock, another orchestrator, recovery, a repeated
//! call of whatever strategy, or its own writer when the credit did not go through at once. Any
//! number may be at it together. The credit's leg decides between them: applied, it is done;
//! recorded as refused, entombed, or another order's under the same id, the debit is refunded, once.
//! A refund comes only after the credit's leg is there and is not this credit applied.

use crate::fail_points::FailPoint;
use crate::outcome::{
    AbortReason, Attempt, LegOutcome, Outcome, Refusal, Rejection, ShardError, StandingLeg,
    Tombstone,
};
use crate::strategies::{LockServiceName, Try, ending, saga, saga_choreographed};
use crate::transfer::{Branch, LegKind, Transfer};
use crate::verbs::StrategyVerbs;

/// How often a shard that is in the way is asked again before the rest is left to recovery.
const ASKS: u32 = 5;

/// What a leg is recorded under by whoever keeps the promise of a strategy that is not its own.
pub const ON_BEHALF: &str = "recovery";

/// What stands behind a debit that is made, and so how its promise is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// An intent: whoever keeps it brings a fence above the one that stands.
    Intent,
    /// A saga, which knows no fences.
    Saga,
    /// A saga that an operator wants compensated: nobody is to credit any more.
    Compensation,
}

impl Promise {
    /// What `strategy` leaves with a debit, if it makes that first.
    #[must_use]
    pub fn of(strategy: &str) -> Option<Self> {
        let is_lock = |service: &LockServiceName| service.strategy() == strategy;
        if LockServiceName::ALL.iter().any(is_lock) {
            Some(Self::Intent)
        } else if strategy == saga::NAME {
            Some(Self::Saga)
        } else {
            None
        }
    }
}

/// Whether no register binds `leg`: it was written by a strategy that makes the debit first, or to
/// keep the promise of one.
#[must_use]
pub fn asks_no_register(leg: &StandingLeg) -> bool {
    leg.strategy == ON_BEHALF
        || leg.strategy == saga_choreographed::NAME
        || Promise::of(&leg.strategy).is_some()
}

/// The promise that `leg`, which is applied and stands for `branch`, may be all that there is of:
/// of two effects, the debit is made first.
#[must_use]
pub fn behind(leg: &StandingLeg, branch: &Branch) -> Option<Promise> {
    Promise::of(&leg.strategy).filter(|_| branch.kind == LegKind::Debit)
}

/// What became of a promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// Both effects are there.
    Credited,
    /// Neither is, any more: the target refused.
    Refunded(Refusal),
    /// Still owed: a shard is away, or somebody is at it.
    Owed(ShardError),
}

/// Keeps the promise behind the debit of `transfer`, which is made.
pub async fn keep<V: StrategyVerbs>(
    verbs: &V,
    transfer: &Transfer,
    promise: Promise,
    strategy: &'static str,
) -> Kept {
    let routing = verbs.routing();
    let (debit, credit) = (transfer.debit(routing), transfer.credit(routing));
    let mut asked = 1;
    let refusal = loop {
        match settle(verbs, &credit, promise, strategy).await {
            Ok(refusal) => break refusal,
            Err(error) if asked >= ASKS => return Kept::Owed(error),
            Err(_) => {
                asked += 1;
                verbs.back_off(asked).await;
            }
        }
    };
    let Some(refusal) = refusal else {
        // Both effects are there. It failed where the shard is away; recovery notes it.
        match promise {
            Promise::Intent => verbs.close_intent(&debit).await.ok(),
            Promise::Saga | Promise::Compensation => verbs.complete_saga(&debit).await.ok(),
        };
        return Kept::Credited;
    };

    // The credit never will run and the debit is not made good yet: recovery refunds it.
    verbs.reached(FailPoint::PromiseCreditRefused).await;

    let refunded = match promise {
        Promise::Intent => verbs.refund(&debit, strategy).await,
        Promise::Saga | Promise::Compensation => verbs.refund_debit(&debit, strategy).await,
    };
    match refunded {
        // A refund's leg that stands was written with the end of its promise.
        Attempt::Done | Attempt::LegStands => {
            // The debit is made good, nobody was answered: a repeated call finds the legs.
            verbs.reached(FailPoint::PromiseRefunded).await;
            Kept::Refunded(refusal)
        }
        Attempt::Failed(error) | Attempt::Unknown(error) => Kept::Owed(error),
        no => Kept::Owed(owed(&credit, &format!("the refund: {no:?}"))),
    }
}

/// Credits, or learns that it never will be: nothing where the credit is there, else why it is not.
async fn settle<V: StrategyVerbs>(
    verbs: &V,
    credit: &Branch,
    promise: Promise,
    strategy: &'static str,
) -> Result<Option<Refusal>, ShardError> {
    let attempt = match promise {
        Promise::Intent => verbs.credit_intended(credit, strategy).await,
        Promise::Saga => verbs.credit(credit, strategy).await,
        Promise::Compensation => return entomb(verbs, credit).await,
    };
    match attempt {
        Attempt::Done => Ok(None),
        Attempt::LegStands => standing(verbs, credit).await,
        Attempt::Rejected(why) => refuse(verbs, credit, why, strategy).await,
        Attempt::Retry(why) => Err(owed(credit, why.name())),
        Attempt::DecisionStands => unreachable!("a credit asks for no decision"),
        Attempt::Failed(error) | Attempt::Unknown(error) => Err(error),
    }
}

/// Keeps the promise and answers the caller.
pub async fn answer<V: StrategyVerbs>(
    verbs: &V,
    transfer: &Transfer,
    promise: Promise,
    strategy: &'static str,
) -> Outcome {
    match keep(verbs, transfer, promise, strategy).await {
        Kept::Credited => Outcome::Committed,
        Kept::Refunded(Refusal::Rejected(why)) => Outcome::Rejected(why),
        Kept::Refunded(Refusal::Aborted(why)) => Outcome::Aborted(why),
        // The promise stands: it will be credited or refunded.
        Kept::Owed(error) => Outcome::InDoubt(error),
    }
}

/// What the credit's leg says.
async fn standing<V: StrategyVerbs>(
    verbs: &V,
    credit: &Branch,
) -> Result<Option<Refusal>, ShardError> {
    match verbs.read_leg(credit.shard, credit.transfer.id, credit.kind).await? {
        Some(leg) => refusal_of(credit, &leg),
        None => Err(owed(credit, "the credit's leg vanished between two statements")),
    }
}

/// Records that the target refuses, so that no late credit runs; returns what then stands.
async fn refuse<V: StrategyVerbs>(
    verbs: &V,
    credit: &Branch,
    why: Rejection,
    strategy: &'static str,
) -> Result<Option<Refusal>, ShardError> {
    let refusal = Refusal::Rejected(why);
    final_leg(credit, verbs.record_refusal(credit, refusal, strategy).await?, refusal)
}

/// Makes sure that no credit runs any more; returns what then stands.
async fn entomb<V: StrategyVerbs>(
    verbs: &V,
    credit: &Branch,
) -> Result<Option<Refusal>, ShardError> {
    let placed = verbs.entomb(credit.shard, credit.transfer.id, credit.kind).await?;
    final_leg(credit, placed, Refusal::Aborted(AbortReason::Superseded))
}

fn final_leg(
    credit: &Branch,
    placed: Tombstone,
    refusal: Refusal,
) -> Result<Option<Refusal>, ShardError> {
    match placed {
        Tombstone::Placed => Ok(Some(refusal)),
        Tombstone::Stands(leg) => refusal_of(credit, &leg),
        Tombstone::InFlight => Err(owed(credit, "somebody else credits it")),
    }
}

fn refusal_of(credit: &Branch, leg: &StandingLeg) -> Result<Option<Refusal>, ShardError> {
    match leg.outcome {
        // It is another order's, under the same id: this credit never will run.
        LegOutcome::Applied | LegOutcome::Rejected(_) if !leg.agrees_with(credit) => {
            Ok(Some(Refusal::Aborted(AbortReason::Superseded)))
        }
        LegOutcome::Applied => Ok(None),
        LegOutcome::Rejected(refusal) => Ok(Some(refusal)),
        LegOutcome::Empty => Ok(Some(Refusal::Aborted(AbortReason::Superseded))),
        LegOutcome::Held => Err(owed(credit, "a reservation with the same id holds it")),
    }
}

fn owed(credit: &Branch, why: &str) -> ShardError {
    let message = format!("the credit is still owed: {why}");
    ShardError { shard: credit.shard, sqlstate: None, message }
}

/// Records `refusal` where the debit would stand, so that no late try runs, and then as the answer
/// on the home shard.
pub async fn decide_against<V: StrategyVerbs>(
    verbs: &V,
    debit: &Branch,
    refusal: Refusal,
    strategy: &'static str,
) -> Outcome {
    // A try of another call may have made the debit in between: then what it owes is done now.
    let outcome = ending::record(verbs, debit, refusal, strategy).await;
    everywhere(verbs, debit, outcome, strategy).await
}

/// The refusal in `outcome` also on the home shard, where every strategy looks for answers.
pub async fn everywhere<V: StrategyVerbs>(
    verbs: &V,
    debit: &Branch,
    outcome: Outcome,
    strategy: &'static str,
) -> Outcome {
    let refusal = match outcome {
        Outcome::Rejected(why) => Refusal::Rejected(why),
        Outcome::Aborted(why) => Refusal::Aborted(why),
        other => return other,
    };
    let [_, home] = debit.transfer.branches(verbs.routing());
    if home == *debit {
        return outcome;
    }
    match ending::record(verbs, &home, refusal, strategy).await {
        // Nothing will happen; under which name that is recorded is not known.
        Outcome::Failed(error) => Outcome::InDoubt(error),
        recorded => recorded,
    }
}

/// Ends a try whose debit met a leg of its own: an earlier call, or try, made it or had it refused.
pub async fn met_debit<V: StrategyVerbs>(verbs: &V, debit: &Branch, strategy: &'static str) -> Try {
    match verbs.read_leg(debit.shard, debit.transfer.id, debit.kind).await {
        Ok(Some(leg)) => {
            let outcome = ending::answer_standing(verbs, &leg, debit).await;
            Try::Ended(everywhere(verbs, debit, outcome, strategy).await)
        }
        // It vanished between two statements: it was pruned. Look again from the start.
        Ok(None) => Try::Again(AbortReason::Serialization),
        Err(error) => Try::Ended(Outcome::Failed(error)),
    }
}

/// The answer that an earlier call with this id recorded on the home shard, if one did.
pub async fn recorded<V: StrategyVerbs>(
    verbs: &V,
    transfer: &Transfer,
) -> Result<Option<Outcome>, ShardError> {
    let [_, home] = transfer.branches(verbs.routing());
    let Some(leg) = verbs.read_leg(home.shard, transfer.id, home.kind).await? else {
        return Ok(None);
    };
    Ok(Some(ending::answer_standing(verbs, &leg, &home).await))
}
