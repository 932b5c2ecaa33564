//! Saga verbs that tell an observer of every step, as `observed` does for the others.

use std::time::{Duration, Instant};

use super::observed::{Answer, Observed, Observer, Step, leg, shard};
use super::saga::{OpenSaga, Owner, SagaVerbs};
use crate::outcome::{Attempt, ShardError};
use crate::transfer::{Branch, Epoch, ShardIndex, TransferId};

impl<V: SagaVerbs, O: Observer> SagaVerbs for Observed<'_, V, O> {
    fn fresh_owner(&self) -> Owner {
        self.verbs.fresh_owner()
    }

    async fn debit_with_saga(
        &self,
        debit: &Branch,
        owner: Owner,
        strategy: &'static str,
    ) -> Attempt {
        let started = Instant::now();
        let attempt = self.verbs.debit_with_saga(debit, owner, strategy).await;
        let answer = Answer::Attempt(attempt.clone());
        self.tell(Step::DebitWithSaga, leg(debit.shard, debit.kind), started, answer);
        attempt
    }

    async fn credit(&self, credit: &Branch, strategy: &'static str) -> Attempt {
        let started = Instant::now();
        let attempt = self.verbs.credit(credit, strategy).await;
        let answer = Answer::Attempt(attempt.clone());
        self.tell(Step::Credit, leg(credit.shard, credit.kind), started, answer);
        attempt
    }

    async fn refund_debit(&self, debit: &Branch, strategy: &'static str) -> Attempt {
        let started = Instant::now();
        let attempt = self.verbs.refund_debit(debit, strategy).await;
        let answer = Answer::Attempt(attempt.clone());
        self.tell(Step::Refund, leg(debit.shard, debit.kind), started, answer);
        attempt
    }

    async fn complete_saga(&self, debit: &Branch) -> Result<(), ShardError> {
        let started = Instant::now();
        let completed = self.verbs.complete_saga(debit).await;
        self.tell(Step::CompleteSaga, leg(debit.shard, debit.kind), started, Answer::None);
        completed
    }

    async fn claim_sagas(
        &self,
        on: ShardIndex,
        owner: Owner,
        dead: &[Epoch],
        grace: Duration,
    ) -> Result<Vec<OpenSaga>, ShardError> {
        let started = Instant::now();
        let claimed = self.verbs.claim_sagas(on, owner, dead, grace).await;
        self.tell(Step::ClaimSagas, shard(on), started, Answer::None);
        claimed
    }

    async fn postpone_saga(
        &self,
        on: ShardIndex,
        transfer: TransferId,
        owner: Owner,
        why: &str,
    ) -> Result<(), ShardError> {
        let started = Instant::now();
        let postponed = self.verbs.postpone_saga(on, transfer, owner, why).await;
        self.tell(Step::PostponeSaga, shard(on), started, Answer::None);
        postponed
    }
}
