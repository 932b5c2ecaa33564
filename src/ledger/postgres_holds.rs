//! The verbs of reservations, on Postgres.

use std::time::Duration;

use crate::ledger::committers::Work;
use crate::ledger::hold;
use crate::ledger::messenger::{Failure, Messenger};
use crate::ledger::postgres::PostgresVerbs;
use crate::ledger::postgres_locks::NO_EPOCH;
use crate::outcome::{Attempt, Refusal, ShardError, Tombstone};
use crate::transfer::{Branch, ShardIndex};
use crate::verbs::holding::{HoldVerbs, OpenHold};

/// Confirms a hold; also for the committers, who have no verbs.
pub(super) async fn confirm(messenger: &Messenger, branch: &Branch) -> Attempt {
    messenger.attempt(branch.shard, async |session| hold::confirm(session, branch).await).await
}

impl HoldVerbs for PostgresVerbs {
    async fn reserve(&self, branch: &Branch, time: Duration, strategy: &'static str) -> Attempt {
        let home = self.inner.routing.home(&branch.transfer);
        let epoch = self.pools().presence().current().unwrap_or(NO_EPOCH);
        self.messenger()
            .attempt(branch.shard, async |session| {
                hold::reserve(session, branch, home, epoch, time, strategy).await
            })
            .await
    }

    async fn confirm(&self, branch: &Branch) -> Attempt {
        confirm(self.messenger(), branch).await
    }

    async fn cancel(
        &self,
        branch: &Branch,
        why: Refusal,
        strategy: &'static str,
    ) -> Result<Tombstone, ShardError> {
        self.messenger()
            .place(branch.shard, branch.transfer.id, branch.kind, async |session| {
                hold::cancel(session, branch, why, strategy).await
            })
            .await
    }

    async fn confirm_later(&self, branches: [Branch; 2]) {
        self.hand_over(Work::Confirm(branches)).await;
    }

    async fn open_holds(&self, shard: ShardIndex) -> Result<Vec<OpenHold>, ShardError> {
        self.messenger()
            .ask(shard, async |session| hold::open(session, shard).await)
            .await
            .map_err(|Failure { error, .. }| error)
    }
}
