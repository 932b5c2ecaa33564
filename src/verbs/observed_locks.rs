//! Lock verbs that tell an observer of every step, as `observed` does for the others.

use std::time::{Duration, Instant};

use super::locking::{
    Claimed, Concerning, Fence, Intent, Lock, LockError, LockKey, LockVerbs, Released,
};
use super::observed::{Answer, Observed, Observer, Step, What, leg, shard};
use crate::outcome::{Attempt, ShardError};
use crate::transfer::{Branch, ShardIndex};

fn at_service(key: LockKey, lock_round_trips: u32) -> What {
    What { round_trips: 0, lock_round_trips, ..shard(key.shard) }
}

impl<V: LockVerbs, O: Observer> LockVerbs for Observed<'_, V, O> {
    fn lock_wait(&self) -> Duration {
        self.verbs.lock_wait()
    }

    async fn lock(
        &self,
        key: LockKey,
        until: tokio::time::Instant,
    ) -> Result<Box<dyn Lock>, LockError> {
        let started = Instant::now();
        let locked = self.verbs.lock(key, until).await;
        let round_trips = locked.as_ref().map_or(1, |lock| lock.round_trips());
        let answer = match &locked {
            Ok(lock) => Ok(lock.fence().token),
            Err(error) => Err(error.clone()),
        };
        let what = at_service(key, round_trips);
        self.tell(Step::Lock, what, started, Answer::Locked(answer));
        locked
    }

    async fn unlock(&self, key: LockKey, lock: Box<dyn Lock>) -> Result<Released, LockError> {
        let started = Instant::now();
        let released = self.verbs.unlock(key, lock).await;
        let answer = Answer::Released(released.clone());
        self.tell(Step::Unlock, at_service(key, 1), started, answer);
        released
    }

    async fn claim(&self, branch: &Branch, fence: Fence) -> Claimed {
        let started = Instant::now();
        let claimed = self.verbs.claim(branch, fence).await;
        let answer = Answer::Claimed(claimed.clone());
        self.tell(Step::Claim, leg(branch.shard, branch.kind), started, answer);
        claimed
    }

    async fn debit_with_intent(
        &self,
        debit: &Branch,
        fence: Fence,
        strategy: &'static str,
    ) -> Claimed {
        let started = Instant::now();
        let claimed = self.verbs.debit_with_intent(debit, fence, strategy).await;
        let answer = Answer::Claimed(claimed.clone());
        self.tell(Step::DebitWithIntent, leg(debit.shard, debit.kind), started, answer);
        claimed
    }

    async fn credit_under_fence(
        &self,
        credit: &Branch,
        fence: Fence,
        strategy: &'static str,
    ) -> Attempt {
        let started = Instant::now();
        let attempt = self.verbs.credit_under_fence(credit, fence, strategy).await;
        let answer = Answer::Attempt(attempt.clone());
        self.tell(Step::CreditUnderFence, leg(credit.shard, credit.kind), started, answer);
        attempt
    }

    async fn credit_intended(&self, credit: &Branch, strategy: &'static str) -> Attempt {
        let started = Instant::now();
        let attempt = self.verbs.credit_intended(credit, strategy).await;
        let answer = Answer::Attempt(attempt.clone());
        self.tell(Step::CreditIntended, leg(credit.shard, credit.kind), started, answer);
        attempt
    }

    async fn refund(&self, debit: &Branch, strategy: &'static str) -> Attempt {
        let started = Instant::now();
        let attempt = self.verbs.refund(debit, strategy).await;
        let answer = Answer::Attempt(attempt.clone());
        self.tell(Step::Refund, leg(debit.shard, debit.kind), started, answer);
        attempt
    }

    async fn close_intent(&self, debit: &Branch) -> Result<(), ShardError> {
        let started = Instant::now();
        let closed = self.verbs.close_intent(debit).await;
        self.tell(Step::CloseIntent, leg(debit.shard, debit.kind), started, Answer::None);
        closed
    }

    async fn open_intents(
        &self,
        on: ShardIndex,
        concerning: Concerning,
    ) -> Result<Vec<Intent>, ShardError> {
        let started = Instant::now();
        let open = self.verbs.open_intents(on, concerning).await;
        self.tell(Step::ListIntents, shard(on), started, Answer::None);
        open
    }

    async fn read_balance(&self, branch: &Branch) -> Result<i64, Attempt> {
        let started = Instant::now();
        let read = self.verbs.read_balance(branch).await;
        let answer = Answer::Attempt(read.clone().err().unwrap_or(Attempt::Done));
        self.tell(Step::ReadBalance, leg(branch.shard, branch.kind), started, answer);
        read
    }

    async fn write_balance(
        &self,
        branch: &Branch,
        balance: i64,
        strategy: &'static str,
    ) -> Attempt {
        let started = Instant::now();
        let attempt = self.verbs.write_balance(branch, balance, strategy).await;
        let answer = Answer::Attempt(attempt.clone());
        self.tell(Step::WriteBalance, leg(branch.shard, branch.kind), started, answer);
        attempt
    }
}
