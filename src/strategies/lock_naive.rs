//! `lock-naive`: two local commits under two locks, by an application that believes in its locks.
//!
//! ```text
//! coordinator         lock service      shard of the source      shard of the target
//!     | - lock, lock ------> |                  |                         |
//!     | --------------------------- read -----> |                         |
//!     | --------------------------------------------------- read -------> |
//!     | ------------- write balance, COMMIT --> |                         |
//!     | ------------------------------------------ write balance, COMMIT -> |
//!     | - unlock, unlock --> |                  |                         |
//! ```
//!
//! It exists to show what is lost, and is the only strategy whose audit may fail. It reads, adds
//! and writes back, which is right for as long as its locks are really held; it asks no fence, so
//! a holder that was stopped past its lease overwrites what others did meanwhile; and it keeps no
//! journal, so one that dies between its two commits has taken money and given it to nobody.
//!
//! | the coordinator dies | what stands |
//! | --- | --- |
//! | before the first write | nothing |
//! | between the two | **half a transfer, for ever** |
//! | after the second | both effects |
//!
//! Costs: 4 round trips to shards, 2 forced flushes. Unsafe by design.

use crate::fail_points::FailPoint;
use crate::outcome::{Attempt, Outcome, Refusal, Rejection, ShardError};
use crate::strategies::lock_pair::{Locks, not_locked};
use crate::strategies::{Coordinator, Try, ending};
use crate::transfer::Transfer;
use crate::verbs::StrategyVerbs;

/// The strategy's name.
pub const NAME: &str = "lock-naive";

/// Two local commits under two advisory locks, with neither fence nor journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LockNaive;

impl Coordinator for LockNaive {
    fn name(&self) -> &'static str {
        NAME
    }

    fn takes_one_phase(&self) -> bool {
        false
    }

    async fn try_once<V: StrategyVerbs>(&self, verbs: &V, transfer: &Transfer) -> Try {
        if let Err(error) = verbs.epoch().await {
            return Try::Ended(Outcome::Failed(error));
        }
        let locks = match Locks::acquire(verbs, transfer).await {
            Ok(locks) => locks,
            Err((key, error)) => return not_locked(key, &error),
        };
        let ended = under(verbs, transfer).await;
        locks.release(verbs).await;
        ended
    }
}

async fn under<V: StrategyVerbs>(verbs: &V, transfer: &Transfer) -> Try {
    let routing = verbs.routing();
    let (debit, credit) = (transfer.debit(routing), transfer.credit(routing));
    let amount = transfer.amount.get();
    let (had, will_have) =
        match (verbs.read_balance(&debit).await, verbs.read_balance(&credit).await) {
            (Ok(source), Ok(target)) => (source, target.checked_add(amount)),
            (Err(no), _) | (_, Err(no)) => return refused(verbs, transfer, no).await,
        };
    let (Some(will_have), true) = (will_have, had >= amount) else {
        let why = if had < amount { Rejection::InsufficientFunds } else { Rejection::Overflow };
        return refused(verbs, transfer, Attempt::Rejected(why)).await;
    };

    // Nothing is written.
    verbs.reached(FailPoint::NaiveRead).await;

    match verbs.write_balance(&debit, had - amount, NAME).await {
        Attempt::Done => {}
        no => return refused(verbs, transfer, no).await,
    }

    // The money has left one account and is nowhere. Nobody will ever know.
    verbs.reached(FailPoint::NaiveDebited).await;

    Try::Ended(match verbs.write_balance(&credit, will_have, NAME).await {
        Attempt::Done => Outcome::Committed,
        Attempt::Failed(error) | Attempt::Unknown(error) => Outcome::InDoubt(error),
        no => Outcome::InDoubt(ShardError {
            shard: credit.shard,
            sqlstate: None,
            message: format!("the debit is made and the credit is not: {no:?}"),
        }),
    })
}

async fn refused<V: StrategyVerbs>(verbs: &V, transfer: &Transfer, no: Attempt) -> Try {
    let debit = transfer.debit(verbs.routing());
    match no {
        Attempt::Rejected(why) => {
            Try::Ended(ending::record(verbs, &debit, Refusal::Rejected(why), NAME).await)
        }
        Attempt::LegStands => ending::read_standing_leg(verbs, &debit, &debit, NAME).await,
        Attempt::Retry(reason) => Try::Again(reason),
        Attempt::Failed(error) => Try::Ended(Outcome::Failed(error)),
        Attempt::Unknown(error) => Try::Ended(Outcome::InDoubt(error)),
        Attempt::Done | Attempt::DecisionStands => {
            unreachable!("neither a reading nor a writing is refused with {no:?}")
        }
    }
}
