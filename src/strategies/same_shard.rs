//! `same-shard`: one local transaction. The baseline, and the advice: keep contended data
//! together.
//!
//! ```text
//! coordinator          shard
//!     | --- both legs ---> |   one statement, committed by itself
//!     | <----- done ------ |
//! ```
//!
//! The rule it keeps is Postgres' own: one transaction, one log, one lock manager. Cross-shard
//! strategies take this path too when both accounts happen to live on one shard.
//!
//! | the coordinator dies | what stands |
//! | --- | --- |
//! | before the statement is sent | nothing |
//! | while it runs | all or nothing, as the shard decides |
//! | after the answer | both legs |
//!
//! Costs: 1 round trip, 1 forced flush.

use crate::fail_points::FailPoint;
use crate::outcome::{AbortReason, Attempt, Outcome, Refusal, ShardError};
use crate::strategies::{Coordinator, Try, ending};
use crate::transfer::Transfer;
use crate::verbs::{DecisionKey, StrategyVerbs};

/// The strategy's name.
pub const NAME: &str = "same-shard";

/// One local transaction on the shard that holds both accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SameShard;

impl Coordinator for SameShard {
    fn name(&self) -> &'static str {
        NAME
    }

    /// It takes no other way.
    fn takes_one_phase(&self) -> bool {
        false
    }

    async fn try_once<V: StrategyVerbs>(&self, verbs: &V, transfer: &Transfer) -> Try {
        // As in every strategy, the answer stands in the last branch's leg.
        let [counter, branch] = transfer.branches(verbs.routing());
        if branch.shard != counter.shard {
            return Try::Ended(Outcome::Failed(ShardError {
                shard: counter.shard,
                sqlstate: None,
                message: format!(
                    "same-shard cannot reach account {} on shard {}; choose another strategy",
                    branch.account(),
                    branch.shard
                ),
            }));
        }
        let epoch = match verbs.epoch().await {
            Ok(epoch) => epoch,
            Err(error) => return Try::Ended(Outcome::Failed(error)),
        };

        // Nothing was sent: nothing happened.
        verbs.reached(FailPoint::SameShardStarted).await;

        let attempt = verbs.transfer_locally(branch.shard, transfer, NAME).await;

        // The shard has committed; a repeated call finds the legs.
        verbs.reached(FailPoint::SameShardCommitted).await;

        match attempt {
            Attempt::Done => Try::Ended(Outcome::Committed),
            Attempt::Rejected(rejection) => {
                let refusal = Refusal::Rejected(rejection);
                Try::Ended(ending::record(verbs, &branch, refusal, NAME).await)
            }
            Attempt::LegStands => ending::read_standing_leg(verbs, &branch, &branch, NAME).await,
            Attempt::DecisionStands => {
                let key = DecisionKey::in_table(verbs.routing(), epoch, transfer);
                match ending::ask(verbs, &key, AbortReason::Superseded).await {
                    Ok(standing) => {
                        Try::Ended(ending::answer_decided(verbs, &branch, standing, NAME).await)
                    }
                    Err(error) => Try::Ended(Outcome::Failed(error)),
                }
            }
            Attempt::Retry(reason) => Try::Again(reason),
            Attempt::Failed(error) => Try::Ended(Outcome::Failed(error)),
            Attempt::Unknown(error) => Try::Ended(ending::ask_leg(verbs, &branch, error).await),
        }
    }
}
