//! How a transfer that does not go through is brought to its end.
//!
//! The rule that everything here keeps: an answer is final only once it is written where the
//! next call with the same id must find it, and nothing is inferred from not finding something.
//! A refusal is written as the leg on the home shard (the last branch of the fixed order): every
//! effect inserts its own leg first, so that row can never run again, whoever tries it.

use crate::outcome::{
    AbortReason, Decision, Finish, LegOutcome, Outcome, Refusal, ShardError, StandingLeg, Tombstone,
};
use crate::strategies::{Try, promises, saga_choreographed};
use crate::transfer::{Branch, ShardIndex};
use crate::verbs::{DecisionKey, Gid, StrategyVerbs, Verbs};

/// How often a busy or silent shard is asked again before the question is left to recovery.
const ASKS: u32 = 5;

/// Records `refusal` on the home shard and answers with what stands there. Everything that this
/// call began is rolled back.
pub async fn record<V: StrategyVerbs>(
    verbs: &V,
    home: &Branch,
    refusal: Refusal,
    strategy: &'static str,
) -> Outcome {
    match verbs.record_refusal(home, refusal, strategy).await {
        Ok(Tombstone::Placed) => Decision::Abort(refusal).into(),
        Ok(Tombstone::Stands(leg)) => answer_standing(verbs, &leg, home).await,
        // Nothing of this call is left, so the key is held by another call with the same id.
        Ok(Tombstone::InFlight) => Outcome::Failed(ShardError {
            shard: home.shard,
            sqlstate: None,
            message: "another call with this transfer id is in flight; ask again".to_owned(),
        }),
        // Nothing happened; whether that is written down is not known, and does no harm.
        Err(error) => Outcome::Failed(error),
    }
}

/// Answers with what a register says. That a transfer was decided against is also written on the
/// home shard, because that leg, and no other place, holds the answer: registers, tombstones and
/// refusals of different calls may tell different reasons, and a repeated call may meet any of
/// them first. Everything that this call began is rolled back, or will be by recovery.
pub async fn answer_decided<V: StrategyVerbs>(
    verbs: &V,
    home: &Branch,
    standing: Decision,
    strategy: &'static str,
) -> Outcome {
    match standing {
        // By another call, and only its leg tells whether for the same order.
        Decision::Commit => match verbs.read_leg(home.shard, home.transfer.id, home.kind).await {
            Ok(Some(leg)) if !leg.agrees_with(home) => Outcome::IdReused,
            Ok(Some(leg)) if matches!(leg.outcome, LegOutcome::Applied | LegOutcome::Held) => {
                Outcome::Committed
            }
            Ok(_) => Outcome::InDoubt(ShardError {
                shard: home.shard,
                sqlstate: None,
                message: "another call with this transfer id is decided and not carried out yet; \
                          ask again"
                    .to_owned(),
            }),
            Err(error) => Outcome::InDoubt(error),
        },
        Decision::Abort(why) => match record(verbs, home, why, strategy).await {
            // Nothing will happen; under which name that is recorded, recovery settles.
            Outcome::Failed(error) => Outcome::InDoubt(error),
            outcome => outcome,
        },
    }
}

/// The first answer, as the leg on the home shard tells it.
#[must_use]
pub fn answer_of(leg: &StandingLeg, branch: &Branch) -> Outcome {
    if !leg.agrees_with(branch) {
        return Outcome::IdReused;
    }
    match leg.outcome {
        LegOutcome::Applied => Outcome::Committed,
        LegOutcome::Held => Outcome::Failed(ShardError {
            shard: branch.shard,
            sqlstate: None,
            message: "another call with this transfer id holds the account; ask again".to_owned(),
        }),
        LegOutcome::Rejected(refusal) => Decision::Abort(refusal).into(),
        LegOutcome::Empty => Outcome::Aborted(AbortReason::Superseded),
    }
}

/// The first answer, where `leg` stands in the way of `branch`. A debit that was made under locks,
/// by a saga or by events, is half of one: another call with this id owes the credit, and may yet
/// have to refund it. So the promise is kept first.
pub async fn answer_standing<V: StrategyVerbs>(
    verbs: &V,
    leg: &StandingLeg,
    branch: &Branch,
) -> Outcome {
    match (answer_of(leg, branch), promises::behind(leg, branch)) {
        (Outcome::Committed, _) if saga_choreographed::promises_more(leg, branch) => {
            saga_choreographed::keep(verbs, &branch.transfer).await
        }
        (Outcome::Committed, Some(promise)) => {
            promises::answer(verbs, &branch.transfer, promise, promises::ON_BEHALF).await
        }
        (outcome, _) => outcome,
    }
}

/// Ends a try in which `branch` met a leg of its own id. An effect that ran says that all did; of
/// one that never will, the leg on the home shard has the answer.
pub async fn read_standing_leg<V: StrategyVerbs>(
    verbs: &V,
    branch: &Branch,
    home: &Branch,
    strategy: &'static str,
) -> Try {
    match verbs.read_leg(branch.shard, branch.transfer.id, branch.kind).await {
        Ok(Some(leg)) => match answer_standing(verbs, &leg, branch).await {
            Outcome::Aborted(_) | Outcome::Rejected(_) if branch != home => {
                let superseded = Refusal::Aborted(AbortReason::Superseded);
                Try::Ended(record(verbs, home, superseded, strategy).await)
            }
            outcome => Try::Ended(outcome),
        },
        // It vanished between two statements: it was pruned. Look again from the start.
        Ok(None) => Try::Again(AbortReason::Serialization),
        Err(error) => Try::Ended(Outcome::Failed(error)),
    }
}

/// Asks a register for the verdict by writing `abort`, again and again while it is silent.
///
/// # Errors
/// It stayed silent: the transfer is in doubt.
pub async fn ask<V: Verbs>(
    verbs: &V,
    key: &DecisionKey,
    why: impl Into<Refusal>,
) -> Result<Decision, ShardError> {
    let why = why.into();
    let mut asked = 1;
    loop {
        match verbs.decide_abort(key, why).await {
            Ok(standing) => return Ok(standing),
            Err(error) if asked >= ASKS => return Err(error),
            Err(_) => {
                asked += 1;
                verbs.back_off(asked).await;
            }
        }
    }
}

/// Places a tombstone for an effect whose reply was lost, and answers with what stands: the
/// tombstone, or the effect that ran after all.
pub async fn ask_leg<V: StrategyVerbs>(verbs: &V, branch: &Branch, lost: ShardError) -> Outcome {
    let mut asked = 1;
    loop {
        match verbs.entomb(branch.shard, branch.transfer.id, branch.kind).await {
            Ok(Tombstone::Placed) => return Outcome::Aborted(AbortReason::Unreachable),
            Ok(Tombstone::Stands(leg)) => return answer_standing(verbs, &leg, branch).await,
            Ok(Tombstone::InFlight) | Err(_) if asked < ASKS => {
                asked += 1;
                verbs.back_off(asked).await;
            }
            Ok(Tombstone::InFlight) | Err(_) => return Outcome::InDoubt(lost),
        }
    }
}

/// Whether a branch is rolled back for certain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RolledBack {
    /// It is.
    Yes,
    /// It may still be prepared, or become so.
    Unknown,
}

impl RolledBack {
    /// The error to report where it is not known.
    #[must_use]
    pub fn left_on(self, shard: ShardIndex) -> Option<ShardError> {
        (self == Self::Unknown).then(|| ShardError {
            shard,
            sqlstate: None,
            message: "a prepared branch could not be rolled back".to_owned(),
        })
    }
}

/// Rolls back a branch that was seen prepared and that nobody can have decided to commit.
pub async fn roll_back<V: Verbs>(verbs: &V, shard: ShardIndex, gid: &Gid) -> RolledBack {
    match finish(verbs, shard, gid, Order::RollBack).await {
        // Seen prepared and gone now: recovery was faster, under the only verdict there can be.
        Finish::Done | Finish::Missing => RolledBack::Yes,
        Finish::Busy | Finish::Unknown(_) => RolledBack::Unknown,
    }
}

/// The answer once both branches, or the one that was prepared, were told to commit. A branch that
/// could not be told is recovery's, and the decision stands. But a branch that is gone must have
/// left its leg: that it is not there any more proves nothing.
pub async fn answer_committed<V: Verbs>(verbs: &V, finished: &[(&Branch, &Finish)]) -> Outcome {
    for (branch, finish) in finished {
        if **finish != Finish::Missing {
            continue;
        }
        match verbs.read_leg(branch.shard, branch.transfer.id, branch.kind).await {
            Ok(Some(leg)) if leg.outcome == LegOutcome::Applied => {}
            Ok(_) => {
                return Outcome::InDoubt(ShardError {
                    shard: branch.shard,
                    sqlstate: None,
                    message: "a branch is gone and left no leg, against its decision; run audit"
                        .to_owned(),
                });
            }
            Err(error) => return Outcome::InDoubt(error),
        }
    }
    Outcome::Committed
}

/// What a branch is told in phase two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Order {
    /// `COMMIT PREPARED`.
    Commit,
    /// `ROLLBACK PREPARED`.
    RollBack,
}

/// Tells a branch to do `order`, again and again while its shard says that somebody else is at
/// it.
pub async fn finish<V: Verbs>(verbs: &V, shard: ShardIndex, gid: &Gid, order: Order) -> Finish {
    let mut asked = 1;
    loop {
        let finish = match order {
            Order::Commit => verbs.commit_prepared(shard, gid).await,
            Order::RollBack => verbs.roll_back_prepared(shard, gid).await,
        };
        match finish {
            Finish::Busy if asked < ASKS => {
                asked += 1;
                verbs.back_off(asked).await;
            }
            finish => return finish,
        }
    }
}
