//! How a coordinator ends in order.

use std::sync::Arc;
use std::time::Duration;

use crate::ledger::postgres::PostgresVerbs;
use crate::transfer::{Epoch, ShardIndex};
use crate::verbs::Verbs;
use crate::verbs::events::EventVerbs;
use crate::verbs::holding::HoldVerbs;
use crate::verbs::locking::{Concerning, LockVerbs};

impl PostgresVerbs {
    /// Ends this coordinator in order, after its last transfer: where nothing of it is prepared or
    /// promised on any shard and no message of it can still be running, its epoch is closed and its
    /// decision log removed. Otherwise, or where a shard does not answer, that is left to recovery.
    pub async fn retire(&self) {
        self.drain().await;
        let Some(epoch) = self.pools().presence().current() else { return };
        if self.messenger().has_lost_track() {
            return;
        }
        for shard in self.routing().shards() {
            if !self.has_left_nothing(shard, epoch).await {
                return;
            }
        }
        if self.close_epoch(epoch).await.is_ok() {
            // A file that stays behind is one that nothing refers to.
            self.logs().retire(epoch).ok();
        }
    }

    /// Whether `shard` says that nothing of `epoch` is prepared or promised there.
    async fn has_left_nothing(&self, shard: ShardIndex, epoch: Epoch) -> bool {
        let branches = self.list_prepared(shard).await;
        let intents = self.open_intents(shard, Concerning::Anybody).await;
        let events = self.open_events(shard).await;
        let holds = self.open_holds(shard).await;
        branches.is_ok_and(|all| all.iter().all(|branch| branch.gid.epoch != epoch))
            && intents.is_ok_and(|all| all.iter().all(|intent| intent.epoch != epoch))
            && events.is_ok_and(|(all, _)| all.iter().all(|event| event.epoch != epoch))
            && holds.is_ok_and(|all| all.iter().all(|hold| hold.epoch != epoch))
            && self.has_no_saga(shard, epoch).await
    }

    /// Waits until committers and relays have done all that they were given. To be called when no
    /// transfer is being carried any more.
    pub async fn drain(&self) {
        while Arc::strong_count(self.token()) > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
