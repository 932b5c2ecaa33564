//! The end of a coordinator, in order.

use crate::ledger::postgres::PostgresVerbs;
use crate::transfer::{Epoch, ShardIndex};
use crate::verbs::Verbs;
use crate::verbs::holding::HoldVerbs;
use crate::verbs::locking::{Concerning, LockVerbs};

impl PostgresVerbs {
    /// Ends this coordinator in order, after its last transfer: where nothing of it is prepared on
    /// any shard and no message of it can still be running, its epoch is closed and its decision
    /// log removed. Otherwise, or where a shard does not answer, that is left to recovery.
    pub async fn retire(&self) {
        self.drain().await;
        let Some(epoch) = self.inner.context.presence.current() else { return };
        if self.inner.messenger.has_lost_track() {
            return;
        }
        for shard in self.inner.routing.shards() {
            if !self.has_left_nothing(shard, epoch).await {
                return;
            }
        }
        if self.close_epoch(epoch).await.is_ok() {
            // A file that stays behind is one that nothing refers to.
            self.inner.context.logs.retire(epoch).ok();
        }
    }

    /// Whether it is certain that `shard` has nothing of `epoch` that somebody must still finish.
    async fn has_left_nothing(&self, shard: ShardIndex, epoch: Epoch) -> bool {
        let prepared = self.list_prepared(shard).await;
        let intents = self.open_intents(shard, Concerning::Anybody).await;
        let holds = self.open_holds(shard).await;
        prepared.is_ok_and(|branches| branches.iter().all(|branch| branch.gid.epoch != epoch))
            && intents.is_ok_and(|intents| intents.iter().all(|intent| intent.epoch != epoch))
            && holds.is_ok_and(|holds| holds.iter().all(|hold| hold.epoch != epoch))
            && self.has_no_saga(shard, epoch).await
    }
}
