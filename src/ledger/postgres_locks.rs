//! The verbs of strategies under locks, on Postgres and on whatever grants the locks.

use std::time::Duration;

use tokio::time::Instant;

use crate::coordination::intent;
use crate::ledger::fenced;
use crate::ledger::messenger::Failure;
use crate::ledger::postgres::PostgresVerbs;
use crate::outcome::{Attempt, ShardError};
use crate::transfer::{Branch, Epoch, ShardIndex};
use crate::verbs::locking::{
    Claimed, Concerning, Fence, Intent, Lock, LockError, LockKey, LockTerms, LockVerbs, Released,
};

/// The epoch of an intent, or of a saga, whose writer has none, as while shard 0 is away. No
/// coordinator has it.
pub(super) const NO_EPOCH: Epoch = Epoch(0);

impl PostgresVerbs {
    /// A claim, alone or with its debit, whose connection is kept only where it has ended.
    async fn claimed(
        &self,
        shard: ShardIndex,
        act: impl AsyncFnOnce(&crate::shards::session::Session) -> Claimed,
    ) -> Claimed {
        let mut claimed = None;
        let attempt = self
            .messenger()
            .attempt(shard, async |session| match act(session).await {
                Claimed::Not(no) => no,
                done => {
                    claimed = Some(done);
                    Attempt::Done
                }
            })
            .await;
        claimed.filter(|_| attempt == Attempt::Done).unwrap_or(Claimed::Not(attempt))
    }
}

impl LockVerbs for PostgresVerbs {
    fn lock_wait(&self) -> Duration {
        self.locks().map_or_else(|| LockTerms::default().wait, |(_, terms)| terms.wait)
    }

    async fn lock(&self, key: LockKey, until: Instant) -> Result<Box<dyn Lock>, LockError> {
        match self.locks() {
            Some((service, _)) => service.acquire(key, until).await,
            None => Err(LockError::Unavailable("this coordinator has no lock service".to_owned())),
        }
    }

    async fn unlock(&self, _: LockKey, lock: Box<dyn Lock>) -> Result<Released, LockError> {
        lock.release().await
    }

    async fn claim(&self, branch: &Branch, fence: Fence) -> Claimed {
        self.claimed(branch.shard, async |session| fenced::claim(session, branch, fence).await)
            .await
    }

    async fn debit_with_intent(
        &self,
        debit: &Branch,
        fence: Fence,
        strategy: &'static str,
    ) -> Claimed {
        let epoch = self.pools().presence().current().unwrap_or(NO_EPOCH);
        self.claimed(debit.shard, async |session| {
            fenced::debit_with_intent(session, debit, fence, strategy, epoch).await
        })
        .await
    }

    async fn credit_under_fence(
        &self,
        credit: &Branch,
        fence: Fence,
        strategy: &'static str,
    ) -> Attempt {
        self.messenger()
            .attempt(credit.shard, async |session| {
                fenced::credit_under_fence(session, credit, fence, strategy).await
            })
            .await
    }

    async fn credit_intended(&self, credit: &Branch, strategy: &'static str) -> Attempt {
        self.messenger()
            .attempt(credit.shard, async |session| {
                fenced::credit_intended(session, credit, strategy).await
            })
            .await
    }

    async fn refund(&self, debit: &Branch, strategy: &'static str) -> Attempt {
        self.messenger()
            .attempt(debit.shard, async |session| fenced::refund(session, debit, strategy).await)
            .await
    }

    async fn close_intent(&self, debit: &Branch) -> Result<(), ShardError> {
        self.messenger()
            .ask(debit.shard, async |session| intent::close(session, debit.transfer.id).await)
            .await
            .map_err(|Failure { error, .. }| error)
    }

    async fn open_intents(
        &self,
        shard: ShardIndex,
        concerning: Concerning,
    ) -> Result<Vec<Intent>, ShardError> {
        self.messenger()
            .ask(shard, async |session| intent::open(session, concerning).await)
            .await
            .map_err(|Failure { error, .. }| error)
    }

    async fn read_balance(&self, branch: &Branch) -> Result<i64, Attempt> {
        let mut balance = 0;
        let attempt = self
            .messenger()
            .attempt(branch.shard, async |session| {
                match fenced::read_balance(session, branch).await {
                    Ok(read) => {
                        balance = read;
                        Attempt::Done
                    }
                    Err(no) => no,
                }
            })
            .await;
        if attempt == Attempt::Done { Ok(balance) } else { Err(attempt) }
    }

    async fn write_balance(
        &self,
        branch: &Branch,
        balance: i64,
        strategy: &'static str,
    ) -> Attempt {
        self.messenger()
            .attempt(branch.shard, async |session| {
                fenced::write_balance(session, branch, balance, strategy).await
            })
            .await
    }
}
