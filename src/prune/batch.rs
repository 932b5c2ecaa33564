//! One batch: finished transfers folded on all their shards or on none, by two-phase commit in
//! the register that transfers use.
//!
//! A batch is itself a transfer, of nothing: it has an id, a leg on each of its shards, a decision
//! on its home, and names that recovery can read. So a prune that dies is finished or rolled back
//! like any other coordinator's transfer, and its own rows are pruned with a later batch, when
//! nobody can ask for them any more.
//!
//! | the prune dies | what stands after recovery |
//! | --- | --- |
//! | before all have prepared, or before the decision | nothing is folded |
//! | decided, or one shard committed | everything is folded |

use std::collections::BTreeMap;

use futures_util::future::join_all;
use uuid::Uuid;

use crate::fail_points::FailPoint;
use crate::ledger::folding::{self, Part};
use crate::ledger::postgres::PostgresVerbs;
use crate::outcome::{AbortReason, Decision, Finish, Refusal, ShardError};
use crate::prune::finished::Everywhere;
use crate::shards::failure::Meaning;
use crate::transfer::{LegKind, ShardIndex, TransferId};
use crate::verbs::{DecisionKey, Gid, Register, Verbs};

/// How often a busy or silent shard is asked again before the rest is left to recovery.
const ASKS: u32 = 5;

/// How a batch ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It is folded, or will be once recovery has reached these shards.
    Folded(Vec<ShardError>),
    /// A shard does not hold what it held before; nothing is folded.
    Changed,
    /// Somebody was in the way; nothing is folded, another try may be.
    Again(ShardError),
}

/// One shard's share of a batch.
#[derive(Default)]
struct Share {
    transfers: Vec<Uuid>,
    legs: i64,
    decisions: i64,
}

/// Folds `transfers`, of which there must be some, on all their shards or on none.
///
/// # Errors
/// A shard failed, or nobody knows; then recovery will find out.
pub async fn fold(
    verbs: &PostgresVerbs,
    transfers: &[(Uuid, Everywhere)],
    cutoff: std::time::SystemTime,
) -> Result<Ended, ShardError> {
    let shares = shares(transfers);
    let home = *shares.keys().last().expect("a batch has a shard");
    let epoch = verbs.epoch().await?;
    let id = TransferId::fresh();
    let mut prepared: Vec<(ShardIndex, Gid)> = Vec::new();
    let mut moved = 0_i128;
    // One shard after the other, in the order in which transfers visit them: nobody waits for
    // another in a circle.
    for (shard, share) in &shares {
        let gid = Gid {
            cluster: verbs.cluster(),
            epoch,
            register: Register::Table,
            home,
            transfer: id,
            kind: LegKind::Debit,
            attempt: verbs.next_attempt(),
        };
        let expected = (share.legs, share.decisions);
        let part = Part { transfers: &share.transfers, cutoff, expected };
        let failure = match folding::prepare(verbs, *shard, part, &gid).await {
            Ok(Some(change)) => {
                moved += i128::from(change);
                prepared.push((*shard, gid));
                continue;
            }
            Ok(None) => None,
            Err(failure) => Some(failure),
        };
        roll_back(verbs, &prepared).await;
        return match failure {
            None => Ok(Ended::Changed),
            Some(failure) if matches!(failure.meaning, Meaning::Retry(_)) => {
                Ok(Ended::Again(failure.error))
            }
            Some(failure) => Err(failure.error),
        };
    }
    if moved != 0 {
        // Each transfer was whole when it was judged, so what is folded now is something else.
        roll_back(verbs, &prepared).await;
        return Ok(Ended::Changed);
    }

    // All prepared, nothing decided: recovery writes `abort` and rolls all back.
    verbs.reached(FailPoint::PrunePrepared).await;

    let (shard, gid) = &prepared[0];
    let key = gid.decision_key(*shard);
    let standing = match verbs.decide(&key, None, Decision::Commit).await {
        Ok(standing) => standing,
        Err(_) => ask(verbs, &key).await?,
    };
    if standing != Decision::Commit {
        roll_back(verbs, &prepared).await;
        return Ok(Ended::Again(ShardError {
            shard: home,
            sqlstate: None,
            message: "recovery took this batch for one of a dead coordinator".to_owned(),
        }));
    }

    // Decided: from here on recovery commits whatever is still prepared.
    verbs.reached(FailPoint::PruneDecided).await;

    let mut left = Vec::from_iter(commit(verbs, &prepared[0]).await);
    // One has committed: recovery finds the decision and commits the others.
    verbs.reached(FailPoint::PruneFirstCommitted).await;
    let others = prepared[1..].iter().map(|branch| commit(verbs, branch));
    left.extend(join_all(others).await.into_iter().flatten());
    Ok(Ended::Folded(left))
}

fn shares(transfers: &[(Uuid, Everywhere)]) -> BTreeMap<ShardIndex, Share> {
    let mut shares: BTreeMap<ShardIndex, Share> = BTreeMap::new();
    for (transfer, everywhere) in transfers {
        for (shard, standing) in everywhere {
            let share = shares.entry(*shard).or_default();
            share.transfers.push(*transfer);
            share.legs += standing.legs;
            share.decisions += standing.decisions;
        }
    }
    shares
}

/// Whatever stands now stands for ever: asks by writing.
async fn ask(verbs: &PostgresVerbs, key: &DecisionKey) -> Result<Decision, ShardError> {
    let why = Refusal::Aborted(AbortReason::Unreachable);
    let mut asked = 1;
    loop {
        match verbs.decide_abort(key, why).await {
            Err(_) if asked < ASKS => {
                asked += 1;
                verbs.back_off(asked).await;
            }
            answer => return answer,
        }
    }
}

/// Rolls back branches that were seen prepared and that nobody can have decided to commit. One
/// that cannot be is left to recovery.
async fn roll_back(verbs: &PostgresVerbs, prepared: &[(ShardIndex, Gid)]) {
    for (shard, gid) in prepared {
        let mut asked = 1;
        while verbs.roll_back_prepared(*shard, gid).await == Finish::Busy && asked < ASKS {
            asked += 1;
            verbs.back_off(asked).await;
        }
    }
}

/// Carries out the decision on one shard, or says why it is left to recovery.
async fn commit(verbs: &PostgresVerbs, (shard, gid): &(ShardIndex, Gid)) -> Option<ShardError> {
    let mut asked = 1;
    loop {
        match verbs.commit_prepared(*shard, gid).await {
            // Seen prepared and gone now: recovery was faster, under the same decision.
            Finish::Done | Finish::Missing => return None,
            Finish::Busy if asked < ASKS => {
                asked += 1;
                verbs.back_off(asked).await;
            }
            Finish::Busy => {
                let message = format!("{gid} is decided and busy; recover will finish it");
                return Some(ShardError { shard: *shard, sqlstate: None, message });
            }
            Finish::Unknown(error) => return Some(error),
        }
    }
}
