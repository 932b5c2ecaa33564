//! The vocabulary of reservations: holds, and how they end.
//!
//! A hold is a promise of one account that an effect will be possible: the source's money is set
//! aside, the target can take it. It occupies the effect's own leg, as `held`, so no other call
//! with the same id can run that effect, or rule it out, meanwhile. How it ends is what the
//! decision register says, and nothing else; its expiry only entitles others to ask there.

use std::future::Future;
use std::time::Duration;

use crate::outcome::{Attempt, Refusal, ShardError, Tombstone};
use crate::transfer::{Branch, Epoch, ShardIndex};
use crate::verbs::Verbs;

/// A hold that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenHold {
    /// The effect that it promises.
    pub branch: Branch,
    /// Whose it is.
    pub epoch: Epoch,
    /// Whether its time is over, by the clock of its shard.
    pub is_expired: bool,
}

/// What the strategy of reservations asks of shards, beside [`Verbs`].
pub trait HoldVerbs: Verbs {
    /// Makes sure that the branch's effect will be possible, for as long as `time`: its leg, held,
    /// and the hold, in one local transaction.
    fn reserve(
        &self,
        branch: &Branch,
        time: Duration,
        strategy: &'static str,
    ) -> impl Future<Output = Attempt> + Send;

    /// Lets the effect happen that was held. To be asked for only once `commit` stands. Done also
    /// where it has happened already; failed where the hold was cancelled, or never was.
    fn confirm(&self, branch: &Branch) -> impl Future<Output = Attempt> + Send;

    /// Makes sure that the effect never will happen, held or not yet, and records why. To be asked
    /// for only once an abort stands. Says what stands where it is final already.
    ///
    /// # Errors
    /// The shard did not answer; it may be cancelled or not.
    fn cancel(
        &self,
        branch: &Branch,
        why: Refusal,
        strategy: &'static str,
    ) -> impl Future<Output = Result<Tombstone, ShardError>> + Send;

    /// Confirms all of them, some time soon, by somebody else; waits only for a place in the queue.
    fn confirm_later(&self, branches: [Branch; 2]) -> impl Future<Output = ()> + Send;

    /// The holds of a shard that have not ended.
    ///
    /// # Errors
    /// The shard did not answer.
    fn open_holds(
        &self,
        shard: ShardIndex,
    ) -> impl Future<Output = Result<Vec<OpenHold>, ShardError>> + Send;
}
