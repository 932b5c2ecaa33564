//! Keeping the promise that an open intent makes: credit the target, or refund the source.
//!
//! Done by whoever finds one: the next holder of a lock, recovery, or its own writer when the
//! credit did not go through at once. Any number may be at it together. The credit's leg decides
//! between them: applied, it is done; recorded as refused, the debit is refunded, once. A refund
//! comes only after the credit's leg is there and not applied.

use crate::outcome::{
    AbortReason, Attempt, LegOutcome, Outcome, Refusal, Rejection, ShardError, StandingLeg,
    Tombstone,
};
use crate::strategies::{LockServiceName, saga_choreographed};
use crate::transfer::{Branch, LegKind, Transfer};
use crate::verbs::StrategyVerbs;

/// How often a shard that is in the way is asked again before the rest is left to recovery.
const ASKS: u32 = 5;

/// What a leg is recorded under by whoever keeps the promise of a strategy that is not its own.
pub const ON_BEHALF: &str = "recovery";

/// Whether `leg` was written under locks, by events, or to keep a promise so made: no register
/// binds it.
#[must_use]
pub fn is_bound_by_no_register(leg: &StandingLeg) -> bool {
    is_under_locks(leg) || leg.strategy == saga_choreographed::NAME
}

/// Whether `leg` was written under locks, or to keep a promise made under locks.
fn is_under_locks(leg: &StandingLeg) -> bool {
    leg.strategy == ON_BEHALF
        || LockServiceName::ALL.iter().any(|service| service.strategy() == leg.strategy)
}

/// Whether `leg`, which is applied and stands for `branch`, may be all that there is of its
/// transfer: of two effects under locks, the debit is made first.
#[must_use]
pub fn promises_more(leg: &StandingLeg, branch: &Branch) -> bool {
    branch.kind == LegKind::Debit && is_under_locks(leg)
}

/// What became of an intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finished {
    /// Both effects are there.
    Credited,
    /// Neither is, any more: the target refused.
    Refunded(Refusal),
    /// Still owed: a shard is away, or somebody is at it.
    Owed(ShardError),
}

/// Finishes the intent of `transfer`, whose debit is made.
pub async fn finish<V: StrategyVerbs>(
    verbs: &V,
    transfer: &Transfer,
    strategy: &'static str,
) -> Finished {
    let routing = verbs.routing();
    let (debit, credit) = (transfer.debit(routing), transfer.credit(routing));
    let mut asked = 1;
    loop {
        let settled = match verbs.credit_intended(&credit, strategy).await {
            Attempt::Done => Ok(None),
            Attempt::LegStands => standing(verbs, transfer).await,
            Attempt::Rejected(why) => refuse(verbs, transfer, why, strategy).await,
            Attempt::Retry(why) => Err(owed(transfer, verbs, why.name())),
            Attempt::DecisionStands => unreachable!("a credit asks for no decision"),
            Attempt::Failed(error) | Attempt::Unknown(error) => Err(error),
        };
        let refusal = match settled {
            Ok(refusal) => refusal,
            Err(error) if asked >= ASKS => return Finished::Owed(error),
            Err(_) => {
                asked += 1;
                verbs.back_off(asked).await;
                continue;
            }
        };
        let Some(refusal) = refusal else {
            // It failed where the shard is away; recovery closes it.
            verbs.close_intent(&debit).await.ok();
            return Finished::Credited;
        };
        return match verbs.refund(&debit, strategy).await {
            // A refund's leg that stands was written with the closing of the intent.
            Attempt::Done | Attempt::LegStands => Finished::Refunded(refusal),
            Attempt::Failed(error) | Attempt::Unknown(error) => Finished::Owed(error),
            no => Finished::Owed(owed(transfer, verbs, &format!("the refund: {no:?}"))),
        };
    }
}

/// Finishes the intent of `transfer` and answers the caller.
pub async fn answer<V: StrategyVerbs>(
    verbs: &V,
    transfer: &Transfer,
    strategy: &'static str,
) -> Outcome {
    match finish(verbs, transfer, strategy).await {
        Finished::Credited => Outcome::Committed,
        Finished::Refunded(Refusal::Rejected(why)) => Outcome::Rejected(why),
        Finished::Refunded(Refusal::Aborted(why)) => Outcome::Aborted(why),
        // The intent stands: it will be credited or refunded.
        Finished::Owed(error) => Outcome::InDoubt(error),
    }
}

/// What the credit's leg says: nothing where it is applied, else why it never will be.
async fn standing<V: StrategyVerbs>(
    verbs: &V,
    transfer: &Transfer,
) -> Result<Option<Refusal>, ShardError> {
    let credit = transfer.credit(verbs.routing());
    match verbs.read_leg(credit.shard, transfer.id, credit.kind).await? {
        Some(leg) => Ok(refusal_of(leg.outcome)),
        None => Err(owed(transfer, verbs, "the credit's leg vanished between two statements")),
    }
}

/// Records that the target refuses, so that no late credit runs; returns what then stands.
async fn refuse<V: StrategyVerbs>(
    verbs: &V,
    transfer: &Transfer,
    why: Rejection,
    strategy: &'static str,
) -> Result<Option<Refusal>, ShardError> {
    let credit = transfer.credit(verbs.routing());
    let refusal = Refusal::Rejected(why);
    match verbs.record_refusal(&credit, refusal, strategy).await? {
        Tombstone::Placed => Ok(Some(refusal)),
        Tombstone::Stands(leg) => Ok(refusal_of(leg.outcome)),
        Tombstone::InFlight => Err(owed(transfer, verbs, "somebody else credits it")),
    }
}

const fn refusal_of(leg: LegOutcome) -> Option<Refusal> {
    match leg {
        LegOutcome::Applied => None,
        LegOutcome::Rejected(refusal) => Some(refusal),
        LegOutcome::Empty => Some(Refusal::Aborted(AbortReason::Superseded)),
    }
}

fn owed<V: StrategyVerbs>(transfer: &Transfer, verbs: &V, why: &str) -> ShardError {
    let shard = verbs.routing().shard_of(transfer.target);
    ShardError { shard, sqlstate: None, message: format!("the credit is still owed: {why}") }
}
