//! The verbs of sagas, on Postgres.

use std::time::Duration;

use crate::coordination::saga;
use crate::ledger::messenger::Failure;
use crate::ledger::postgres::PostgresVerbs;
use crate::ledger::postgres_locks::NO_EPOCH;
use crate::ledger::saga_steps;
use crate::outcome::{Attempt, ShardError};
use crate::shards::session::Session;
use crate::transfer::{Branch, Epoch, ShardIndex, TransferId};
use crate::verbs::Verbs;
use crate::verbs::saga::{OpenSaga, Owner, SagaVerbs};

impl PostgresVerbs {
    /// Whether it is certain that no saga on `shard` is driven under `epoch`.
    pub(super) async fn has_no_saga(&self, shard: ShardIndex, epoch: Epoch) -> bool {
        let asked = async |session: &Session| saga::is_driven_by(session, epoch).await;
        matches!(self.messenger().ask(shard, asked).await, Ok(false))
    }
}

impl SagaVerbs for PostgresVerbs {
    fn fresh_owner(&self) -> Owner {
        let epoch = self.pools().presence().current().unwrap_or(NO_EPOCH);
        Owner { epoch, attempt: self.next_attempt() }
    }

    async fn debit_with_saga(
        &self,
        debit: &Branch,
        owner: Owner,
        strategy: &'static str,
    ) -> Attempt {
        self.messenger()
            .attempt(debit.shard, async |session| {
                saga_steps::debit_with_saga(session, debit, owner, strategy).await
            })
            .await
    }

    async fn credit(&self, credit: &Branch, strategy: &'static str) -> Attempt {
        self.messenger()
            .attempt(credit.shard, async |session| {
                saga_steps::credit(session, credit, strategy).await
            })
            .await
    }

    async fn refund_debit(&self, debit: &Branch, strategy: &'static str) -> Attempt {
        self.messenger()
            .attempt(debit.shard, async |session| {
                saga_steps::refund_debit(session, debit, strategy).await
            })
            .await
    }

    async fn complete_saga(&self, debit: &Branch) -> Result<(), ShardError> {
        self.messenger()
            .ask(debit.shard, async |session| saga::complete(session, debit.transfer.id).await)
            .await
            .map_err(|Failure { error, .. }| error)
    }

    async fn claim_sagas(
        &self,
        shard: ShardIndex,
        owner: Owner,
        dead: &[Epoch],
        grace: Duration,
    ) -> Result<Vec<OpenSaga>, ShardError> {
        self.messenger()
            .ask(shard, async |session| saga::claim(session, owner, dead, grace).await)
            .await
            .map_err(|Failure { error, .. }| error)
    }

    async fn postpone_saga(
        &self,
        shard: ShardIndex,
        transfer: TransferId,
        owner: Owner,
        why: &str,
    ) -> Result<(), ShardError> {
        self.messenger()
            .ask(shard, async |session| saga::postpone(session, transfer, owner, why).await)
            .await
            .map_err(|Failure { error, .. }| error)
    }
}
