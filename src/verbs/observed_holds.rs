//! Hold verbs that tell an observer of every step, as `observed` does for the others.

use std::time::{Duration, Instant};

use super::holding::{HoldVerbs, OpenHold};
use super::observed::{Answer, NOWHERE, Observed, Observer, Step, leg, shard};
use crate::outcome::{Attempt, Refusal, ShardError, Tombstone};
use crate::transfer::{Branch, ShardIndex};

impl<V: HoldVerbs, O: Observer> HoldVerbs for Observed<'_, V, O> {
    async fn reserve(&self, branch: &Branch, time: Duration, strategy: &'static str) -> Attempt {
        let started = Instant::now();
        let attempt = self.verbs.reserve(branch, time, strategy).await;
        let answer = Answer::Attempt(attempt.clone());
        self.tell(Step::Reserve, leg(branch.shard, branch.kind), started, answer);
        attempt
    }

    async fn confirm(&self, branch: &Branch) -> Attempt {
        let started = Instant::now();
        let attempt = self.verbs.confirm(branch).await;
        let answer = Answer::Attempt(attempt.clone());
        self.tell(Step::Confirm, leg(branch.shard, branch.kind), started, answer);
        attempt
    }

    async fn cancel(
        &self,
        branch: &Branch,
        why: Refusal,
        strategy: &'static str,
    ) -> Result<Tombstone, ShardError> {
        let started = Instant::now();
        let cancelled = self.verbs.cancel(branch, why, strategy).await;
        let answer = Answer::Tombstone(cancelled.clone());
        self.tell(Step::Cancel, leg(branch.shard, branch.kind), started, answer);
        cancelled
    }

    async fn confirm_later(&self, branches: [Branch; 2]) {
        let started = Instant::now();
        self.verbs.confirm_later(branches).await;
        self.tell(Step::ConfirmLater, NOWHERE, started, Answer::None);
    }

    async fn open_holds(&self, on: ShardIndex) -> Result<Vec<OpenHold>, ShardError> {
        let started = Instant::now();
        let open = self.verbs.open_holds(on).await;
        self.tell(Step::ListHolds, shard(on), started, Answer::None);
        open
    }
}
